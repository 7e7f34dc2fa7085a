//! The anchor: it reveals that a whole vault was replaced by an earlier state of it.

use std::{fmt, str::FromStr};

use crate::{
    crypto::{KeyRing, VaultId, VaultRoot},
    digits::{decimal, from_hex, hex},
    error::{Error, FieldError},
};

/// A state of a vault: which vault it is, how often it was written, and a keyed digest of all its content at that
/// time.
///
/// A vault notices by itself when something in its file was changed, removed or rolled back. It cannot notice when
/// the whole file is replaced by an older copy, or by another vault that the same key opens, since that file is
/// valid by itself. A program that keeps the anchor elsewhere, out of reach of anyone who can replace the file, can
/// demand it when it opens the vault: see [`VaultBuilder::anchor`](crate::VaultBuilder::anchor).
///
/// ```
/// use keyward::{Anchor, NewSecret, UserId, Vault};
///
/// let vault = Vault::in_memory()?;
/// vault.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
/// let text = vault.anchor()?.to_string();
/// assert_eq!(text.parse::<Anchor>()?, vault.anchor()?);
/// assert_eq!(vault.anchor()?.counter(), 1);
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    vault: VaultId,
    counter: u64,
    tag: [u8; 32],
}

impl Anchor {
    /// Returns the number of writes. It grows with each write.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    pub(super) fn of(keys: &KeyRing, root: &VaultRoot) -> Anchor {
        Anchor {
            vault: keys.vault_id(),
            counter: root.counter,
            tag: keys.root_tag(root),
        }
    }

    /// Returns whether a vault in this state is the one that the anchor was taken from, or a later state of it.
    #[cfg(feature = "file")]
    pub(super) fn admits(&self, keys: &KeyRing, root: &VaultRoot) -> bool {
        use subtle::ConstantTimeEq;

        let found = Anchor::of(keys, root);
        let same: bool = found.tag.ct_eq(&self.tag).into();
        found.vault == self.vault
            && (found.counter > self.counter || (found.counter == self.counter && same))
    }
}

impl fmt::Display for Anchor {
    /// Writes the vault's id, the counter and the digest, separated by colons; the id and the digest are
    /// hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Anchor {
            vault,
            counter,
            tag,
        } = self;
        write!(f, "{}:{counter}:{}", hex(&vault.0), hex(tag))
    }
}

impl FromStr for Anchor {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) if this is not what `Display` writes; zeros before the
    /// counter and digits in upper case are read as well.
    fn from_str(text: &str) -> Result<Anchor, Error> {
        parse(text).ok_or_else(|| {
            let msg = "an anchor is 32 hexadecimal digits, a number and 64 hexadecimal digits, separated by colons";
            Error::validation(vec![FieldError::value_error("anchor", msg)])
        })
    }
}

fn parse(text: &str) -> Option<Anchor> {
    let (vault, rest) = text.split_once(':')?;
    let (counter, tag) = rest.split_once(':')?;
    Some(Anchor {
        vault: VaultId(from_hex(vault.as_bytes())?),
        counter: decimal(counter)?,
        tag: from_hex(tag.as_bytes())?,
    })
}

//! Roots: the record of which rows there are.
//!
//! A record shows by itself that it was not changed; a root shows that no record was removed, added or rolled
//! back. Each user has one, over the user's rows, and the vault has one, over the users' roots. Both are sealed,
//! so that a root cannot be made without the key.
//!
//! A root holds the sum, modulo 2²⁵⁶, of a keyed digest of each of its members: a write subtracts the old digest
//! and adds the new one, whatever the number of members. This is the multiset hash `MSet-Add-Hash` of Clarke,
//! Devadas, van Dijk, Gassend and Suh, *Incremental Multiset Hash Functions and Their Application to Memory
//! Integrity Checking* (ASIACRYPT 2003), which is collision resistant if the digest is a pseudorandom function
//! (HMAC-SHA-256 here) and its key is secret. The original's nonce hides equal sums from an observer; here the
//! seal does.

use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{
    aead,
    digest::{MemberDigest, keyed_digest},
    keys::{KeyRing, VaultId},
};
use crate::{
    bytes::Reader,
    error::{Error, ErrorKind},
    quota::Usage,
    sealed::{SealedRoot, UserTag},
    secret::UserId,
};

/// The sum of the digests of a set's members, modulo 2²⁵⁶.
#[derive(Debug, Clone, Copy, Eq, Default)]
pub(crate) struct SetDigest([u64; 4]);

/// In constant time.
impl PartialEq for SetDigest {
    fn eq(&self, other: &SetDigest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl SetDigest {
    pub(crate) fn add(&mut self, member: &MemberDigest) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(&member.0)) {
            let (sum, first) = limb.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*limb, carry) = (sum, first || second);
        }
    }

    pub(crate) fn remove(&mut self, member: &MemberDigest) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(&member.0)) {
            let (difference, first) = limb.overflowing_sub(other);
            let (difference, second) = difference.overflowing_sub(borrow.into());
            (*limb, borrow) = (difference, first || second);
        }
    }

    fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: [u8; 32]) -> SetDigest {
        let digest = MemberDigest(bytes);
        let mut set = SetDigest::default();
        set.add(&digest);
        set
    }
}

fn limbs(digest: &[u8; 32]) -> impl Iterator<Item = u64> + '_ {
    digest.chunks_exact(8).map(|limb| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(limb);
        u64::from_le_bytes(bytes)
    })
}

/// The keyed digest of the stored `keys`; zero if the vault has no key slots.
#[derive(Debug, Clone, Copy, Eq, Default)]
pub(crate) struct KeysDigest([u8; 32]);

/// In constant time.
impl PartialEq for KeysDigest {
    fn eq(&self, other: &KeysDigest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The root of a user's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRoot {
    pub(crate) user: UserId,
    /// The number of writes, starting at 1.
    pub(crate) counter: u64,
    /// The usage; its number of secrets is the number of rows.
    pub(crate) usage: Usage,
    pub(crate) rows: SetDigest,
}

impl UserRoot {
    /// Creates the root of a user who has nothing and never had anything.
    pub(crate) fn new(user: UserId) -> UserRoot {
        UserRoot {
            user,
            counter: 0,
            usage: Usage::default(),
            rows: SetDigest::default(),
        }
    }
}

/// The root of the vault.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct VaultRoot {
    /// The number of writes.
    pub(crate) counter: u64,
    /// The number of users that have a root.
    pub(crate) user_count: u64,
    pub(crate) usage: Usage,
    pub(crate) users: SetDigest,
    /// The id of the secret created last, or nil: new ids are greater, even when the clock goes back.
    pub(crate) last_id: Uuid,
    pub(crate) keys: KeysDigest,
}

impl VaultRoot {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(112);
        for number in [
            self.counter,
            self.user_count,
            self.usage.secrets,
            self.usage.bytes,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.users.to_bytes());
        bytes.extend_from_slice(self.last_id.as_bytes());
        bytes.extend_from_slice(&self.keys.0);
        bytes
    }
}

impl KeyRing {
    /// Returns the id of the vault that these keys belong to.
    pub(crate) fn vault_id(&self) -> VaultId {
        self.vault
    }

    /// Returns the digest of a user's root as a member of the vault's root.
    pub(crate) fn user_member(&self, user: UserTag, root: &SealedRoot) -> MemberDigest {
        let context = self.vault.context(
            "keyward user digest",
            &[&user.0, &root.key_id.to_le_bytes(), root.root.as_bytes()],
        );
        MemberDigest(*keyed_digest(self.digests(), &context))
    }

    /// Returns the digest of the stored `keys`, for the vault's root.
    pub(crate) fn keys_digest(&self, keys: Option<&[u8]>) -> KeysDigest {
        let Some(keys) = keys else {
            return KeysDigest::default();
        };
        KeysDigest(*keyed_digest(
            self.digests(),
            &self.vault.context("keyward keys digest", &[keys]),
        ))
    }

    pub(crate) fn seal_user_root(&self, root: &UserRoot) -> Result<SealedRoot, Error> {
        let mut bytes = Vec::with_capacity(72);
        bytes.extend_from_slice(root.user.as_uuid().as_bytes());
        for number in [root.counter, root.usage.secrets, root.usage.bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&root.rows.to_bytes());
        let key = self.current();
        let context = self.vault.context(
            "keyward user root",
            &[&self.user_tag(root.user).0, &key.id().to_le_bytes()],
        );
        Ok(SealedRoot {
            key_id: key.id(),
            root: aead::seal(key.root(), &context, &bytes)?,
        })
    }

    pub(crate) fn open_user_root(
        &self,
        user: UserTag,
        sealed: &SealedRoot,
    ) -> Result<UserRoot, Error> {
        let context = self.vault.context(
            "keyward user root",
            &[&user.0, &sealed.key_id.to_le_bytes()],
        );
        self.data_key(sealed.key_id)
            .and_then(|key| aead::open(key.root(), &context, &sealed.root))
            .and_then(|bytes| {
                let mut reader = Reader::new(&bytes);
                let root = UserRoot {
                    user: UserId::new(Uuid::from_bytes(reader.array()?)),
                    counter: reader.u64()?,
                    usage: Usage::new(reader.u64()?, reader.u64()?),
                    rows: SetDigest::from_bytes(reader.array()?),
                };
                reader.end()?;
                let is_its_own = self.user_tag(root.user).0.ct_eq(&user.0);
                bool::from(is_its_own).then_some(root)
            })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    "a user's root is damaged: restore a backup",
                )
            })
    }

    /// Returns a keyed digest of everything that the vault holds.
    pub(crate) fn root_tag(&self, root: &VaultRoot) -> [u8; 32] {
        *keyed_digest(
            self.digests(),
            &self.vault.context("keyward anchor", &[&root.encode()]),
        )
    }

    pub(crate) fn seal_vault_root(&self, root: &VaultRoot) -> Result<SealedRoot, Error> {
        let key = self.current();
        let context = self
            .vault
            .context("keyward vault root", &[&key.id().to_le_bytes()]);
        Ok(SealedRoot {
            key_id: key.id(),
            root: aead::seal(key.root(), &context, &root.encode())?,
        })
    }

    pub(crate) fn open_vault_root(&self, sealed: &SealedRoot) -> Result<VaultRoot, Error> {
        let context = self
            .vault
            .context("keyward vault root", &[&sealed.key_id.to_le_bytes()]);
        self.data_key(sealed.key_id)
            .and_then(|key| aead::open(key.root(), &context, &sealed.root))
            .and_then(|bytes| {
                let mut reader = Reader::new(&bytes);
                let root = VaultRoot {
                    counter: reader.u64()?,
                    user_count: reader.u64()?,
                    usage: Usage::new(reader.u64()?, reader.u64()?),
                    users: SetDigest::from_bytes(reader.array()?),
                    last_id: Uuid::from_bytes(reader.array()?),
                    keys: KeysDigest(reader.array()?),
                };
                reader.end()?;
                Some(root)
            })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    "the vault's root is damaged: restore a backup",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(byte: [u8; 32]) -> MemberDigest {
        MemberDigest(byte)
    }

    proptest! {
        #[test]
        fn the_order_of_changes_does_not_matter(
            mut members in prop::collection::vec(any::<[u8; 32]>(), 1..8),
            gone in any::<[u8; 32]>(),
        ) {
            let mut forward = SetDigest::default();
            forward.add(&member(gone));
            for bytes in &members {
                forward.add(&member(*bytes));
            }
            forward.remove(&member(gone));
            members.reverse();
            let mut backward = SetDigest::default();
            for bytes in &members {
                backward.add(&member(*bytes));
            }
            prop_assert_eq!(forward, backward);
            backward.add(&member(members[0]));
            prop_assert!(members[0] == [0; 32] || forward != backward, "a repeated member counts");
        }
    }

    #[test]
    fn carries_run_through_all_limbs() {
        let mut set = SetDigest::default();
        set.add(&member([0xff; 32]));
        let mut one = [0; 32];
        one[0] = 1;
        set.add(&member(one));
        assert_eq!(set, SetDigest::default());
        set.remove(&member(one));
        assert_eq!(set.to_bytes(), [0xff; 32]);
        assert_eq!(SetDigest::from_bytes([0xff; 32]), set);
    }

    #[test]
    fn a_root_opens_in_its_place() {
        let ring = KeyRing::random(VaultId::random().unwrap()).unwrap();
        let (alice, bob) = (
            UserId::new(Uuid::from_u128(1)),
            UserId::new(Uuid::from_u128(2)),
        );
        let root = UserRoot {
            counter: 3,
            usage: Usage::new(2, 99),
            rows: SetDigest([1, 2, 3, 4]),
            ..UserRoot::new(alice)
        };
        let sealed = ring.seal_user_root(&root).unwrap();
        assert_eq!(
            ring.open_user_root(ring.user_tag(alice), &sealed).unwrap(),
            root
        );
        assert!(ring.open_user_root(ring.user_tag(bob), &sealed).is_err());
        assert!(ring.open_vault_root(&sealed).is_err());

        let root = VaultRoot {
            counter: 9,
            user_count: 1,
            usage: Usage::new(2, 99),
            users: SetDigest([5, 6, 7, 8]),
            last_id: Uuid::from_u128(77),
            keys: KeysDigest([9; 32]),
        };
        let sealed = ring.seal_vault_root(&root).unwrap();
        assert_eq!(ring.open_vault_root(&sealed).unwrap(), root);
    }
}

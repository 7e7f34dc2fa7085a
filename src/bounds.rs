//! How long the fields of a request may be, and what a vault demands of them.

use std::ops::RangeInclusive;

use crate::error::{Error, FieldError};

/// What a vault accepts in a request. The default is the REST contract.
///
/// ```
/// use keyward::{Bounds, NewSecret, UserId, Vault};
///
/// let vault = Vault::builder().bounds(Bounds::default().max_value_chars(8_192)).in_memory()?;
/// let key = format!("-----BEGIN PRIVATE KEY-----\n{}", "MIIEvQIBADANBg".repeat(200));
/// vault.user(UserId::LOCAL).create(NewSecret::new("service-account", key))?;
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    value: CharRange,
    explicit_default: bool,
}

impl Bounds {
    /// The range of bounds that [`max_value_chars`](Bounds::max_value_chars) may set, in characters.
    pub const MAX_VALUE_CHARS: RangeInclusive<usize> = 1_024..=65_536;

    /// Sets the maximum length of a value in characters, from 1,024 to 65,536; the default is 1,024. A bound outside
    /// this range is refused when the vault is built. The minimum length is 4 in every vault.
    #[must_use]
    pub fn max_value_chars(mut self, chars: usize) -> Bounds {
        self.value.max = chars;
        self
    }

    /// Returns how many characters a value may have: what a form for a new secret can check before it is sent.
    ///
    /// ```
    /// use keyward::Bounds;
    ///
    /// assert_eq!(Bounds::default().value_chars(), 4..=1_024);
    /// ```
    pub fn value_chars(&self) -> RangeInclusive<usize> {
        self.value.min..=self.value.max
    }

    /// Requires every new secret to say whether it is a default, as hosted platforms do for built-in agents: an
    /// absent `is_default_for_tool` is then an error instead of `false`.
    #[must_use]
    pub fn require_explicit_default(mut self) -> Bounds {
        self.explicit_default = true;
        self
    }

    pub(crate) fn value(&self) -> CharRange {
        self.value
    }

    pub(crate) fn demands_explicit_default(&self) -> bool {
        self.explicit_default
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if Self::MAX_VALUE_CHARS.contains(&self.value.max) {
            return Ok(());
        }
        Err(Error::validation(vec![FieldError::value_error(
            "max_value_chars",
            format_args!(
                "a vault's limit for values must be from {} to {} characters",
                Self::MAX_VALUE_CHARS.start(),
                Self::MAX_VALUE_CHARS.end()
            ),
        )]))
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            value: CharRange {
                min: 4,
                max: *Self::MAX_VALUE_CHARS.start(),
            },
            explicit_default: false,
        }
    }
}

/// A range of lengths in characters (Unicode scalar values, as JSON Schema counts them), with both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CharRange {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

/// The bounds of a name, a tool pattern, a location and a format.
pub(crate) const TEXT: CharRange = CharRange { min: 1, max: 1024 };

impl CharRange {
    /// # Errors
    ///
    /// Returns an error in Pydantic's form if `text` is out of range.
    pub(crate) fn check(self, field: &'static str, text: &str) -> Result<(), FieldError> {
        let length = text.chars().count();
        if length < self.min {
            let msg = format!("String should have at least {}", characters(self.min));
            return Err(FieldError::field(field, "string_too_short", msg));
        }
        if length > self.max {
            let msg = format!("String should have at most {}", characters(self.max));
            return Err(FieldError::field(field, "string_too_long", msg));
        }
        Ok(())
    }
}

fn characters(n: usize) -> String {
    format!("{n} character{}", if n == 1 { "" } else { "s" })
}

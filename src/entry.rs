//! A secret as it is held in memory.

use std::sync::{Arc, OnceLock};

use crate::{
    crypto::{BindingDigest, KeyRing},
    error::Error,
    format::Format,
    location::Location,
    metadata::Metadata,
    pattern::ToolPattern,
    sealed::SealedRow,
    secret::{SecretId, SecretInfo, SecretValue},
};

/// One secret, with its value sealed. Copies share everything.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    about: Arc<About>,
    row: Arc<SealedRow>,
}

/// What is known of a secret without its value, which others may keep for longer than the secret exists.
#[derive(Debug)]
pub(crate) struct About {
    metadata: Metadata,
    pattern: Option<ToolPattern>,
    location: Option<Location>,
    format: Option<Format>,
    /// Computed at the first opening and kept: computing it takes a tenth of the time of an opening.
    binding_digest: OnceLock<BindingDigest>,
    /// What a redactor puts in place of the value, kept from the first use on.
    reference: OnceLock<Arc<str>>,
}

/// Where a secret may go, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) pattern: ToolPattern,
    pub(crate) location: Location,
}

impl Entry {
    /// Returns `None` if the metadata's texts are not valid, which those of valid metadata always are. A location
    /// that one of `others` also has is shared with it, since a user's secrets go to few locations.
    pub(crate) fn new<'e>(
        metadata: Metadata,
        row: Arc<SealedRow>,
        others: impl IntoIterator<Item = &'e Entry>,
    ) -> Option<Entry> {
        let info = &metadata.info;
        let pattern = info
            .tool_name
            .as_deref()
            .map(ToolPattern::parse)
            .transpose()
            .ok()?;
        let location = match &info.tool_arg {
            None => None,
            Some(text) => {
                let mut others = others.into_iter();
                let alike = others.find(|other| other.info().tool_arg == info.tool_arg);
                match alike.and_then(Entry::location) {
                    None => Some(Location::parse(text).ok()?),
                    shared => shared.cloned(),
                }
            }
        };
        let format = info
            .format
            .as_deref()
            .map(Format::parse)
            .transpose()
            .ok()?
            .flatten();
        let about = Arc::new(About {
            metadata,
            pattern,
            location,
            format,
            binding_digest: OnceLock::new(),
            reference: OnceLock::new(),
        });
        Some(Entry { about, row })
    }

    /// Returns the same secret with a newly sealed row.
    pub(crate) fn with_row(&self, row: Arc<SealedRow>) -> Entry {
        Entry {
            about: Arc::clone(&self.about),
            row,
        }
    }

    pub(crate) fn open(&self, keys: &KeyRing) -> Result<SecretValue, Error> {
        let digest = || BindingDigest::of(self.info());
        keys.open_value(
            self.metadata(),
            self.about.binding_digest.get_or_init(digest),
            &self.row,
        )
    }

    /// Returns what stands for the secret in what a model sees.
    pub(crate) fn reference(&self) -> Arc<str> {
        let reference = || self.info().reference().into();
        Arc::clone(self.about.reference.get_or_init(reference))
    }

    pub(crate) fn about(&self) -> &Arc<About> {
        &self.about
    }

    pub(crate) fn row(&self) -> &Arc<SealedRow> {
        &self.row
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.about.metadata
    }

    pub(crate) fn info(&self) -> &SecretInfo {
        self.about.info()
    }

    pub(crate) fn id(&self) -> SecretId {
        self.info().secret_id
    }

    pub(crate) fn pattern(&self) -> Option<&ToolPattern> {
        self.about.pattern()
    }

    pub(crate) fn location(&self) -> Option<&Location> {
        self.about.location()
    }

    pub(crate) fn format(&self) -> Option<&Format> {
        self.about.format.as_ref()
    }

    /// Returns an upper bound for the value's characters: each is one byte or more.
    pub(crate) fn max_value_chars(&self) -> usize {
        usize::try_from(self.metadata().value_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the binding of a default; `None` if the secret is not one.
    pub(crate) fn default_binding(&self) -> Option<Binding> {
        if !self.info().is_default_for_tool {
            return None;
        }
        Some(Binding {
            pattern: self.pattern()?.clone(),
            location: self.location()?.clone(),
        })
    }

    /// Returns what the resolver is given of a default.
    pub(crate) fn resolver_entry(&self) -> Option<(ToolPattern, Location, SecretId)> {
        let Binding { pattern, location } = self.default_binding()?;
        Some((pattern, location, self.id()))
    }
}

impl About {
    pub(crate) fn info(&self) -> &SecretInfo {
        &self.metadata.info
    }

    pub(crate) fn pattern(&self) -> Option<&ToolPattern> {
        self.pattern.as_ref()
    }

    pub(crate) fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::Sealed;

    #[test]
    fn entries_with_the_same_location_share_it() {
        let row = Arc::new(SealedRow {
            key_id: 1,
            metadata: Sealed::new([]),
            value: Sealed::new([]),
        });
        let new = |id, arg, others: &[Entry]| {
            let metadata = Metadata::of_default(id, "name", "tool", arg);
            Entry::new(metadata, Arc::clone(&row), others).unwrap()
        };
        let [first, other] = [(1, "token"), (2, "api_key")].map(|(id, at)| new(id, at, &[]));
        let same = new(3, "token", &[other.clone(), first.clone()]);
        let pointers = [&first, &other, &same].map(|entry| entry.location().unwrap().as_pointer());
        assert_eq!(pointers, ["/token", "/api_key", "/token"]);
        assert!(std::ptr::eq(pointers[0], pointers[2]));
    }
}

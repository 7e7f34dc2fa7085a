//! A user's secrets at one moment, compiled for lookup.

use std::{collections::HashMap, sync::Arc};

use crate::{
    crypto::{KeyRing, SetDigest, UserRoot},
    error::{Error, ErrorKind},
    format::Format,
    location::Location,
    metadata::Metadata,
    pattern::ToolPattern,
    quota::Usage,
    resolver::Resolver,
    sealed::{RowTag, SealedRoot, SealedRow, UserTag},
    secret::{SecretId, SecretInfo, UserId},
    storage::UserRows,
};

/// One secret, with its value sealed.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) metadata: Metadata,
    pub(crate) pattern: Option<ToolPattern>,
    pub(crate) location: Option<Location>,
    pub(crate) format: Option<Format>,
    pub(crate) row: Arc<SealedRow>,
}

impl Entry {
    /// The texts of valid metadata are valid: `None` says that these never were.
    pub(crate) fn new(metadata: Metadata, row: Arc<SealedRow>) -> Option<Entry> {
        let info = &metadata.info;
        let pattern = info
            .tool_name
            .as_deref()
            .map(ToolPattern::parse)
            .transpose()
            .ok()?;
        let location = info
            .tool_arg
            .as_deref()
            .map(Location::parse)
            .transpose()
            .ok()?;
        let format = info
            .format
            .as_deref()
            .map(Format::parse)
            .transpose()
            .ok()?
            .flatten();
        Some(Entry {
            metadata,
            pattern,
            location,
            format,
            row,
        })
    }

    /// The same secret, sealed anew.
    pub(crate) fn with_row(&self, row: Arc<SealedRow>) -> Entry {
        Entry {
            metadata: self.metadata.clone(),
            pattern: self.pattern.clone(),
            location: self.location.clone(),
            format: self.format.clone(),
            row,
        }
    }

    pub(crate) fn info(&self) -> &SecretInfo {
        &self.metadata.info
    }

    pub(crate) fn id(&self) -> SecretId {
        self.metadata.info.secret_id
    }

    /// Where the secret goes by itself; `None` if it is no default.
    pub(crate) fn default_place(&self) -> Option<(&ToolPattern, &Location)> {
        if !self.info().is_default_for_tool {
            return None;
        }
        Some((self.pattern.as_ref()?, self.location.as_ref()?))
    }
}

/// A user's secrets at one moment. It never changes: a write makes another one.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Oldest first: by id.
    entries: Vec<Arc<Entry>>,
    by_name: Arc<HashMap<Box<str>, usize>>,
    resolver: Resolver,
    /// The user's root, open and as it is stored; `None` there if it never was.
    pub(crate) root: UserRoot,
    pub(crate) sealed_root: Option<SealedRoot>,
}

impl Snapshot {
    /// Of a user who has no root in the store.
    pub(crate) fn empty(user: UserId) -> Snapshot {
        Snapshot::new(UserRoot::new(user), None, Vec::new())
    }

    /// `entries` are in the order of their ids.
    pub(crate) fn new(
        root: UserRoot,
        sealed_root: Option<SealedRoot>,
        entries: Vec<Arc<Entry>>,
    ) -> Snapshot {
        debug_assert!(entries.is_sorted_by_key(|entry| entry.id()));
        let by_name = entries
            .iter()
            .enumerate()
            .map(|(i, entry)| (entry.info().secret_name.as_str().into(), i))
            .collect();
        let mut resolver = Resolver::builder();
        for entry in &entries {
            if let Some((pattern, location)) = entry.default_place() {
                resolver.add(pattern.clone(), location.clone(), entry.id());
            }
        }
        Snapshot {
            resolver: resolver.build(),
            entries,
            by_name: Arc::new(by_name),
            root,
            sealed_root,
        }
    }

    /// Opens the metadata of a user's rows, and checks that they are the rows that the root speaks of.
    pub(crate) fn load(keys: &KeyRing, tag: UserTag, stored: UserRows) -> Result<Snapshot, Error> {
        let (root, entries) = open_rows(keys, tag, &stored)?;
        Ok(Snapshot::new(root, Some(stored.root), entries))
    }

    /// The same secrets, sealed anew.
    pub(crate) fn resealed(
        &self,
        root: UserRoot,
        sealed_root: SealedRoot,
        entries: Vec<Arc<Entry>>,
    ) -> Snapshot {
        Snapshot {
            entries,
            by_name: Arc::clone(&self.by_name),
            resolver: self.resolver.clone(),
            root,
            sealed_root: Some(sealed_root),
        }
    }

    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(crate) fn by_id(&self, id: SecretId) -> Option<&Arc<Entry>> {
        let i = self
            .entries
            .binary_search_by_key(&id, |entry| entry.id())
            .ok()?;
        Some(&self.entries[i])
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Entry>> {
        self.by_name.get(name).map(|&i| &self.entries[i])
    }

    /// What a text means as the name of a secret, in a reference or a call: the id of one of the user's secrets means
    /// that secret, anything else is a name.
    pub(crate) fn by_text(&self, text: &str) -> Option<&Arc<Entry>> {
        SecretId::from_hyphenated(text)
            .and_then(|id| self.by_id(id))
            .or_else(|| self.by_name(text))
    }
}

/// Opens a user's root and the metadata of the user's rows, oldest first, and checks that they are the rows that the root
/// speaks of.
pub(crate) fn open_rows(
    keys: &KeyRing,
    tag: UserTag,
    stored: &UserRows,
) -> Result<(UserRoot, Vec<Arc<Entry>>), Error> {
    let root = keys.open_user_root(tag, &stored.root)?;
    let mut entries = Vec::with_capacity(stored.rows.len());
    let (mut usage, mut rows) = (Usage::default(), SetDigest::default());
    for (row_tag, row) in &stored.rows {
        let entry = open_entry(keys, root.user, *row_tag, Arc::clone(row))?;
        usage = usage
            .replace(Usage::default(), entry.metadata.usage())
            .ok_or_else(damaged)?;
        rows.add(&keys.row_member(entry.info(), &entry.row));
        entries.push(Arc::new(entry));
    }
    if usage != root.usage || rows != root.rows {
        return Err(Error::new(
            ErrorKind::RolledBack,
            "a secret was deleted, added or rolled back outside keyward: restore a backup",
        ));
    }
    entries.sort_unstable_by_key(|entry| entry.id());
    Ok((root, entries))
}

fn open_entry(
    keys: &KeyRing,
    user: UserId,
    tag: RowTag,
    row: Arc<SealedRow>,
) -> Result<Entry, Error> {
    let metadata = keys.open_metadata(user, tag, &row)?;
    Entry::new(metadata, row).ok_or_else(damaged)
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "a secret's record says what keyward never writes: restore a backup",
    )
}

//! A user's secrets at one moment, compiled for lookup.

use std::sync::{Arc, OnceLock};

use rpds::{HashTrieMapSync, HashTrieSetSync, RedBlackTreeMapSync};

use crate::{
    crypto::{BindingDigest, KeyRing, SetDigest, UserRoot},
    error::{Error, ErrorKind},
    format::Format,
    location::Location,
    metadata::Metadata,
    pattern::ToolPattern,
    quota::Usage,
    redact,
    resolver::Resolver,
    sealed::{RowTag, SealedRoot, SealedRow, UserTag},
    secret::{SecretId, SecretInfo, SecretValue, UserId},
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
    /// Kept from the first opening on: to make it takes a tenth of the time of an opening.
    binding: OnceLock<BindingDigest>,
    /// What a redactor puts in place of the value, kept from the first use on.
    reference: OnceLock<Arc<str>>,
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
            binding: OnceLock::new(),
            reference: OnceLock::new(),
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
            binding: self.binding.clone(),
            reference: self.reference.clone(),
        }
    }

    pub(crate) fn open(&self, keys: &KeyRing) -> Result<SecretValue, Error> {
        let info = self.info();
        let binding = self.binding.get_or_init(|| BindingDigest::of(info));
        keys.open_value(info, binding, &self.row)
    }

    /// What stands for the secret in what a model sees.
    pub(crate) fn reference(&self) -> Arc<str> {
        let info = self.info();
        let reference = || redact::reference(&info.secret_name, info.secret_id).into();
        Arc::clone(self.reference.get_or_init(reference))
    }

    pub(crate) fn info(&self) -> &SecretInfo {
        &self.metadata.info
    }

    pub(crate) fn id(&self) -> SecretId {
        self.metadata.info.secret_id
    }

    /// Where the secret goes by itself; `None` if it is no default.
    pub(crate) fn place(&self) -> Option<Place> {
        if !self.info().is_default_for_tool {
            return None;
        }
        Some(Place {
            pattern: self.pattern.clone()?,
            location: self.location.clone()?,
        })
    }

    /// The same as the resolver has it.
    fn binding(&self) -> Option<(ToolPattern, Location, SecretId)> {
        let Place { pattern, location } = self.place()?;
        Some((pattern, location, self.id()))
    }
}

/// A user's secrets at one moment. It never changes: a write makes another one, which shares what it did not change.
#[derive(Debug)]
pub(crate) struct Snapshot {
    entries: Entries,
    by_name: HashTrieMapSync<Arc<str>, SecretId>,
    /// Where the defaults go.
    places: HashTrieSetSync<Place>,
    resolver: Resolver,
    /// The user's root, open and as it is stored; `None` there if it never was.
    pub(crate) root: UserRoot,
    pub(crate) sealed_root: Option<SealedRoot>,
}

/// Oldest first: by id.
pub(crate) type Entries = RedBlackTreeMapSync<SecretId, Arc<Entry>>;

/// Where a default goes, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) pattern: ToolPattern,
    pub(crate) location: Location,
}

impl Snapshot {
    /// Of a user who has no root in the store.
    pub(crate) fn empty(user: UserId) -> Snapshot {
        Snapshot::new(UserRoot::new(user), None, Vec::new())
    }

    fn new(root: UserRoot, sealed_root: Option<SealedRoot>, entries: Vec<Arc<Entry>>) -> Snapshot {
        let mut snapshot = Snapshot {
            entries: Entries::new_sync(),
            by_name: HashTrieMapSync::new_sync(),
            places: HashTrieSetSync::new_sync(),
            resolver: Resolver::builder().build(),
            root,
            sealed_root,
        };
        let mut resolver = Resolver::builder();
        for entry in entries {
            if let Some(Place { pattern, location }) = entry.place() {
                resolver.add(pattern, location, entry.id());
            }
            snapshot.insert(entry);
        }
        snapshot.resolver = resolver.build();
        snapshot
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
        entries: Entries,
    ) -> Snapshot {
        Snapshot {
            entries,
            by_name: self.by_name.clone(),
            places: self.places.clone(),
            resolver: self.resolver.clone(),
            root,
            sealed_root: Some(sealed_root),
        }
    }

    /// These secrets, but for some that are others by now, or gone.
    pub(crate) fn changed(
        &self,
        root: UserRoot,
        sealed_root: SealedRoot,
        changes: Vec<(SecretId, Option<Arc<Entry>>)>,
    ) -> Snapshot {
        let mut next = self.resealed(root, sealed_root, self.entries.clone());
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        // First what goes: two secrets may exchange their names.
        for (id, entry) in &changes {
            if let Some(old) = self.by_id(*id) {
                next.remove(old);
                removed.extend(old.binding());
            }
            added.extend(entry.as_ref().and_then(|entry| entry.binding()));
        }
        for entry in changes.into_iter().filter_map(|(_, entry)| entry) {
            next.insert(entry);
        }
        if removed != added {
            next.resolver = next.resolver.with_changes(removed, added);
        }
        next
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        let name = entry.info().secret_name.as_str().into();
        self.by_name.insert_mut(name, entry.id());
        if let Some(place) = entry.place() {
            self.places.insert_mut(place);
        }
        self.entries.insert_mut(entry.id(), entry);
    }

    fn remove(&mut self, entry: &Entry) {
        self.entries.remove_mut(&entry.id());
        self.by_name.remove_mut(entry.info().secret_name.as_str());
        if let Some(place) = entry.place() {
            self.places.remove_mut(&place);
        }
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Whether a default goes there.
    pub(crate) fn has_default_at(&self, place: &Place) -> bool {
        self.places.contains(place)
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(crate) fn by_id(&self, id: SecretId) -> Option<&Arc<Entry>> {
        self.entries.get(&id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Entry>> {
        self.by_name.get(name).and_then(|id| self.by_id(*id))
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

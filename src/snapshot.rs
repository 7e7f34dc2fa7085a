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
    resolver::Resolver,
    sealed::{SealedRoot, SealedRow, UserTag},
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
    /// Computed at the first opening and kept: computing it takes a tenth of the time of an opening.
    binding_digest: OnceLock<BindingDigest>,
    /// What a redactor puts in place of the value, kept from the first use on.
    reference: OnceLock<Arc<str>>,
}

impl Entry {
    /// Returns `None` if the metadata's texts are not valid, which those of valid metadata always are. A location
    /// that one of `others` also has is shared with it, since a user's secrets go to few locations.
    pub(crate) fn new<'e>(
        metadata: Metadata,
        row: Arc<SealedRow>,
        others: impl IntoIterator<Item = &'e Arc<Entry>>,
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
                match alike.and_then(|other| other.location.clone()) {
                    None => Some(Location::parse(text).ok()?),
                    shared => shared,
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
        Some(Entry {
            metadata,
            pattern,
            location,
            format,
            row,
            binding_digest: OnceLock::new(),
            reference: OnceLock::new(),
        })
    }

    /// Returns the same secret with a newly sealed row.
    pub(crate) fn with_row(&self, row: Arc<SealedRow>) -> Entry {
        Entry {
            metadata: self.metadata.clone(),
            pattern: self.pattern.clone(),
            location: self.location.clone(),
            format: self.format.clone(),
            row,
            binding_digest: self.binding_digest.clone(),
            reference: self.reference.clone(),
        }
    }

    pub(crate) fn open(&self, keys: &KeyRing) -> Result<SecretValue, Error> {
        let digest = || BindingDigest::of(self.info());
        keys.open_value(
            &self.metadata,
            self.binding_digest.get_or_init(digest),
            &self.row,
        )
    }

    /// Returns what stands for the secret in what a model sees.
    pub(crate) fn reference(&self) -> Arc<str> {
        let info = self.info();
        let reference = || info.reference().into();
        Arc::clone(self.reference.get_or_init(reference))
    }

    pub(crate) fn info(&self) -> &SecretInfo {
        &self.metadata.info
    }

    pub(crate) fn id(&self) -> SecretId {
        self.metadata.info.secret_id
    }

    /// Returns an upper bound for the value's characters: each is one byte or more.
    pub(crate) fn max_value_chars(&self) -> usize {
        usize::try_from(self.metadata.value_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the binding of a default; `None` if the secret is not one.
    pub(crate) fn default_binding(&self) -> Option<Binding> {
        if !self.info().is_default_for_tool {
            return None;
        }
        Some(Binding {
            pattern: self.pattern.clone()?,
            location: self.location.clone()?,
        })
    }

    /// Returns what the resolver is given of a default.
    fn resolver_entry(&self) -> Option<(ToolPattern, Location, SecretId)> {
        let Binding { pattern, location } = self.default_binding()?;
        Some((pattern, location, self.id()))
    }
}

/// A user's secrets at one moment. It never changes: a write makes another one, which shares what is unchanged.
#[derive(Debug)]
pub(crate) struct Snapshot {
    entries: Entries,
    resolver: Resolver,
    /// Used by references and writes, which many users never have. So it is built when first needed, and kept up to
    /// date from then on.
    by_name: OnceLock<Names>,
    /// The bindings of the defaults. Used by writes; also built when first needed.
    default_bindings: OnceLock<Bindings>,
    /// The user's root, opened and as it is stored; `sealed_root` is `None` if it was never stored.
    pub(crate) root: UserRoot,
    pub(crate) sealed_root: Option<SealedRoot>,
}

/// Oldest first: by id.
pub(crate) type Entries = RedBlackTreeMapSync<SecretId, Arc<Entry>>;

type Names = HashTrieMapSync<Arc<str>, SecretId>;

type Bindings = HashTrieSetSync<Binding>;

/// Where a secret may go, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) pattern: ToolPattern,
    pub(crate) location: Location,
}

impl Snapshot {
    /// Creates the snapshot of a user who has no root in the store.
    pub(crate) fn empty(user: UserId) -> Snapshot {
        Snapshot::new(UserRoot::new(user), None, Vec::new())
    }

    fn new(root: UserRoot, sealed_root: Option<SealedRoot>, entries: Vec<Arc<Entry>>) -> Snapshot {
        let mut resolver = Resolver::builder();
        for entry in &entries {
            if let Some((pattern, location, id)) = entry.resolver_entry() {
                resolver.add(pattern, location, id);
            }
        }
        Snapshot {
            entries: entries
                .into_iter()
                .map(|entry| (entry.id(), entry))
                .collect(),
            resolver: resolver.build(),
            by_name: OnceLock::new(),
            default_bindings: OnceLock::new(),
            root,
            sealed_root,
        }
    }

    /// Opens the metadata of a user's rows, and checks that they are the rows that the root describes.
    pub(crate) fn load(keys: &KeyRing, tag: UserTag, stored: UserRows) -> Result<Snapshot, Error> {
        let (root, entries) = open_rows(keys, tag, &stored)?;
        Ok(Snapshot::new(root, Some(stored.root), entries))
    }

    /// Returns the same secrets, newly sealed.
    pub(crate) fn resealed(
        &self,
        root: UserRoot,
        sealed_root: SealedRoot,
        entries: Entries,
    ) -> Snapshot {
        Snapshot {
            entries,
            resolver: self.resolver.clone(),
            by_name: self.by_name.clone(),
            default_bindings: self.default_bindings.clone(),
            root,
            sealed_root: Some(sealed_root),
        }
    }

    /// Returns these secrets with some of them replaced or removed.
    pub(crate) fn changed(
        &self,
        root: UserRoot,
        sealed_root: SealedRoot,
        changes: Vec<(SecretId, Option<Arc<Entry>>)>,
    ) -> Snapshot {
        let mut next = self.resealed(root, sealed_root, self.entries.clone());
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        // Remove first, since two secrets may exchange their names.
        for (id, entry) in &changes {
            if let Some(old) = self.by_id(*id) {
                next.remove(old);
                removed.extend(old.resolver_entry());
            }
            added.extend(entry.as_ref().and_then(|entry| entry.resolver_entry()));
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
        if let Some(names) = self.by_name.get_mut() {
            names.insert_mut(entry.info().secret_name.as_str().into(), entry.id());
        }
        if let (Some(bindings), Some(binding)) =
            (self.default_bindings.get_mut(), entry.default_binding())
        {
            bindings.insert_mut(binding);
        }
        self.entries.insert_mut(entry.id(), entry);
    }

    fn remove(&mut self, entry: &Entry) {
        self.entries.remove_mut(&entry.id());
        if let Some(names) = self.by_name.get_mut() {
            names.remove_mut(entry.info().secret_name.as_str());
        }
        if let (Some(bindings), Some(binding)) =
            (self.default_bindings.get_mut(), entry.default_binding())
        {
            bindings.remove_mut(&binding);
        }
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Returns whether a default has this binding.
    pub(crate) fn has_default(&self, binding: &Binding) -> bool {
        let all = || {
            self.entries
                .values()
                .filter_map(|entry| entry.default_binding())
        };
        self.default_bindings
            .get_or_init(|| all().collect())
            .contains(binding)
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(crate) fn by_id(&self, id: SecretId) -> Option<&Arc<Entry>> {
        self.entries.get(&id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Entry>> {
        let member = |entry: &Arc<Entry>| (entry.info().secret_name.as_str().into(), entry.id());
        let names = self
            .by_name
            .get_or_init(|| self.entries.values().map(member).collect());
        names.get(name).and_then(|id| self.by_id(*id))
    }

    /// Looks up what a text refers to in a reference or a call: if it is the id of one of the user's secrets, that
    /// secret; otherwise, the secret with this name.
    pub(crate) fn by_text(&self, text: &str) -> Option<&Arc<Entry>> {
        SecretId::from_hyphenated(text)
            .and_then(|id| self.by_id(id))
            .or_else(|| self.by_name(text))
    }
}

/// How many of the entries opened last are searched for one with the same location.
const ALIKE: usize = 4;

/// Opens a user's root and the metadata of the user's rows, oldest first, and checks that they are the rows that
/// the root describes.
pub(crate) fn open_rows(
    keys: &KeyRing,
    tag: UserTag,
    stored: &UserRows,
) -> Result<(UserRoot, Vec<Arc<Entry>>), Error> {
    let root = keys.open_user_root(tag, &stored.root)?;
    let mut entries = Vec::with_capacity(stored.rows.len());
    let (mut usage, mut rows) = (Usage::default(), SetDigest::default());
    keys.open_rows(root.user, &stored.rows, |metadata, row, member| {
        let others = entries.iter().rev().take(ALIKE);
        let entry = Entry::new(metadata, Arc::clone(row), others).ok_or_else(damaged)?;
        usage = usage
            .replace(Usage::default(), entry.metadata.usage())
            .ok_or_else(damaged)?;
        rows.add(&member);
        entries.push(Arc::new(entry));
        Ok(())
    })?;
    if usage != root.usage || rows != root.rows {
        return Err(Error::new(
            ErrorKind::RolledBack,
            "a secret was deleted, added or rolled back outside keyward: restore a backup",
        ));
    }
    entries.sort_unstable_by_key(|entry| entry.id());
    Ok((root, entries))
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "a secret's record contains something that keyward never writes: restore a backup",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::{crypto::VaultId, sealed::Sealed};

    fn entry(id: u128, name: &str, tool: &str) -> Arc<Entry> {
        let metadata = Metadata::of_default(id, name, tool, "token");
        let keys = KeyRing::random(VaultId::random().unwrap()).unwrap();
        let row = keys.seal_row(&metadata, &SecretValue::new("4QvT9sLm"));
        Arc::new(Entry::new(metadata, Arc::new(row.unwrap()), []).unwrap())
    }

    fn sealed_root() -> SealedRoot {
        SealedRoot {
            key_id: 1,
            root: Sealed::new([]),
        }
    }

    #[test]
    fn entries_with_the_same_location_share_it() {
        let new = |id, arg, others: &[Arc<Entry>]| {
            let metadata = Metadata::of_default(id, "name", "tool", arg);
            let row = Arc::clone(&entry(9, "name", "tool").row);
            Arc::new(Entry::new(metadata, row, others).unwrap())
        };
        let location = |entry: &Arc<Entry>| entry.location.clone().unwrap();
        let [first, other] = [(1, "token"), (2, "api_key")].map(|(id, at)| new(id, at, &[]));
        let same = new(3, "token", &[Arc::clone(&other), Arc::clone(&first)]);
        assert_eq!(
            [&first, &other, &same].map(|entry| location(entry).to_string()),
            ["/token", "/api_key", "/token"]
        );
        assert!(std::ptr::eq(
            location(&same).as_pointer(),
            location(&first).as_pointer()
        ));
    }

    #[test]
    fn entries_that_are_loaded_share_locations() {
        let keys = KeyRing::random(VaultId::random().unwrap()).unwrap();
        let user = UserId::LOCAL;
        let mut root = UserRoot::new(user);
        let rows = [(1, "token"), (2, "token"), (3, "api_key")].map(|(id, location)| {
            let metadata = Metadata::of_default(id, &format!("name{id}"), "tool", location);
            let row = keys.seal_row(&metadata, &SecretValue::new("4QvT9sLm"));
            let (row, info) = (Arc::new(row.unwrap()), &metadata.info);
            root.rows.add(&keys.row_member(info, &row));
            let usage = root.usage.replace(Usage::default(), metadata.usage());
            root.usage = usage.unwrap();
            (keys.row_tag(user, info.secret_id), row)
        });
        let stored = UserRows {
            root: keys.seal_user_root(&root).unwrap(),
            rows: rows.into(),
        };
        let snapshot = Snapshot::load(&keys, keys.user_tag(user), stored).unwrap();
        let pointers: Vec<&str> = snapshot
            .entries
            .values()
            .map(|entry| entry.location.as_ref().unwrap().as_pointer())
            .collect();
        assert_eq!(pointers, ["/token", "/token", "/api_key"]);
        assert!(std::ptr::eq(pointers[0], pointers[1]));
    }

    /// The result is the same whether they are built before a change or after it.
    #[test]
    fn names_and_bindings_are_those_of_the_entries() {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        const TOOLS: [&str; 3] = ["github_*", "linear_*", "jira_*"];
        let changes = [
            vec![(1, Some(("a", TOOLS[0]))), (2, Some(("b", TOOLS[1])))],
            // Two exchange their names, and one of them goes elsewhere.
            vec![(1, Some(("b", TOOLS[2]))), (2, Some(("a", TOOLS[1])))],
            vec![(1, Some(("c", TOOLS[2])))],
            vec![(2, None), (3, Some(("a", TOOLS[0])))],
            vec![(3, None)],
        ];
        let mut snapshots = [true, false].map(|early| (early, Snapshot::empty(UserId::LOCAL)));
        let mut model = BTreeMap::new();
        for change in changes {
            model.extend(change.iter().copied());
            for (early, snapshot) in &mut snapshots {
                let is_at = |snapshot: &Snapshot, tool: &str| {
                    snapshot.has_default(&entry(9, "name", tool).default_binding().unwrap())
                };
                if *early {
                    assert!(snapshot.by_name("none").is_none() && !is_at(snapshot, "none"));
                }
                let entries = change.iter().map(|&(id, new)| {
                    let new = new.map(|(name, tool)| entry(id, name, tool));
                    (SecretId::new(Uuid::from_u128(id)), new)
                });
                let new_root = UserRoot::new(UserId::LOCAL);
                *snapshot = snapshot.changed(new_root, sealed_root(), entries.collect());
                // Use a copy, so that the original still has neither built.
                let (root, entries) = (snapshot.root.clone(), snapshot.entries.clone());
                let copy = snapshot.resealed(root, sealed_root(), entries);
                let seen = if *early { &*snapshot } else { &copy };
                let of_model = || model.iter().filter_map(|(id, new)| Some((*id, (*new)?)));
                for name in NAMES {
                    let named = seen.by_name(name).map(|entry| entry.id());
                    let expected = of_model().find(|(_, new)| new.0 == name);
                    assert_eq!(
                        named.map(|id| id.as_uuid().as_u128()),
                        expected.map(|(id, _)| id)
                    );
                }
                for tool in TOOLS {
                    assert_eq!(is_at(seen, tool), of_model().any(|(_, new)| new.1 == tool));
                }
            }
        }
    }
}

//! A user's secrets at one moment, compiled for lookup.

use std::sync::{Arc, OnceLock};

use rpds::{HashTrieMapSync, HashTrieSetSync, RedBlackTreeMapSync};

use crate::{
    crypto::{KeyRing, SetDigest, UserRoot},
    entry::{Binding, Entry},
    error::{Error, ErrorKind},
    quota::Usage,
    resolver::InlineResolver,
    sealed::{SealedRoot, UserTag},
    secret::{SecretId, UserId},
    storage::UserRows,
};

/// A user's secrets at one moment. It never changes: a write makes another one, which shares what is unchanged.
#[derive(Debug)]
pub(crate) struct Snapshot {
    entries: Entries,
    resolver: InlineResolver,
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
pub(crate) type Entries = RedBlackTreeMapSync<SecretId, Entry>;

type Names = HashTrieMapSync<Arc<str>, SecretId>;

type Bindings = HashTrieSetSync<Binding>;

impl Snapshot {
    /// Creates the snapshot of a user who has no root in the store.
    pub(crate) fn empty(user: UserId) -> Snapshot {
        Snapshot::new(UserRoot::new(user), None, Vec::new())
    }

    /// Creates a snapshot of which only the root is known.
    pub(crate) fn unread(
        keys: &KeyRing,
        tag: UserTag,
        sealed_root: SealedRoot,
    ) -> Result<Snapshot, Error> {
        let root = keys.open_user_root(tag, &sealed_root)?;
        Ok(Snapshot::new(root, Some(sealed_root), Vec::new()))
    }

    fn new(root: UserRoot, sealed_root: Option<SealedRoot>, entries: Vec<Entry>) -> Snapshot {
        let bindings: Vec<_> = entries.iter().filter_map(Entry::resolver_entry).collect();
        Snapshot {
            entries: entries
                .into_iter()
                .map(|entry| (entry.id(), entry))
                .collect(),
            resolver: InlineResolver::of(&bindings),
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
        changes: Vec<(SecretId, Option<Entry>)>,
    ) -> Snapshot {
        let mut next = self.resealed(root, sealed_root, self.entries.clone());
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        // Remove first, since two secrets may exchange their names.
        for (id, entry) in &changes {
            if let Some(old) = self.by_id(*id) {
                next.remove(old);
                removed.extend(old.resolver_entry());
            }
            added.extend(entry.as_ref().and_then(Entry::resolver_entry));
        }
        for entry in changes.into_iter().filter_map(|(_, entry)| entry) {
            next.insert(entry);
        }
        if removed != added {
            next.resolver = next.resolver.with_changes(removed, added);
        }
        next
    }

    fn insert(&mut self, entry: Entry) {
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
        let all = || self.entries.values().filter_map(Entry::default_binding);
        self.default_bindings
            .get_or_init(|| all().collect())
            .contains(binding)
    }

    pub(crate) fn resolver(&self) -> &InlineResolver {
        &self.resolver
    }

    pub(crate) fn by_id(&self, id: SecretId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Entry> {
        let member = |entry: &Entry| (entry.info().secret_name.as_str().into(), entry.id());
        let names = self
            .by_name
            .get_or_init(|| self.entries.values().map(member).collect());
        names.get(name).and_then(|id| self.by_id(*id))
    }

    /// Looks up what a text refers to in a reference or a call: if it is the id of one of the user's secrets, that
    /// secret; otherwise, the secret with this name.
    pub(crate) fn by_text(&self, text: &str) -> Option<&Entry> {
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
) -> Result<(UserRoot, Vec<Entry>), Error> {
    let root = keys.open_user_root(tag, &stored.root)?;
    let mut entries = Vec::with_capacity(stored.rows.len());
    let (mut usage, mut rows) = (Usage::default(), SetDigest::default());
    keys.open_rows(root.user, &stored.rows, |metadata, row, member| {
        let others = entries.iter().rev().take(ALIKE);
        let entry = Entry::new(metadata, Arc::clone(row), others).ok_or_else(damaged)?;
        usage = usage
            .replace(Usage::default(), entry.metadata().usage())
            .ok_or_else(damaged)?;
        rows.add(&member);
        entries.push(entry);
        Ok(())
    })?;
    if usage != root.usage || rows != root.rows {
        return Err(Error::new(
            ErrorKind::RolledBack,
            "a secret was deleted, added, changed or rolled back outside keyward: restore a backup",
        ));
    }
    entries.sort_unstable_by_key(Entry::id);
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
    use crate::{crypto::VaultId, metadata::Metadata, sealed::Sealed, secret::SecretValue};

    fn entry(id: u128, name: &str, tool: &str) -> Entry {
        let metadata = Metadata::of_default(id, name, tool, "token");
        let keys = KeyRing::random(VaultId::random().unwrap()).unwrap();
        let row = keys.seal_row(&metadata, &SecretValue::new("4QvT9sLm"));
        Entry::new(metadata, Arc::new(row.unwrap()), []).unwrap()
    }

    fn sealed_root() -> SealedRoot {
        SealedRoot {
            key_id: 1,
            root: Sealed::new([]),
        }
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
            .map(|entry| entry.location().unwrap().as_pointer())
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
                    let named = seen.by_name(name).map(Entry::id);
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

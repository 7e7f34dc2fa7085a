//! Tampering: a store whose rows, roots and keys a forger has rearranged or changed.
//!
//! The forger has every state that the vault was ever in, another vault with the same key, and no key. What he makes of
//! them is opened. It is then a state that was once committed, as a whole, or an error of a kind that says so: when the
//! vault opens, or when the user is first used. With the anchor of the last state, it is that state or an error.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::*;
use crate::{
    NewSecret, SecretInfo, SecretPatch, ToolCall,
    crypto::checksum,
    error::ErrorKind,
    sealed::{RowTag, Sealed, SealedRoot, SealedRow, UserTag},
    storage::{MemoryStorage, Storage, Stored, Transaction, UserChange},
};

type Rows = BTreeMap<RowTag, Arc<SealedRow>>;

/// Everything that is stored, to be rearranged.
#[derive(Debug, Clone, PartialEq)]
struct Contents {
    keys: Vec<u8>,
    root: SealedRoot,
    users: BTreeMap<UserTag, (SealedRoot, Rows)>,
}

impl Contents {
    fn of(storage: &dyn Storage) -> Contents {
        let mut contents = None;
        let mut users = BTreeMap::new();
        let all = storage.scan(&mut |part| {
            match part {
                Stored::Vault { keys, root } => contents = keys.zip(root),
                Stored::User(tag, user) => {
                    users.insert(tag, (user.root, user.rows.into_iter().collect()));
                }
            }
            ControlFlow::Continue(())
        });
        all.unwrap();
        let (keys, root) = contents.unwrap();
        Contents { keys, root, users }
    }

    fn store(&self) -> MemoryStorage {
        let user = |(tag, (root, rows)): (&UserTag, &(SealedRoot, Rows))| UserChange {
            user: *tag,
            expected: None,
            root: Some(root.clone()),
            put: rows
                .iter()
                .map(|(tag, row)| (*tag, Arc::clone(row)))
                .collect(),
            delete: Vec::new(),
        };
        let storage = MemoryStorage::default();
        storage
            .commit(Transaction {
                keys: Some(self.keys.clone()),
                vault_root: Some(self.root.clone()),
                users: self.users.iter().map(user).collect(),
            })
            .unwrap();
        storage
    }

    fn open(&self, anchor: Option<&Anchor>) -> Result<Vault, Error> {
        let mut builder = Vault::builder();
        if let Some(anchor) = anchor {
            builder = builder.anchor(*anchor);
        }
        builder.open_with(&key(), Box::new(self.store()))
    }

    /// Where rows are.
    fn places(&self) -> Vec<(UserTag, RowTag)> {
        let users = self.users.iter();
        users
            .flat_map(|(user, (_, rows))| rows.keys().map(|row| (*user, *row)))
            .collect()
    }

    fn row(&self, (user, row): (UserTag, RowTag)) -> &Arc<SealedRow> {
        &self.users[&user].1[&row]
    }

    fn rows(&mut self, user: UserTag) -> &mut Rows {
        &mut self.users.get_mut(&user).unwrap().1
    }

    /// The same, with this row in this place.
    fn with(&self, (user, tag): (UserTag, RowTag), row: SealedRow) -> Contents {
        let mut forged = self.clone();
        forged.rows(user).insert(tag, Arc::new(row));
        forged
    }
}

/// What the user has, as it can be seen: what can be read of each secret, and where its value goes.
type Seen = (Vec<SecretInfo>, Map<String, Value>);

fn see(vault: &Vault, user: UserId) -> Result<Seen, Error> {
    let user = vault.user(user);
    let secrets = user.secrets()?;
    let mut args = Map::new();
    for tool in TOOLS {
        let mut of_tool = Map::new();
        user.inject(&ToolCall::new(tool), &mut of_tool)?;
        args.insert(tool.to_owned(), of_tool.into());
    }
    assert_eq!(user.usage()?.secrets, secrets.len() as u64);
    Ok((secrets, args))
}

const TOOLS: [&str; 3] = ["mail", "search", "billing"];
const USERS: [UserId; 3] = [
    UserId::LOCAL,
    UserId::new(Uuid::from_u128(1)),
    UserId::new(Uuid::from_u128(2)),
];

fn key() -> KeySource {
    raw(7)
}

fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

/// A state that was committed: what was stored, and what there was to see.
struct Committed {
    stored: Contents,
    anchor: Anchor,
    users: Vec<Seen>,
}

type Step<'a> = &'a dyn Fn(&UserVault, &UserVault) -> Result<(), Error>;

/// Every state of a vault, the last one last.
struct History(Vec<Committed>);

impl History {
    fn new(of: &str, writes: usize) -> History {
        let vault = Vault::builder().in_memory_with_key(key()).unwrap();
        let secret = |name: &str, tool: &str| {
            let value = format!("value-of-{name}-{of}");
            NewSecret::new(name, value)
                .bind(tool, name)
                .default_for_tool()
        };
        let steps: [Step<'_>; 11] = [
            &|_, _| Ok(()),
            &|a, _| {
                a.batch(|batch| {
                    batch.create(secret("a", "mail"));
                    batch.create(secret("b", "mail"));
                    batch.create(secret("c", "search"));
                })
                .map(drop)
            },
            &|_, b| b.create(secret("a", "mail")).map(drop),
            &|_, b| b.create(secret("d", "billing")).map(drop),
            // Of the same length, so that usage does not tell.
            &|a, _| {
                a.update("a", SecretPatch::new().value(format!("other-of-a-{of}")))
                    .map(drop)
            },
            // To another tool, and with other bytes of the same lengths.
            &|a, _| {
                a.update("b", SecretPatch::new().tool_pattern("bill"))
                    .map(drop)
            },
            &|a, _| {
                a.update("b", SecretPatch::new().tool_pattern("mai*"))
                    .map(drop)
            },
            &|a, _| a.delete("c"),
            &|_, _| vault.add_key(key(), raw(8)).map(drop),
            &|_, _| vault.rotate_data_key(key(), |_| {}),
            &|_, b| {
                b.update("d", SecretPatch::new().value(format!("other-of-d-{of}")))
                    .map(drop)
            },
        ];
        let (a, b) = (vault.user(USERS[0]), vault.user(USERS[1]));
        let mut states = Vec::new();
        for step in steps {
            step(&a, &b).unwrap();
            states.push(Committed {
                stored: Contents::of(&*vault.state.storage),
                anchor: vault.anchor().unwrap(),
                users: USERS.map(|user| see(&vault, user).unwrap()).into(),
            });
        }
        for i in 0..writes {
            let patch = SecretPatch::new().value(format!("later-{i:05}-{of}"));
            a.update("a", patch).unwrap();
        }
        if writes > 0 {
            states.push(Committed {
                stored: Contents::of(&*vault.state.storage),
                anchor: vault.anchor().unwrap(),
                users: USERS.map(|user| see(&vault, user).unwrap()).into(),
            });
        }
        History(states)
    }

    fn last(&self) -> &Committed {
        &self.0[self.0.len() - 1]
    }
}

/// What became of a attack.
enum Outcome {
    Unchanged,
    Earlier,
    /// The vault did not open.
    Refused,
    /// A user could not be used.
    RefusedInUse,
}

/// What became of all of them, when no anchor was demanded.
#[derive(Debug, Default)]
struct Outcomes {
    unchanged: u32,
    refused: u32,
    refused_in_use: u32,
    earlier: u32,
}

/// A vault that is forged, and another one of the same key to forge it with.
struct Forger {
    own: History,
    other: History,
    outcomes: Outcomes,
}

impl Forger {
    fn new() -> Forger {
        Forger {
            own: History::new("own", 0),
            // With more writes, so that its counter is the higher one.
            other: History::new("its", 5),
            outcomes: Outcomes::default(),
        }
    }

    fn now(&self) -> Contents {
        self.own.last().stored.clone()
    }

    fn states(&self) -> impl Iterator<Item = &Committed> {
        self.own.0.iter().chain(&self.other.0)
    }

    /// Every row that there ever was, once.
    fn rows(&self) -> Vec<Arc<SealedRow>> {
        let mut rows: Vec<Arc<SealedRow>> = Vec::new();
        for state in self.states() {
            for place in state.stored.places() {
                let row = state.stored.row(place);
                if !rows.contains(row) {
                    rows.push(Arc::clone(row));
                }
            }
        }
        rows
    }

    /// Opens what was forged, and holds it against what there was.
    fn judge(&mut self, what: &str, forged: &Contents) {
        self.open(what, forged, true);
        match self.open(what, forged, false) {
            Outcome::Unchanged => self.outcomes.unchanged += 1,
            Outcome::Earlier => self.outcomes.earlier += 1,
            Outcome::Refused => self.outcomes.refused += 1,
            Outcome::RefusedInUse => self.outcomes.refused_in_use += 1,
        }
    }

    fn open(&self, what: &str, forged: &Contents, demanded: bool) -> Outcome {
        let last = self.own.last().anchor;
        let vault = match forged.open(demanded.then_some(&last)) {
            Ok(vault) => vault,
            Err(error) => {
                assert_refused(what, &error);
                return Outcome::Refused;
            }
        };
        let found = vault.anchor().unwrap();
        assert!(
            found == last || !demanded,
            "{what}: not the state that was demanded"
        );
        let state = self.states().find(|state| state.anchor == found);
        let state = state.unwrap_or_else(|| panic!("{what}: a state that never was"));
        let mut outcome = if found == last {
            Outcome::Unchanged
        } else {
            Outcome::Earlier
        };
        for (user, expected) in USERS.into_iter().zip(&state.users) {
            match see(&vault, user) {
                Ok(seen) => assert_eq!(seen, *expected, "{what}"),
                Err(error) => {
                    assert_refused(what, &error);
                    outcome = Outcome::RefusedInUse;
                }
            }
        }
        match vault.verify() {
            Ok(()) => assert_eq!(*forged, state.stored, "{what}: not all was verified"),
            Err(error) => {
                assert_refused(what, &error);
                assert_ne!(*forged, state.stored, "{what}");
            }
        }
        outcome
    }

    /// Nothing of it may pass for a state of the vault.
    fn refuse(&mut self, what: &str, forged: &Contents) {
        let before = self.outcomes.refused + self.outcomes.refused_in_use;
        self.judge(what, forged);
        let refused = self.outcomes.refused + self.outcomes.refused_in_use;
        assert_eq!(refused, before + 1, "{what}: not refused");
    }
}

#[track_caller]
fn assert_refused(what: &str, error: &Error) {
    let kind = error.kind();
    assert!(
        matches!(
            kind,
            ErrorKind::Corrupt | ErrorKind::RolledBack | ErrorKind::WrongKey
        ),
        "{what}: {error:?}"
    );
}

fn with_value(row: &SealedRow, other: &SealedRow) -> SealedRow {
    SealedRow {
        value: other.value.clone(),
        ..row.clone()
    }
}

#[test]
fn what_was_committed_opens() {
    let mut attack = Forger::new();
    let all: Vec<Contents> = attack.states().map(|state| state.stored.clone()).collect();
    for (i, stored) in all.iter().enumerate() {
        attack.judge(&format!("state {i}"), stored);
    }
    let Outcomes {
        unchanged, earlier, ..
    } = attack.outcomes;
    assert_eq!((unchanged, earlier as usize), (1, all.len() - 1));
}

#[test]
fn no_two_rows_can_be_exchanged() {
    let mut attack = Forger::new();
    let now = attack.now();
    let places = now.places();
    for (i, &first) in places.iter().enumerate() {
        for &second in &places[i + 1..] {
            let (one, two) = (now.row(first), now.row(second));
            let exchanged = |one: SealedRow, two: SealedRow| now.with(first, two).with(second, one);
            let whole = exchanged((**one).clone(), (**two).clone());
            attack.refuse("rows", &whole);
            let values = exchanged(with_value(two, one), with_value(one, two));
            attack.refuse("metadata", &values);
            let metadata = exchanged(with_value(one, two), with_value(two, one));
            attack.refuse("values", &metadata);
        }
    }
    println!("{:?}", attack.outcomes);
}

#[test]
fn no_row_of_another_time_place_or_vault_can_be_put_in_place() {
    let mut attack = Forger::new();
    let (now, rows) = (attack.now(), attack.rows());
    let new = RowTag([9; 16]);
    for user in now.users.keys() {
        for row in &rows {
            attack.refuse("a row more", &now.with((*user, new), (**row).clone()));
        }
    }
    for place in now.places() {
        let own = Arc::clone(now.row(place));
        for row in rows.iter().filter(|row| **row != own) {
            attack.refuse("another row", &now.with(place, (**row).clone()));
            // With the metadata of another, it would be bound elsewhere.
            attack.refuse("another's value", &now.with(place, with_value(&own, row)));
            attack.refuse(
                "another's metadata",
                &now.with(place, with_value(row, &own)),
            );
        }
        for key_id in [0, 1, 3, u32::MAX] {
            let row = SealedRow {
                key_id,
                ..(*own).clone()
            };
            attack.refuse("another data key", &now.with(place, row));
        }
        let mut gone = now.clone();
        gone.rows(place.0).remove(&place.1);
        attack.refuse("a row less", &gone);
        for user in now.users.keys().filter(|user| **user != place.0) {
            attack.refuse(
                "a row of two users",
                &now.with((*user, place.1), (*own).clone()),
            );
            let moved = gone.with((*user, place.1), (*own).clone());
            attack.refuse("a row of another user", &moved);
        }
    }
    println!("{:?}", attack.outcomes);
}

#[test]
fn no_user_can_be_put_in_anothers_place_or_time() {
    let mut attack = Forger::new();
    let now = attack.now();
    let users: Vec<(UserTag, (SealedRoot, Rows))> = attack
        .states()
        .flat_map(|state| state.stored.users.clone())
        .collect();
    for (tag, user) in &users {
        for at in now.users.keys().copied().chain([*tag, UserTag([9; 16])]) {
            let mut forged = now.clone();
            if forged.users.insert(at, user.clone()).as_ref() != Some(user) {
                attack.refuse("another user", &forged);
            }
            let mut forged = now.clone();
            if let Some((root, _)) = forged.users.get_mut(&at)
                && *root != user.0
            {
                *root = user.0.clone();
                attack.refuse("another root", &forged);
            }
        }
    }
    for tag in now.users.keys() {
        let mut forged = now.clone();
        forged.users.remove(tag);
        attack.refuse("a user less", &forged);
        let mut forged = now.clone();
        forged.rows(*tag).clear();
        attack.refuse("a user without rows", &forged);
    }
    println!("{:?}", attack.outcomes);
}

/// Keys, root and users, each of any state of either vault.
#[test]
fn parts_of_different_states_make_none() {
    let mut attack = Forger::new();
    let all: Vec<Contents> = attack.states().map(|state| state.stored.clone()).collect();
    let mut committed = 0;
    for keys in &all {
        for root in &all {
            for users in &all {
                let forged = Contents {
                    keys: keys.keys.clone(),
                    root: root.root.clone(),
                    users: users.users.clone(),
                };
                if all.contains(&forged) {
                    committed += 1;
                    attack.judge("a state", &forged);
                } else {
                    attack.refuse("parts", &forged);
                }
            }
        }
    }
    println!("{committed} were states; {:?}", attack.outcomes);
}

/// Every sealed thing with each byte changed, or of another length.
#[test]
fn no_byte_of_a_row_or_a_root_can_be_changed() {
    let mut attack = Forger::new();
    let now = attack.now();
    let variants = |sealed: &Sealed| -> Vec<Sealed> {
        let bytes = sealed.as_bytes();
        let flips = (0..bytes.len()).flat_map(|at| {
            [0x01, 0x80, 0xFF].map(|mask| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= mask;
                bytes
            })
        });
        let lengths = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        let longer = [bytes, &[0]].concat();
        flips
            .chain(lengths)
            .chain([longer])
            .map(Sealed::new)
            .collect()
    };
    for place in now.places() {
        let row = now.row(place);
        for value in variants(&row.value) {
            let row = SealedRow {
                value,
                ..(**row).clone()
            };
            attack.refuse("a value", &now.with(place, row));
        }
        for metadata in variants(&row.metadata) {
            let row = SealedRow {
                metadata,
                ..(**row).clone()
            };
            attack.refuse("metadata", &now.with(place, row));
        }
    }
    let mut forged = now.clone();
    for root in variants(&now.root.root) {
        forged.root.root = root;
        attack.refuse("the vault's root", &forged);
    }
    for (tag, (root, _)) in &now.users {
        for variant in variants(&root.root) {
            let mut forged = now.clone();
            forged.users.get_mut(tag).unwrap().0.root = variant;
            attack.refuse("a user's root", &forged);
        }
    }
    println!("{:?}", attack.outcomes);
}

/// The checksum of the keys is not keyed: a forger makes another.
#[test]
fn no_byte_of_the_keys_can_be_changed() {
    let mut attack = Forger::new();
    let now = attack.now();
    let body = &now.keys[..now.keys.len() - 32];
    let mut forged = now.clone();
    for at in 0..body.len() {
        for mask in [0x01, 0x80, 0xFF] {
            let mut body = body.to_vec();
            body[at] ^= mask;
            forged.keys = [&body[..], &now.keys[body.len()..]].concat();
            attack.refuse("with the old checksum", &forged);
            let sum = checksum(&body);
            forged.keys = [&body[..], &sum].concat();
            attack.refuse("with its checksum", &forged);
        }
        forged.keys = now.keys[..at].to_vec();
        attack.refuse("shorter", &forged);
        forged.keys = [&body[..at], &checksum(&body[..at])].concat();
        attack.refuse("shorter, with its checksum", &forged);
    }
    println!("{:?}", attack.outcomes);
}

/// Puts what was stored in the place of what is, behind the back of a vault that is open.
fn replace_keys(vault: &Vault, keys: Vec<u8>) {
    let keys = Transaction {
        keys: Some(keys),
        ..Transaction::default()
    };
    vault.state.storage.commit(keys).unwrap();
}

#[test]
fn keys_that_were_put_back_under_an_open_vault_are_not_taken_over() {
    type Change = fn(&Vault) -> Result<(), Error>;
    let changes: [(&str, Change); 5] = [
        ("add", |vault| vault.add_key(raw(7), raw(9)).map(drop)),
        ("change", |vault| vault.change_key(raw(7), raw(9)).map(drop)),
        ("remove", |vault| vault.remove_key(1)),
        ("rotate the master key", |vault| {
            vault.rotate_master_key([raw(7)])
        }),
        ("rotate the data key", |vault| {
            vault.rotate_data_key(raw(7), |_| {})
        }),
    ];
    for (what, change) in changes {
        let vault = Vault::builder().in_memory_with_key(key()).unwrap();
        let lost = vault.add_key(key(), raw(8)).unwrap();
        let old = Contents::of(&*vault.state.storage).keys;
        vault.remove_key(lost.id).unwrap();
        let now = Contents::of(&*vault.state.storage).keys;
        replace_keys(&vault, old);
        let error = change(&vault).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::RolledBack, "{what}: {error}");
        replace_keys(&vault, now);
        vault.verify().unwrap();
        vault.lock().unwrap();
        assert_eq!(
            vault.unlock(raw(8)).unwrap_err().kind(),
            ErrorKind::WrongKey
        );
        vault.unlock(key()).unwrap();
    }
}

#[test]
fn a_store_without_its_keys_or_its_root_is_corrupt_or_rolled_back() {
    let now = Forger::new().now();
    for (keys, root) in [(false, false), (true, false), (false, true)] {
        let storage = MemoryStorage::default();
        storage
            .commit(Transaction {
                keys: keys.then(|| now.keys.clone()),
                vault_root: root.then(|| now.root.clone()),
                users: Vec::new(),
            })
            .unwrap();
        let opened = Vault::builder().open_with(&key(), Box::new(storage));
        let error = opened.unwrap_err();
        assert_refused("nothing", &error);
    }
}

//! Who has every state of two vaults and no key, and what comes of what he makes of them.

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::*;
use crate::{
    AuditEvent, AuditSink, NewSecret, SecretInfo, SecretPatch, ToolCall,
    audit::{AuditAction, AuditReason},
    error::ErrorKind,
    sealed::{RowTag, SealedRoot, SealedRow, UserTag},
    storage::{MemoryStorage, Storage, Stored, Transaction, UserChange},
};

pub(super) type Rows = BTreeMap<RowTag, Arc<SealedRow>>;

/// Everything that is stored, to be rearranged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contents {
    pub(super) keys: Vec<u8>,
    pub(super) root: SealedRoot,
    pub(super) users: BTreeMap<UserTag, (SealedRoot, Rows)>,
}

impl Contents {
    pub(super) fn of(storage: &dyn Storage) -> Contents {
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

    pub(super) fn store(&self) -> MemoryStorage {
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

    pub(super) fn open(&self, anchor: Option<&Anchor>) -> Result<Vault, Error> {
        self.open_and_tell(anchor, Arc::default())
    }

    pub(super) fn open_and_tell(
        &self,
        anchor: Option<&Anchor>,
        told: Arc<Told>,
    ) -> Result<Vault, Error> {
        let mut builder = Vault::builder().audit(told);
        if let Some(anchor) = anchor {
            builder = builder.anchor(*anchor);
        }
        builder.open_with(&key(), Box::new(self.store()))
    }

    /// Where rows are.
    pub(super) fn places(&self) -> Vec<(UserTag, RowTag)> {
        let users = self.users.iter();
        users
            .flat_map(|(user, (_, rows))| rows.keys().map(|row| (*user, *row)))
            .collect()
    }

    pub(super) fn row(&self, (user, row): (UserTag, RowTag)) -> &Arc<SealedRow> {
        &self.users[&user].1[&row]
    }

    pub(super) fn rows(&mut self, user: UserTag) -> &mut Rows {
        &mut self.users.get_mut(&user).unwrap().1
    }

    /// The same, with this row in this place.
    pub(super) fn with(&self, (user, tag): (UserTag, RowTag), row: SealedRow) -> Contents {
        let mut forged = self.clone();
        forged.rows(user).insert(tag, Arc::new(row));
        forged
    }
}

/// What the user has, as it can be seen: what can be read of each secret, and where its value goes.
pub(super) type Seen = (Vec<SecretInfo>, Map<String, Value>);

pub(super) fn see(vault: &Vault, user: UserId) -> Result<Seen, Error> {
    let user = vault.user(user);
    let secrets = user.secrets()?;
    let mut args = Map::new();
    for tool in TOOLS {
        let mut of_tool = Map::new();
        let _ = user.inject(&ToolCall::new(tool), &mut of_tool)?;
        args.insert(tool.to_owned(), of_tool.into());
    }
    assert_eq!(user.usage()?.secrets, secrets.len() as u64);
    Ok((secrets, args))
}

pub(super) const TOOLS: [&str; 3] = ["mail", "search", "billing"];
pub(super) const USERS: [UserId; 3] = [
    UserId::LOCAL,
    UserId::new(Uuid::from_u128(1)),
    UserId::new(Uuid::from_u128(2)),
];

pub(super) fn key() -> KeySource {
    raw(7)
}

pub(super) fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

/// A state that was committed: what was stored, and what there was to see.
pub(super) struct Committed {
    pub(super) stored: Contents,
    pub(super) anchor: Anchor,
    pub(super) users: Vec<Seen>,
}

pub(super) type Step<'a> = &'a dyn Fn(&UserVault, &UserVault) -> Result<(), Error>;

/// Every state of a vault, the last one last.
pub(super) struct History(pub(super) Vec<Committed>);

impl History {
    pub(super) fn new(of: &str, writes: usize) -> History {
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
            &|_, _| vault.rotate_data_key(key()),
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

    pub(super) fn last(&self) -> &Committed {
        &self.0[self.0.len() - 1]
    }
}

/// What became of an attack.
pub(super) enum Outcome {
    Unchanged,
    Earlier,
    /// The vault did not open.
    Refused,
    /// A user could not be used.
    RefusedInUse,
}

/// How often each of these was the outcome, when no anchor was demanded.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) unchanged: u32,
    pub(super) refused: u32,
    pub(super) refused_in_use: u32,
    pub(super) earlier: u32,
}

/// A vault that is forged, and another one of the same key to forge it with.
pub(super) struct Forger {
    pub(super) own: History,
    pub(super) other: History,
    pub(super) outcomes: Outcomes,
}

impl Forger {
    pub(super) fn new() -> Forger {
        Forger {
            own: History::new("own", 0),
            // With more writes, so that its counter is the higher one.
            other: History::new("its", 5),
            outcomes: Outcomes::default(),
        }
    }

    pub(super) fn now(&self) -> Contents {
        self.own.last().stored.clone()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &Committed> {
        self.own.0.iter().chain(&self.other.0)
    }

    /// Every row that there ever was, once.
    pub(super) fn rows(&self) -> Vec<Arc<SealedRow>> {
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
    pub(super) fn judge(&mut self, what: &str, forged: &Contents) {
        self.open(what, forged, true);
        match self.open(what, forged, false) {
            Outcome::Unchanged => self.outcomes.unchanged += 1,
            Outcome::Earlier => self.outcomes.earlier += 1,
            Outcome::Refused => self.outcomes.refused += 1,
            Outcome::RefusedInUse => self.outcomes.refused_in_use += 1,
        }
    }

    pub(super) fn open(&self, what: &str, forged: &Contents, demanded: bool) -> Outcome {
        let last = self.own.last().anchor;
        let told = Arc::new(Told::default());
        let opened = forged.open_and_tell(demanded.then_some(&last), Arc::clone(&told));
        let vault = match opened {
            Ok(vault) => vault,
            Err(error) => {
                // Whoever opens it by its path tells that.
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
                    told.assert_told(what, &error, Some(user));
                    outcome = Outcome::RefusedInUse;
                }
            }
        }
        match vault.verify() {
            Ok(()) => assert_eq!(*forged, state.stored, "{what}: not all was verified"),
            Err(error) => {
                assert_refused(what, &error);
                told.assert_told(what, &error, None);
                assert_ne!(*forged, state.stored, "{what}");
            }
        }
        outcome
    }

    /// Nothing of it may pass for a state of the vault.
    pub(super) fn refuse(&mut self, what: &str, forged: &Contents) {
        let before = self.outcomes.refused + self.outcomes.refused_in_use;
        self.judge(what, forged);
        let refused = self.outcomes.refused + self.outcomes.refused_in_use;
        assert_eq!(refused, before + 1, "{what}: not refused");
    }

    /// Says how it went. A test that tried nothing has shown nothing.
    pub(super) fn report(&self) {
        println!("{:?}", self.outcomes);
        assert!(self.outcomes.refused + self.outcomes.refused_in_use > 0);
    }
}

/// Keeps what the sink is told.
#[derive(Default)]
pub(super) struct Told(Mutex<Vec<AuditEvent>>);

impl AuditSink for Told {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

impl Told {
    /// Asserts that this failure was told, once, and that nothing else was refused since it was asked last.
    pub(super) fn assert_told(&self, what: &str, error: &Error, user: Option<UserId>) {
        let told = std::mem::take(&mut *self.0.lock().unwrap());
        let mut refused = told.iter().filter(|event| event.action.is_refusal());
        let event = refused.next().expect(what);
        let reason = match error.kind() {
            ErrorKind::Corrupt => AuditReason::Corrupt,
            _ => AuditReason::RolledBack,
        };
        assert_eq!(event.action, AuditAction::IntegrityFailed, "{what}");
        assert_eq!((event.reason, event.user), (Some(reason), user), "{what}");
        assert_eq!(refused.next(), None, "{what}");
    }
}

#[track_caller]
pub(super) fn assert_refused(what: &str, error: &Error) {
    let kind = error.kind();
    assert!(
        matches!(
            kind,
            ErrorKind::Corrupt | ErrorKind::RolledBack | ErrorKind::WrongKey
        ),
        "{what}: {error:?}"
    );
}

pub(super) fn with_value(row: &SealedRow, other: &SealedRow) -> SealedRow {
    SealedRow {
        value: other.value.clone(),
        ..row.clone()
    }
}

//! What is done to the vault, and a model of what it has then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;
use uuid::Uuid;

use super::*;
use crate::{NewSecret, ToolCall};

/// What a vault has, as its owner knows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    users: BTreeMap<UserId, BTreeMap<String, Known>>,
    /// The raw keys that open it, by their one byte.
    keys: BTreeSet<u8>,
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    value: String,
    revision: u64,
}

impl Model {
    /// Nothing, and the first key.
    pub(super) fn of_a_new_vault() -> Model {
        Model {
            users: BTreeMap::new(),
            keys: BTreeSet::from([1]),
        }
    }

    pub(super) fn of(vault: &Vault) -> Result<Model, Error> {
        let mut users = BTreeMap::new();
        for id in vault.users()? {
            let user = vault.user(id);
            let mut args = Map::new();
            let injection = user.inject(&ToolCall::new("t"), &mut args)?;
            assert_eq!(injection.filled().len(), args.len());
            let known = user.secrets()?.into_iter().map(|info| {
                let value = args[&info.secret_name].as_str().unwrap().to_owned();
                let revision = info.revision;
                (info.secret_name, Known { value, revision })
            });
            users.insert(id, known.collect());
        }
        let mut keys = BTreeSet::new();
        for byte in 1..=KEYS {
            vault.lock()?;
            match vault.unlock(raw(byte)) {
                Ok(()) => {
                    keys.insert(byte);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
                    vault.unlock(raw(1))?;
                }
            }
        }
        Ok(Model { users, keys })
    }

    pub(super) fn usage(&self, user: UserId) -> Usage {
        let secrets = self.users.get(&user).into_iter().flatten();
        let bytes = secrets
            .clone()
            // The name is its argument, too, and the tool has one byte.
            .map(|(name, known)| known.value.len() + 2 * name.len() + 1);
        Usage::new(secrets.count() as u64, bytes.sum::<usize>() as u64)
    }

    pub(super) fn put(&mut self, user: u128, name: &str, value: &str) {
        let secrets = self.users.entry(id(user)).or_default();
        let revision = secrets.get(name).map_or(0, |known| known.revision) + 1;
        let value = value.to_owned();
        secrets.insert(name.to_owned(), Known { value, revision });
    }

    fn rename(&mut self, user: u128, from: &str, to: &str) {
        let secrets = self.users.get_mut(&id(user)).unwrap();
        let mut known = secrets.remove(from).unwrap();
        known.revision += 1;
        secrets.insert(to.to_owned(), known);
    }

    fn take(&mut self, user: u128, name: &str) {
        self.users.get_mut(&id(user)).unwrap().remove(name).unwrap();
    }
}

const KEYS: u8 = 4;

pub(super) fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

pub(super) fn id(user: u128) -> UserId {
    UserId::new(Uuid::from_u128(user))
}

pub(super) fn secret(name: &str, value: &str) -> NewSecret {
    NewSecret::new(name, value)
        .bind("t", name)
        .default_for_tool()
}

/// A new name, and the argument that goes with it.
fn renamed(name: &str) -> SecretPatch {
    SecretPatch::new().name(name).location(name)
}

pub(super) struct Operation {
    pub(super) what: &'static str,
    pub(super) run: fn(&Vault) -> Result<(), Error>,
    pub(super) model: fn(&mut Model),
}

/// Every operation that writes. More secrets than one batch of a rotation, and values of several pages.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        what: "create",
        run: |vault| {
            vault
                .user(id(1))
                .create(secret("a", "value-of-a"))
                .map(drop)
        },
        model: |model| model.put(1, "a", "value-of-a"),
    },
    Operation {
        what: "batch of new ones",
        run: |vault| {
            let fill = |batch: &mut Batch<'_>| {
                (0..11).for_each(|i| batch.create(secret(&format!("n{i}"), &format!("value-{i}"))));
            };
            vault.user(id(2)).batch(fill).map(drop)
        },
        model: |model| (0..11).for_each(|i| model.put(2, &format!("n{i}"), &format!("value-{i}"))),
    },
    Operation {
        what: "update",
        run: |vault| {
            let patch = SecretPatch::new().value("ż".repeat(1000));
            vault.user(id(1)).update("a", patch).map(drop)
        },
        model: |model| model.put(1, "a", &"ż".repeat(1000)),
    },
    Operation {
        what: "update of the binding",
        run: |vault| vault.user(id(1)).update("a", renamed("b")).map(drop),
        model: |model| model.rename(1, "a", "b"),
    },
    Operation {
        what: "delete",
        run: |vault| vault.user(id(2)).delete("n3"),
        model: |model| model.take(2, "n3"),
    },
    Operation {
        what: "batch of all kinds",
        run: |vault| {
            let work = |batch: &mut Batch<'_>| {
                batch.update("n4", renamed("n5"));
                batch.update("n5", renamed("n4"));
                batch.delete("n6");
                batch.create(secret("n6", "the-next-n6"));
            };
            vault.user(id(2)).batch(work).map(drop)
        },
        model: |model| {
            model.rename(2, "n4", "spare");
            model.rename(2, "n5", "n4");
            model.rename(2, "spare", "n5");
            let secrets = model.users.get_mut(&id(2)).unwrap();
            secrets.get_mut("n5").unwrap().revision -= 1;
            model.take(2, "n6");
            model.put(2, "n6", "the-next-n6");
        },
    },
    Operation {
        what: "add a key",
        run: |vault| vault.add_key(raw(1), raw(2)).map(drop),
        model: |model| assert!(model.keys.insert(2)),
    },
    Operation {
        what: "change a key",
        run: |vault| vault.change_key(raw(2), raw(3)).map(drop),
        model: |model| model.keys = BTreeSet::from([1, 3]),
    },
    Operation {
        what: "rotate the data key",
        run: |vault| vault.rotate_data_key(raw(3)),
        model: |_| {},
    },
    Operation {
        what: "add another key",
        run: |vault| vault.add_key(raw(3), raw(4)).map(drop),
        model: |model| assert!(model.keys.insert(4)),
    },
    Operation {
        what: "rotate the master key",
        run: |vault| vault.rotate_master_key([raw(1), raw(4)]),
        model: |model| model.keys = BTreeSet::from([1, 4]),
    },
    Operation {
        what: "remove a key",
        run: |vault| {
            let last = vault.key_slots()?.pop().unwrap();
            vault.remove_key_slot(last.id)
        },
        model: |model| model.keys = BTreeSet::from([1]),
    },
    Operation {
        what: "delete a user",
        run: |vault| vault.delete_user(id(2)),
        model: |model| drop(model.users.remove(&id(2))),
    },
    Operation {
        what: "compact",
        run: Vault::compact,
        model: |_| {},
    },
    Operation {
        what: "create after compacting",
        run: |vault| {
            vault
                .user(id(3))
                .create(secret("c", "value-of-c"))
                .map(drop)
        },
        model: |model| model.put(3, "c", "value-of-c"),
    },
    Operation {
        what: "import",
        run: |vault| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("export");
            let other = Vault::in_memory()?;
            for user in [1, 4].map(id) {
                other.user(user).create(secret("i", "value-of-i"))?;
            }
            other.export(&path, raw(5))?;
            vault.import(&path, raw(5)).map(drop)
        },
        model: |model| {
            for user in [1, 4] {
                model.put(user, "i", "value-of-i");
            }
        },
    },
    Operation {
        what: "rotate the data key again",
        run: |vault| vault.rotate_data_key(raw(1)),
        model: |_| {},
    },
];

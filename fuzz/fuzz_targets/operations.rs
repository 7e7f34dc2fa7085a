//! Property: any sequence of operations on a vault does what it does to a plain model in memory, even when the disk
//! fails, when the power fails, and when the vault is locked or opened again:
//!
//! 1. an operation succeeds exactly when the model's rules allow it; otherwise it fails with the kind of a rule that
//!    is broken, and changes nothing;
//! 2. after the store has refused a write, the vault is as it was and continues to work;
//! 3. after a failure of the disk the vault says what it said before; opened again, with what the disk has or with what
//!    it may have after a crash, it holds all of the operation or nothing, and everything that was acknowledged;
//! 4. names, bindings, revisions, values where they are injected, the order of the secrets, and usage, each user's and
//!    the vault's, are exact after every operation;
//! 5. the keys that open it are those that were given;
//! 6. an export is a vault with the same secrets; an import adds all that was exported or nothing;
//! 7. `verify` accepts the vault, whatever happened, and the anchor of what was acknowledged still holds.

#![no_main]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use arbitrary::Arbitrary;
use keyward::{
    Anchor, Batch, Error, ErrorKind, ToolCall, UserId, Vault, VaultBuilder, fuzzing::FaultyDisk,
};
use keyward_fuzz::{
    model::{Model, injected, kind_of, usage},
    operations::{KEYS, Operation, Part, USERS, kept, key_byte, quota, raw, reference, user_id},
};
use libfuzzer_sys::fuzz_target;
use serde_json::Map;
use tempfile::TempDir;

#[derive(Arbitrary, Debug)]
struct Input {
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
struct Step {
    operation: Operation,
    /// After how many of its steps the disk fails, if it fails.
    fault: Option<u8>,
    /// Whether the disk loses power after it has failed, and what is left then.
    crash: Option<u64>,
    /// After how many writes the store refuses further ones, if it does.
    refused: Option<u8>,
}

/// The vault under test, and what is known about it.
struct Run {
    disk: FaultyDisk,
    vault: Vault,
    locked: bool,
    model: Model,
    anchor: Anchor,
    exported: Option<Exported>,
}

/// A vault file, and what it holds.
struct Exported {
    folder: TempDir,
    key: u8,
    model: Model,
}

impl Exported {
    fn path(&self) -> PathBuf {
        self.folder.path().join("exported")
    }
}

fn builder() -> VaultBuilder {
    Vault::builder().quota(quota())
}

impl Run {
    fn new() -> Run {
        let disk = FaultyDisk::default();
        let vault = disk.create(builder(), &raw(1)).expect("a vault");
        Run {
            anchor: vault.anchor().expect("unlocked"),
            disk,
            vault,
            locked: false,
            model: Model::new(1),
            exported: None,
        }
    }

    fn step(&mut self, step: &Step) {
        match &step.operation {
            Operation::Lock => {
                self.vault.lock().expect("it has a key");
                self.locked = true;
                return self.check();
            }
            Operation::Unlock(key) => {
                let opens = self.model.need_key(*key).is_ok();
                match self.vault.unlock(raw(key_byte(*key))) {
                    Ok(()) => {
                        assert!(opens);
                        self.locked = false;
                    }
                    Err(error) => {
                        assert_eq!((error.kind(), opens), (ErrorKind::WrongKey, false));
                    }
                }
                return self.check();
            }
            Operation::Reopen { crash, fault } => {
                let model = self.model.clone();
                self.reopen(*crash, *fault, &[model]);
                return self.check();
            }
            Operation::Export(key) => {
                self.export(key_byte(*key));
                return self.check();
            }
            Operation::Import if self.exported.is_none() => return,
            _ => {}
        }
        let exported = self.exported.as_ref().map(|exported| &exported.model);
        let after = self.model.after(&step.operation, exported);
        self.disk.fail_after(step.fault.map(usize::from));
        self.disk
            .refuse_after(step.refused.map(|writes| usize::from(writes % 4)));
        let done = self.run(&step.operation);
        self.disk.fail_after(None);
        self.disk.refuse_after(None);
        match done {
            Ok(()) => {
                assert!(!self.locked, "it is locked");
                self.model = after.expect("a rule is broken, and it is done");
                self.anchor = self.vault.anchor().expect("unlocked");
            }
            Err(error) if error.kind() == ErrorKind::Storage && step.fault.is_some() => {
                self.check_after_fault();
                let before = self.model.clone();
                let after = after.unwrap_or_else(|_| before.clone());
                self.reopen(step.crash, None, &[before, after]);
            }
            Err(error) if error.kind() == ErrorKind::Storage && step.refused.is_some() => {}
            Err(error) if self.locked && error.kind() == ErrorKind::Locked => {}
            Err(error) => {
                let broken = after.expect_err(&format!("{error:?}"));
                let kinds: Vec<_> = broken.iter().map(|rule| kind_of(rule)).collect();
                assert!(kinds.contains(&error.kind()), "{error:?}, not {broken:?}");
            }
        }
        self.check();
    }

    fn run(&self, operation: &Operation) -> Result<(), Error> {
        let vault = &self.vault;
        match operation {
            Operation::Create(user, new) => {
                vault.user(user_id(*user)).create(new.request()).map(drop)
            }
            Operation::Update(user, which, patch) => {
                let user = vault.user(user_id(*user));
                let which = reference(&self.ids(user.id())?, *which);
                user.update(which.as_str(), patch.request()).map(drop)
            }
            Operation::Delete(user, which) => {
                let user = vault.user(user_id(*user));
                let which = reference(&self.ids(user.id())?, *which);
                user.delete(which.as_str())
            }
            Operation::Batch(user, parts) => {
                let user = vault.user(user_id(*user));
                let ids = self.ids(user.id())?;
                let work = |batch: &mut Batch<'_>| {
                    for part in parts.iter().take(8) {
                        match part {
                            Part::Create(new) => batch.create(new.request()),
                            Part::Update(which, patch) => {
                                batch.update(reference(&ids, *which).as_str(), patch.request());
                            }
                            Part::Delete(which) => batch.delete(reference(&ids, *which).as_str()),
                        }
                    }
                };
                user.batch(work).map(drop)
            }
            Operation::DeleteUser(user) => vault.delete_user(user_id(*user)),
            Operation::AddKey { current, new } => vault
                .add_key(raw(key_byte(*current)), raw(key_byte(*new)))
                .map(drop),
            Operation::ChangeKey { current, new } => vault
                .change_key(raw(key_byte(*current)), raw(key_byte(*new)))
                .map(drop),
            Operation::RemoveKey(place) => {
                let slots = vault.key_slots()?;
                vault.remove_key_slot(slots[usize::from(*place) % slots.len()].id)
            }
            Operation::RotateMasterKey(keep) => {
                let keep = kept(keep);
                vault.rotate_master_key(keep.into_iter().map(|key| raw(key_byte(key))))
            }
            Operation::RotateDataKey(key) => vault.rotate_data_key(raw(key_byte(*key))),
            Operation::Compact => vault.compact(),
            Operation::Import => {
                let exported = self.exported.as_ref().expect("something was exported");
                vault.import(exported.path(), raw(exported.key)).map(drop)
            }
            Operation::Export(_)
            | Operation::Lock
            | Operation::Unlock(_)
            | Operation::Reopen { .. } => Ok(()),
        }
    }

    fn export(&mut self, key: u8) {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let exported = Exported {
            folder: folder.expect("a folder"),
            key,
            model: self.model.exported(key),
        };
        match self.vault.export(exported.path(), raw(key)) {
            Ok(()) => {
                assert!(!self.locked, "it is locked");
                let vault = Vault::open(exported.path(), raw(key)).expect("it opens");
                assert!(is(&vault, &exported.model), "not {:#?}", exported.model);
                vault.verify().expect("it is whole");
                self.exported = Some(exported);
            }
            Err(error) => {
                assert_eq!((error.kind(), self.locked), (ErrorKind::Locked, true));
                assert!(!exported.path().exists(), "there is no new file");
            }
        }
    }

    fn ids(&self, user: UserId) -> Result<Vec<String>, Error> {
        let secrets = self.vault.user(user).secrets()?;
        Ok(secrets
            .iter()
            .map(|info| info.secret_id.to_string())
            .collect())
    }

    /// Opens the vault again. It has to hold one of these models.
    fn reopen(&mut self, crash: Option<u64>, fault: Option<u8>, may_hold: &[Model]) {
        let disk = match crash {
            Some(chance) => self.disk.after_crash(chance),
            None => self.disk.as_it_is(),
        };
        self.disk = disk;
        if let Some(fault) = fault {
            self.disk.fail_after(Some(fault.into()));
            let opened = self.open(may_hold);
            if let Err(error) = opened {
                assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
            }
            self.disk = self.disk.after_crash(fault.into());
        }
        self.vault = self.open(may_hold).expect("it opens again");
        self.locked = false;
        let held = may_hold.iter().find(|model| is(&self.vault, model));
        let held = held.unwrap_or_else(|| panic!("none of {may_hold:#?}"));
        self.model = held.clone();
        self.vault.verify().expect("it is whole");
        self.anchor = self.vault.anchor().expect("unlocked");
    }

    /// Opens the vault with one of its keys.
    fn open(&self, may_hold: &[Model]) -> Result<Vault, Error> {
        let mut last = None;
        for byte in may_hold.iter().flat_map(|model| &model.slots) {
            match self.disk.open(builder().anchor(self.anchor), &raw(*byte)) {
                Err(error) if error.kind() == ErrorKind::WrongKey => last = Some(error),
                opened => return opened,
            }
        }
        Err(last.expect("a key"))
    }

    /// Checks the vault in the process in which the disk has failed: it shows what was there before, or reports the
    /// failure.
    fn check_after_fault(&self) {
        for user in 0..USERS {
            let known = self.model.secrets(user);
            let user = self.vault.user(user_id(user));
            match user.secrets() {
                Ok(secrets) => {
                    assert!(!self.locked);
                    let names = secrets.iter().map(|info| &info.secret_name);
                    assert!(names.eq(known.iter().map(|secret| &secret.name)));
                    let used = user.usage().expect("as before");
                    assert_eq!((used.secrets, used.bytes), usage(known));
                }
                Err(error) if self.locked => assert_eq!(error.kind(), ErrorKind::Locked),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}"),
            }
        }
    }

    fn check(&self) {
        if self.locked {
            let user = self.vault.user(user_id(0));
            let kinds = [
                user.secrets().map(drop),
                user.usage().map(drop),
                self.vault.usage().map(drop),
                self.vault.users().map(drop),
                self.vault.anchor().map(drop),
                user.inject(&ToolCall::new("tool"), &mut Map::new())
                    .map(drop),
            ];
            for error in kinds {
                assert_eq!(error.expect_err("locked").kind(), ErrorKind::Locked);
            }
            return;
        }
        assert!(is(&self.vault, &self.model), "not {:#?}", self.model);
    }

    /// Checks the keys, and all that is stored, at the end.
    fn finish(&mut self) {
        let known: BTreeSet<u8> = self.model.slots.iter().copied().collect();
        for byte in 1..=KEYS {
            self.vault.lock().expect("it has a key");
            match self.vault.unlock(raw(byte)) {
                Ok(()) => assert!(known.contains(&byte)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WrongKey);
                    assert!(!known.contains(&byte));
                }
            }
        }
        self.vault.unlock(raw(self.model.slots[0])).expect("a key");
        self.locked = false;
        self.check();
        self.vault.verify().expect("it is whole");
    }
}

/// Returns whether this model is what the vault holds. Usage must be right whatever the vault holds.
fn is(vault: &Vault, model: &Model) -> bool {
    let (mut total, mut same) = ((0, 0), true);
    for user in 0..USERS {
        let known = model.secrets(user);
        let user = vault.user(user_id(user));
        let secrets = user.secrets().expect("its secrets");
        assert!(secrets.is_sorted_by(|a, b| a.secret_id < b.secret_id));
        let mut args = Map::new();
        let _ = user
            .inject(&ToolCall::new("tool"), &mut args)
            .expect("no reason to fail");
        same &= secrets.len() == known.len()
            && secrets.iter().zip(known).all(|(info, secret)| {
                info.secret_name == secret.name
                    && info.tool_name == secret.tool
                    && info.tool_arg == secret.arg
                    && info.is_default_for_tool == secret.is_default
                    && info.revision == secret.revision
            })
            && args == injected(known);
        let used = user.usage().expect("its usage");
        total = (total.0 + used.secrets, total.1 + used.bytes);
        assert_eq!(used.secrets, secrets.len() as u64);
        same &= (used.secrets, used.bytes) == usage(known);
    }
    let whole = vault.usage().expect("its usage");
    assert_eq!((whole.secrets, whole.bytes), total, "usage does not add up");
    let users: Vec<UserId> = model.users.keys().copied().collect();
    same && vault.users().expect("its users") == users
        && vault.key_slots().expect("its slots").len() == model.slots.len()
}

fuzz_target!(|input: Input| {
    let mut run = Run::new();
    for step in input.steps.iter().take(24) {
        run.step(step);
    }
    if run.locked {
        let key = run.model.slots[0];
        run.vault.unlock(raw(key)).expect("a key");
        run.locked = false;
    }
    run.finish();
});

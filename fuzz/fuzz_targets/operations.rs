//! Property: any sequence of operations on a vault does what it does to a plain model in memory, also when the disk fails
//! under it, when its power fails, and when the vault is locked or opened again:
//!
//! 1. an operation succeeds exactly when the model's rules allow it, and else fails with the kind of a rule that is broken
//!    and changes nothing;
//! 2. after a failure of the disk the vault says what it said before; opened again, with what the disk has or with what
//!    it may have after a crash, it holds all of the operation or nothing, and everything that was acknowledged;
//! 3. names, bindings, revisions, values where they are injected, the order of the secrets, and usage, each user's and
//!    the vault's, are exact after every operation;
//! 4. the keys that open it are those that were given;
//! 5. `verify` accepts it, whatever happened, and the anchor of what was acknowledged is still met.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use keyward::{
    Anchor, Batch, Error, ErrorKind, KeySource, NewSecret, Quota, SecretPatch, ToolCall,
    ToolPattern, UserId, Vault, VaultBuilder, fuzzing::FaultyDisk,
};
use keyward_fuzz::json::pick;
use libfuzzer_sys::fuzz_target;
use serde_json::Map;
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
struct Input {
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
struct Step {
    operation: Operation,
    /// After how many of its steps the disk fails, if it does.
    fault: Option<u8>,
    /// Whether the disk loses its power when it has failed, and what is left then.
    crash: Option<u64>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Create(u8, New),
    Update(u8, Which, Patch),
    Delete(u8, Which),
    Batch(u8, Vec<Part>),
    DeleteUser(u8),
    AddKey {
        current: u8,
        new: u8,
    },
    ChangeKey {
        current: u8,
        new: u8,
    },
    RemoveKey(u8),
    RotateMasterKey(Vec<u8>),
    RotateDataKey(u8),
    Compact,
    Lock,
    Unlock(u8),
    Reopen {
        crash: Option<u64>,
        fault: Option<u8>,
    },
}

#[derive(Arbitrary, Debug)]
enum Part {
    Create(New),
    Update(Which, Patch),
    Delete(Which),
}

/// A secret of a user: by the id of the one in this place, or by name.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Which {
    Place(u8),
    Name(u8),
}

#[derive(Arbitrary, Debug)]
struct New {
    name: u8,
    value: Value,
    tool: u8,
    arg: u8,
    is_default: bool,
}

#[derive(Arbitrary, Debug)]
struct Patch {
    name: Option<u8>,
    value: Option<Value>,
    tool: Option<u8>,
    arg: Option<u8>,
    is_default: Option<bool>,
    if_revision: Option<u8>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
struct Value {
    byte: u8,
    length: u8,
}

impl Value {
    fn text(self) -> String {
        let letter = char::from(b'a' + self.byte % 26);
        let length = usize::from(self.length % 64) + 4;
        let mut text = format!("{:02x}", self.byte);
        text.extend(std::iter::repeat_n(letter, length - 2));
        text
    }
}

const USERS: u8 = 3;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "ż", "longer-name"];
const TOOLS: [Option<&str>; 5] = [None, Some("tool"), Some("t*"), Some("too?"), Some("other")];
const ARGS: [Option<&str>; 5] = [None, Some("x"), Some("y"), Some("/x"), Some("zz")];
const KEYS: u8 = 4;

/// Small enough to be met.
fn quota() -> Quota {
    Quota::unlimited()
        .user_secrets(4)
        .user_bytes(200)
        .vault_secrets(7)
        .vault_bytes(350)
}

fn user_id(user: u8) -> UserId {
    UserId::new(Uuid::from_u128((user % USERS).into()))
}

fn key_byte(key: u8) -> u8 {
    key % KEYS + 1
}

fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

/// What the vault has, as its owner knows it.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    /// Each user's secrets, the oldest first.
    users: BTreeMap<UserId, Vec<Secret>>,
    /// The key of each slot.
    slots: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
struct Secret {
    name: String,
    value: String,
    tool: Option<String>,
    arg: Option<String>,
    is_default: bool,
    revision: u64,
}

/// The rules that an operation breaks; none if it is done.
type Broken = BTreeSet<&'static str>;

impl Secret {
    fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.name.len() + self.value.len() + length(&self.tool) + length(&self.arg)
    }

    /// Where it is the default: a pattern, and a location in its canonical form.
    fn default(&self) -> Option<(String, String)> {
        let (tool, arg) = (self.tool.clone()?, self.arg.clone()?);
        self.is_default
            .then(|| (tool, arg.trim_start_matches('/').to_owned()))
    }
}

fn usage(secrets: &[Secret]) -> (u64, u64) {
    let bytes: usize = secrets.iter().map(Secret::bytes).sum();
    (secrets.len() as u64, bytes as u64)
}

impl Model {
    fn secrets(&self, user: u8) -> &[Secret] {
        self.users.get(&user_id(user)).map_or(&[], Vec::as_slice)
    }

    fn usage(&self) -> (u64, u64) {
        let each = self.users.values().map(|secrets| usage(secrets));
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// What becomes of it; or which rules are broken.
    fn after(&self, operation: &Operation) -> Result<Model, Broken> {
        let mut after = self.clone();
        match operation {
            Operation::Create(user, new) => after.write(*user, |write| write.create(new))?,
            Operation::Update(user, which, patch) => {
                after.write(*user, |write| write.update(*which, patch))?;
            }
            Operation::Delete(user, which) => after.write(*user, |write| write.delete(*which))?,
            Operation::Batch(user, parts) => after.write(*user, |write| {
                for part in parts.iter().take(8) {
                    match part {
                        Part::Create(new) => write.create(new),
                        Part::Update(which, patch) => write.update(*which, patch),
                        Part::Delete(which) => write.delete(*which),
                    }
                }
            })?,
            Operation::DeleteUser(user) => drop(after.users.remove(&user_id(*user))),
            Operation::AddKey { current, new } => {
                self.need_key(*current)?;
                if self.slots.len() == 16 {
                    return Err(Broken::from(["validation"]));
                }
                after.slots.push(key_byte(*new));
            }
            Operation::ChangeKey { current, new } => {
                let at = self.need_key(*current)?;
                after.slots[at] = key_byte(*new);
            }
            Operation::RemoveKey(place) => {
                if self.slots.len() == 1 {
                    return Err(Broken::from(["validation"]));
                }
                after.slots.remove(usize::from(*place) % self.slots.len());
            }
            Operation::RotateMasterKey(keep) => {
                let keep = kept(keep);
                if keep.is_empty() {
                    return Err(Broken::from(["validation"]));
                }
                for key in &keep {
                    self.need_key(*key)?;
                }
                after.slots = keep.into_iter().map(key_byte).collect();
            }
            Operation::RotateDataKey(key) => drop(self.need_key(*key)?),
            Operation::Compact
            | Operation::Lock
            | Operation::Unlock(_)
            | Operation::Reopen { .. } => {}
        }
        Ok(after)
    }

    fn need_key(&self, key: u8) -> Result<usize, Broken> {
        let at = self.slots.iter().position(|slot| *slot == key_byte(key));
        at.ok_or_else(|| Broken::from(["key"]))
    }

    fn write(&mut self, user: u8, work: impl FnOnce(&mut Write)) -> Result<(), Broken> {
        let base = self.secrets(user).to_vec();
        let mut write = Write {
            changed: vec![None; base.len()],
            base,
            new: Vec::new(),
            broken: Broken::new(),
        };
        work(&mut write);
        let Write {
            base, mut broken, ..
        } = write;
        let after: Vec<Secret> = write
            .changed
            .into_iter()
            .zip(&base)
            .map(|(changed, old)| changed.unwrap_or_else(|| Some(old.clone())))
            .chain(write.new)
            .flatten()
            .collect();
        let twice = |mut all: Vec<_>| {
            all.sort();
            all.windows(2).any(|pair| pair[0] == pair[1])
        };
        if twice(after.iter().map(|secret| secret.name.clone()).collect()) {
            broken.insert("name");
        }
        let defaults: Vec<_> = after.iter().filter_map(Secret::default).collect();
        let all = defaults.len();
        if defaults.into_iter().collect::<BTreeSet<_>>().len() < all {
            broken.insert("default");
        }
        let grows = |before: (u64, u64), after: (u64, u64), most: (u64, u64)| {
            after.0 > most.0 && after.0 > before.0 || after.1 > most.1 && after.1 > before.1
        };
        let vault_before = self.usage();
        let (before, after_usage) = (usage(&base), usage(&after));
        self.users.insert(user_id(user), after);
        if grows(before, after_usage, (4, 200)) || grows(vault_before, self.usage(), (7, 350)) {
            broken.insert("quota");
        }
        self.users.retain(|_, secrets| !secrets.is_empty());
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken)
        }
    }
}

/// One write to a user's secrets: what becomes of those that were there, and new ones.
struct Write {
    base: Vec<Secret>,
    /// `None` as it was, `Some(None)` gone.
    changed: Vec<Option<Option<Secret>>>,
    new: Vec<Option<Secret>>,
    broken: Broken,
}

impl Write {
    fn create(&mut self, new: &New) {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (tool, arg) = (pick(&TOOLS, new.tool), pick(&ARGS, new.arg));
        if new.is_default && (tool.is_none() || arg.is_none()) {
            self.broken.insert("validation");
        }
        self.new.push(Some(Secret {
            name: pick(&NAMES, new.name).to_owned(),
            value: new.value.text(),
            tool: owned(tool),
            arg: owned(arg),
            is_default: new.is_default,
            revision: 1,
        }));
    }

    /// As it is after what was done so far. A name means what it meant before the write; one that only this write gave
    /// means that.
    fn find(&mut self, which: Which) -> Option<&mut Option<Secret>> {
        let now = |write: &Write, at: usize| match &write.changed[at] {
            None => Some(write.base[at].clone()),
            Some(changed) => changed.clone(),
        };
        let place = match which {
            Which::Place(place) if self.base.is_empty() => usize::from(place) + 1_000,
            Which::Place(place) => usize::from(place) % self.base.len(),
            Which::Name(name) => {
                let name = pick(&NAMES, name);
                let before = self.base.iter().position(|secret| secret.name == name);
                match before.filter(|&at| now(self, at).is_some()) {
                    Some(at) => at,
                    None => {
                        let changed = (0..self.base.len()).find(|&at| {
                            matches!(&self.changed[at], Some(Some(secret)) if secret.name == name)
                        });
                        match changed {
                            Some(at) => at,
                            None => {
                                return self.new.iter_mut().find(
                                    |new| matches!(new, Some(secret) if secret.name == name),
                                );
                            }
                        }
                    }
                }
            }
        };
        if place >= self.base.len() {
            return None;
        }
        let current = now(self, place)?;
        let slot = &mut self.changed[place];
        Some(slot.insert(Some(current)))
    }

    fn delete(&mut self, which: Which) {
        match self.find(which) {
            Some(secret) => *secret = None,
            None => drop(self.broken.insert("missing")),
        }
    }

    fn update(&mut self, which: Which, patch: &Patch) {
        let Some(Some(secret)) = self.find(which) else {
            self.broken.insert("missing");
            return;
        };
        let mut broken = Broken::new();
        if patch
            .if_revision
            .is_some_and(|wanted| u64::from(wanted) != secret.revision)
        {
            broken.insert("revision");
        }
        let old = secret.clone();
        if let Some(name) = patch.name {
            secret.name = pick(&NAMES, name).to_owned();
        }
        if let Some(tool) = patch.tool {
            secret.tool = pick(&TOOLS, tool).map(str::to_owned);
        }
        if let Some(arg) = patch.arg {
            secret.arg = pick(&ARGS, arg).map(str::to_owned);
        }
        if let Some(is_default) = patch.is_default {
            secret.is_default = is_default;
        }
        if secret.is_default && (secret.tool.is_none() || secret.arg.is_none()) {
            broken.insert("validation");
        }
        if let Some(value) = patch.value {
            secret.value = value.text();
            secret.revision += 1;
        } else if *secret != old {
            secret.revision += 1;
        }
        self.broken.extend(broken);
    }
}

fn kept(keep: &[u8]) -> Vec<u8> {
    keep.iter().copied().take(3).collect()
}

fn kind_of(rule: &str) -> ErrorKind {
    match rule {
        "validation" => ErrorKind::Validation,
        "missing" => ErrorKind::NotFound,
        "revision" => ErrorKind::Conflict,
        "name" => ErrorKind::NameTaken,
        "default" => ErrorKind::DefaultTaken,
        "quota" => ErrorKind::QuotaExceeded,
        _ => ErrorKind::WrongKey,
    }
}

impl New {
    fn request(&self) -> NewSecret {
        let mut new = NewSecret::new(pick(&NAMES, self.name), self.value.text());
        if let Some(tool) = pick(&TOOLS, self.tool) {
            new = new.tool_pattern(tool);
        }
        if let Some(arg) = pick(&ARGS, self.arg) {
            new = new.location(arg);
        }
        new.is_default_for_tool(self.is_default)
    }
}

impl Patch {
    fn request(&self) -> SecretPatch {
        let mut patch = SecretPatch::new();
        if let Some(name) = self.name {
            patch = patch.name(pick(&NAMES, name));
        }
        if let Some(value) = self.value {
            patch = patch.value(value.text());
        }
        if let Some(tool) = self.tool {
            patch = match pick(&TOOLS, tool) {
                Some(tool) => patch.tool_pattern(tool),
                None => patch.clear_tool_pattern(),
            };
        }
        if let Some(arg) = self.arg {
            patch = match pick(&ARGS, arg) {
                Some(arg) => patch.location(arg),
                None => patch.clear_location(),
            };
        }
        if let Some(is_default) = self.is_default {
            patch = patch.is_default_for_tool(is_default);
        }
        if let Some(revision) = self.if_revision {
            patch = patch.if_revision(revision.into());
        }
        patch
    }
}

/// The vault under test, and what is known of it.
struct Run {
    disk: FaultyDisk,
    vault: Vault,
    locked: bool,
    model: Model,
    anchor: Anchor,
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
            model: Model {
                users: BTreeMap::new(),
                slots: vec![1],
            },
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
            _ => {}
        }
        let after = self.model.after(&step.operation);
        self.disk.fail_after(step.fault.map(usize::from));
        let done = self.run(&step.operation);
        self.disk.fail_after(None);
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
                vault.remove_key(slots[usize::from(*place) % slots.len()].id)
            }
            Operation::RotateMasterKey(keep) => {
                let keep = kept(keep);
                vault.rotate_master_key(keep.into_iter().map(|key| raw(key_byte(key))))
            }
            Operation::RotateDataKey(key) => vault.rotate_data_key(raw(key_byte(*key)), |_| {}),
            Operation::Compact => vault.compact(),
            Operation::Lock | Operation::Unlock(_) | Operation::Reopen { .. } => Ok(()),
        }
    }

    fn ids(&self, user: UserId) -> Result<Vec<String>, Error> {
        let secrets = self.vault.user(user).secrets()?;
        Ok(secrets
            .iter()
            .map(|info| info.secret_id.to_string())
            .collect())
    }

    /// Opens the vault again: it holds one of these.
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

    /// With one of the keys that open it.
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

    /// In the process in which the disk has failed: what was there before, or that it has failed.
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

    /// At the end: the keys, and all that is stored.
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

fn reference(ids: &[String], which: Which) -> String {
    match which {
        Which::Place(_) if ids.is_empty() => Uuid::from_u128(7).to_string(),
        Which::Place(place) => ids[usize::from(place) % ids.len()].clone(),
        Which::Name(name) => pick(&NAMES, name).to_owned(),
    }
}

/// Whether this is what the vault holds. Usage must be right whatever that is.
fn is(vault: &Vault, model: &Model) -> bool {
    let (mut total, mut same) = ((0, 0), true);
    for user in 0..USERS {
        let known = model.secrets(user);
        let user = vault.user(user_id(user));
        let secrets = user.secrets().expect("its secrets");
        assert!(secrets.is_sorted_by(|a, b| a.secret_id < b.secret_id));
        let mut args = Map::new();
        user.inject(&ToolCall::new("tool"), &mut args)
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

/// What the defaults of these secrets put into a call without arguments.
fn injected(secrets: &[Secret]) -> Map<String, serde_json::Value> {
    let mut args: BTreeMap<String, (&Secret, String)> = BTreeMap::new();
    for secret in secrets {
        let Some((tool, arg)) = secret.default() else {
            continue;
        };
        if !ToolPattern::new(&tool).expect("a pattern").matches("tool") {
            continue;
        }
        let better = args
            .get(&arg)
            .is_none_or(|(_, other)| rank(&tool) < rank(other));
        if better {
            args.insert(arg, (secret, tool));
        }
    }
    args.into_iter()
        .map(|(arg, (secret, _))| (arg, secret.value.as_str().into()))
        .collect()
}

/// The best first, by the rules of precedence for the patterns of this target.
fn rank(tool: &str) -> usize {
    let order = ["tool", "too?", "t*"];
    order
        .iter()
        .position(|pattern| *pattern == tool)
        .expect("one that matches")
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

//! What a vault has to do, as a plain model in memory.

use std::collections::{BTreeMap, BTreeSet};

use keyward::{ErrorKind, ToolPattern, UserId};
use serde_json::{Map, Value};

use crate::{
    json::pick,
    operations::{
        ARGS, NAMES, New, Operation, Part, Patch, TOOLS, USER_LIMITS, VAULT_LIMITS, Which, kept,
        key_byte, user_id,
    },
};

/// What the vault holds, as its owner knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// How many secrets were created.
    made: u64,
    /// Each user's secrets, the oldest first.
    pub users: BTreeMap<UserId, Vec<Secret>>,
    /// The key of each slot.
    pub slots: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    /// The secret's number in the order in which secrets were created.
    serial: u64,
    pub name: String,
    pub value: String,
    pub tool: Option<String>,
    pub arg: Option<String>,
    pub is_default: bool,
    pub revision: u64,
}

/// The rules that an operation breaks; none if it succeeds.
pub type Broken = BTreeSet<&'static str>;

impl Secret {
    fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.name.len() + self.value.len() + length(&self.tool) + length(&self.arg)
    }

    /// Where the secret is the default: a pattern, and a location in its canonical form.
    pub fn default(&self) -> Option<(String, String)> {
        let (tool, arg) = (self.tool.clone()?, self.arg.clone()?);
        self.is_default
            .then(|| (tool, arg.trim_start_matches('/').to_owned()))
    }
}

pub fn usage(secrets: &[Secret]) -> (u64, u64) {
    let bytes: usize = secrets.iter().map(Secret::bytes).sum();
    (secrets.len() as u64, bytes as u64)
}

impl Model {
    pub fn secrets(&self, user: u8) -> &[Secret] {
        self.users.get(&user_id(user)).map_or(&[], Vec::as_slice)
    }

    pub fn usage(&self) -> (u64, u64) {
        let each = self.users.values().map(|secrets| usage(secrets));
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// The model of a new vault, which this key opens.
    pub fn new(key: u8) -> Model {
        Model {
            made: 0,
            users: BTreeMap::new(),
            slots: vec![key],
        }
    }

    /// The model of an export: the same secrets, and this key.
    #[must_use]
    pub fn exported(&self, key: u8) -> Model {
        Model {
            slots: vec![key],
            ..self.clone()
        }
    }

    /// The model after an operation, or the rules that are broken. `exported` is what was exported last.
    pub fn after(&self, operation: &Operation, exported: Option<&Model>) -> Result<Model, Broken> {
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
                // Each of the keys keeps a slot of its own.
                let mut others = self.slots.clone();
                for key in &keep {
                    self.need_key(*key)?;
                    let at = others.iter().position(|slot| *slot == key_byte(*key));
                    others.remove(at.ok_or_else(|| Broken::from(["validation"]))?);
                }
                after.slots = keep.into_iter().map(key_byte).collect();
            }
            Operation::RotateDataKey(key) => drop(self.need_key(*key)?),
            Operation::Import => after.import(exported)?,
            Operation::Compact
            | Operation::Export(_)
            | Operation::Lock
            | Operation::Unlock(_)
            | Operation::Reopen { .. } => {}
        }
        Ok(after)
    }

    pub fn need_key(&self, key: u8) -> Result<usize, Broken> {
        let at = self.slots.iter().position(|slot| *slot == key_byte(key));
        at.ok_or_else(|| Broken::from(["key"]))
    }

    fn write(&mut self, user: u8, work: impl FnOnce(&mut Write)) -> Result<(), Broken> {
        let base = self.secrets(user).to_vec();
        let mut write = Write {
            changed: vec![None; base.len()],
            base,
            new: Vec::new(),
            made: self.made,
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
        self.made = write.made;
        let vault_before = self.usage();
        broken.extend(self.put(user_id(user), after));
        self.judge(vault_before, broken)
    }

    /// Adds what another vault holds.
    fn import(&mut self, from: Option<&Model>) -> Result<(), Broken> {
        let mut broken = Broken::new();
        let vault_before = self.usage();
        for (user, imported) in from.iter().flat_map(|from| &from.users) {
            let mut after = self.users.get(user).cloned().unwrap_or_default();
            let here = |new: &Secret| after.iter().any(|secret| secret.serial == new.serial);
            if imported.iter().any(here) {
                broken.insert("revision");
            }
            after.extend(imported.iter().cloned());
            after.sort_by_key(|secret| secret.serial);
            broken.extend(self.put(*user, after));
        }
        self.judge(vault_before, broken)
    }

    /// Decides whether a write may stand that broke these rules, and perhaps the one about the usage of the whole
    /// vault.
    fn judge(&self, before: (u64, u64), mut broken: Broken) -> Result<(), Broken> {
        if grows(before, self.usage(), VAULT_LIMITS) {
            broken.insert("quota");
        }
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken)
        }
    }

    /// Gives a user these secrets. Returns the rules that they break, except those of the whole vault.
    fn put(&mut self, user: UserId, after: Vec<Secret>) -> Broken {
        let mut broken = Broken::new();
        let mut names = BTreeSet::new();
        if !after.iter().all(|secret| names.insert(&secret.name)) {
            broken.insert("name");
        }
        let mut defaults = BTreeSet::new();
        let mut all_defaults = after.iter().filter_map(Secret::default);
        if !all_defaults.all(|default| defaults.insert(default)) {
            broken.insert("default");
        }
        let before = self
            .users
            .get(&user)
            .map_or((0, 0), |secrets| usage(secrets));
        if grows(before, usage(&after), USER_LIMITS) {
            broken.insert("quota");
        }
        self.users.insert(user, after);
        self.users.retain(|_, secrets| !secrets.is_empty());
        broken
    }
}

/// Returns whether a write exceeds a limit, by what is used before and after it.
fn grows(before: (u64, u64), after: (u64, u64), most: (u64, u64)) -> bool {
    after.0 > most.0 && after.0 > before.0 || after.1 > most.1 && after.1 > before.1
}

/// One write to a user's secrets: the changes to those that were there, and the new ones.
struct Write {
    base: Vec<Secret>,
    /// `None` if the secret is as it was, `Some(None)` if it is gone.
    changed: Vec<Option<Option<Secret>>>,
    new: Vec<Option<Secret>>,
    made: u64,
    broken: Broken,
}

impl Write {
    fn create(&mut self, new: &New) {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (tool, arg) = (pick(&TOOLS, new.tool), pick(&ARGS, new.arg));
        if new.is_default && (tool.is_none() || arg.is_none()) {
            self.broken.insert("validation");
        }
        self.made += 1;
        self.new.push(Some(Secret {
            serial: self.made,
            name: pick(&NAMES, new.name).to_owned(),
            value: new.value.text(),
            tool: owned(tool),
            arg: owned(arg),
            is_default: new.is_default,
            revision: 1,
        }));
    }

    /// Finds a secret as it is after what was done so far. A name means the secret that had it before the write, or
    /// else the one that this write gave it to.
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

pub fn kind_of(rule: &str) -> ErrorKind {
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

/// What these secrets' defaults put into a call without arguments.
pub fn injected(secrets: &[Secret]) -> Map<String, Value> {
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

/// The rank of a pattern of this target by the rules of precedence, the best first.
fn rank(tool: &str) -> usize {
    let order = ["tool", "too?", "t*"];
    order
        .iter()
        .position(|pattern| *pattern == tool)
        .expect("one that matches")
}

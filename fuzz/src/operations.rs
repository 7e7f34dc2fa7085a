//! Operations on a vault, with few users, names, patterns, locations and keys, so that they meet.

use arbitrary::Arbitrary;
use keyward::{KeySource, NewSecret, Quota, SecretPatch, UserId};
use uuid::Uuid;

use crate::json::pick;

#[derive(Arbitrary, Debug)]
pub enum Operation {
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
    /// Exports to a file with this key, which replaces the one before.
    Export(u8),
    /// Imports what was exported last.
    Import,
    Lock,
    Unlock(u8),
    Reopen {
        crash: Option<u64>,
        fault: Option<u8>,
    },
}

#[derive(Arbitrary, Debug)]
pub enum Part {
    Create(New),
    Update(Which, Patch),
    Delete(Which),
}

/// Selects a secret of a user: by the id of the one in this place, or by name.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum Which {
    Place(u8),
    Name(u8),
}

#[derive(Arbitrary, Debug)]
pub struct New {
    pub name: u8,
    pub value: Value,
    pub tool: u8,
    pub arg: u8,
    pub is_default: bool,
}

#[derive(Arbitrary, Debug)]
pub struct Patch {
    pub name: Option<u8>,
    pub value: Option<Value>,
    pub tool: Option<u8>,
    pub arg: Option<u8>,
    pub is_default: Option<bool>,
    pub if_revision: Option<u8>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Value {
    pub byte: u8,
    pub length: u8,
}

impl Value {
    pub fn text(self) -> String {
        let letter = char::from(b'a' + self.byte % 26);
        let length = usize::from(self.length % 64) + 4;
        let mut text = format!("{:02x}", self.byte);
        text.extend(std::iter::repeat_n(letter, length - 2));
        text
    }
}

pub const USERS: u8 = 3;
pub const NAMES: [&str; 6] = ["a", "b", "c", "d", "ż", "longer-name"];
pub const TOOLS: [Option<&str>; 5] = [None, Some("tool"), Some("t*"), Some("too?"), Some("other")];
pub const ARGS: [Option<&str>; 5] = [None, Some("x"), Some("y"), Some("/x"), Some("zz")];
pub const KEYS: u8 = 4;

/// Limits for secrets and bytes, low enough to be reached.
pub const USER_LIMITS: (u64, u64) = (4, 200);
pub const VAULT_LIMITS: (u64, u64) = (7, 350);

pub fn quota() -> Quota {
    Quota::unlimited()
        .user_secrets(USER_LIMITS.0)
        .user_bytes(USER_LIMITS.1)
        .vault_secrets(VAULT_LIMITS.0)
        .vault_bytes(VAULT_LIMITS.1)
}

pub fn user_id(user: u8) -> UserId {
    UserId::new(Uuid::from_u128((user % USERS).into()))
}

pub fn key_byte(key: u8) -> u8 {
    key % KEYS + 1
}

pub fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

pub fn kept(keep: &[u8]) -> Vec<u8> {
    keep.iter().copied().take(3).collect()
}

impl New {
    pub fn request(&self) -> NewSecret {
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
    pub fn request(&self) -> SecretPatch {
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

pub fn reference(ids: &[String], which: Which) -> String {
    match which {
        Which::Place(_) if ids.is_empty() => Uuid::from_u128(7).to_string(),
        Which::Place(place) => ids[usize::from(place) % ids.len()].clone(),
        Which::Name(name) => pick(&NAMES, name).to_owned(),
    }
}

//! The effect of a write on a user's secrets, worked out before anything is sealed or stored.

#[cfg(feature = "file")]
use std::cell::OnceCell;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
};

use chrono::{DateTime, Utc};

use super::errors::not_found;
#[cfg(feature = "file")]
use super::{clock::is_storable, ids::is_followed};
#[cfg(feature = "file")]
use crate::{bounds::Bounds, error::FieldError, request::NewSecret};
use crate::{
    entry::{Binding, Entry},
    error::{Error, ErrorKind},
    location::Location,
    metadata::Metadata,
    pattern::ToolPattern,
    quota::{Quota, Usage},
    request::{InvalidPatch, ValidPatch, ValidSecret},
    secret::{SecretId, SecretInfo, SecretRef, SecretValue, UserId, mask},
    snapshot::Snapshot,
};

/// One operation of a write. Its fields are valid by themselves, or it is one of the `Invalid` variants, which only
/// carry errors.
pub(super) enum Operation {
    Create(ValidSecret),
    Update(SecretRef, ValidPatch),
    Delete(SecretRef),
    InvalidCreate(Error),
    /// Which fields are invalid also depends on the secret.
    InvalidUpdate(SecretRef, InvalidPatch),
}

/// The result of an operation.
pub(super) enum Applied {
    Created(SecretInfo),
    Updated(SecretInfo),
    /// An update that changes nothing.
    Unchanged(SecretInfo),
    /// The secret as it was.
    Deleted(SecretInfo),
}

impl Applied {
    /// Returns the secret as it is after the operation.
    pub(super) fn into_info(self) -> Option<SecretInfo> {
        match self {
            Applied::Created(info) | Applied::Updated(info) | Applied::Unchanged(info) => {
                Some(info)
            }
            Applied::Deleted(_) => None,
        }
    }
}

/// What operations need besides the existing secrets.
pub(super) struct Rules<'a> {
    pub(super) user: UserId,
    pub(super) now: DateTime<Utc>,
    pub(super) mask: bool,
    pub(super) quota: &'a Quota,
}

/// What happens to one secret.
pub(super) enum Change {
    Write {
        metadata: Box<Metadata>,
        /// `None` keeps the stored value.
        value: Option<SecretValue>,
    },
    Delete,
}

/// Changes by the id of the secret.
pub(super) type Changes = BTreeMap<SecretId, Change>;

/// The changes so far, on top of the existing secrets. Uniqueness and quota are checked at the end.
pub(super) struct Plan<'a> {
    base: &'a Snapshot,
    rules: &'a Rules<'a>,
    changes: Changes,
    /// Of each name, the secrets that the changes give it. One write may name many that it creates itself.
    named: HashMap<String, BTreeSet<SecretId>>,
    /// The ids that existing secrets have as their names, in any spelling.
    #[cfg(feature = "file")]
    named_ids: OnceCell<HashSet<SecretId>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(base: &'a Snapshot, rules: &'a Rules<'a>) -> Plan<'a> {
        Plan {
            base,
            rules,
            changes: Changes::new(),
            named: HashMap::new(),
            #[cfg(feature = "file")]
            named_ids: OnceCell::new(),
        }
    }

    /// Applies operations, those of a batch or a single one. If fields of some are invalid, the error has them all.
    pub(super) fn apply_all(
        &mut self,
        operations: Vec<Operation>,
        is_batch: bool,
        mut next_id: impl FnMut() -> Result<SecretId, Error>,
    ) -> Result<Vec<Applied>, Error> {
        let mut done = Vec::with_capacity(operations.len());
        let (mut invalid, mut left_out, mut failed) = (Vec::new(), HashSet::new(), None);
        for (i, operation) in operations.into_iter().enumerate() {
            let at_index = |error: Error| if is_batch { error.at_index(i) } else { error };
            // What an operation that was left out would have changed may make this one invalid.
            let secret = self.target(&operation);
            if secret.is_some_and(|secret| left_out.contains(&secret)) {
                if let Operation::InvalidUpdate(_, patch) = operation {
                    invalid.extend_from_slice(at_index(patch.error(None)).field_errors());
                }
                continue;
            }
            match self.apply(operation, &mut next_id).map_err(at_index) {
                Ok(applied) => done.push(applied),
                Err(error) => {
                    left_out.extend(secret);
                    invalid.extend_from_slice(error.field_errors());
                    failed.get_or_insert(error);
                }
            }
        }
        // What failed for another reason may have fitted, had the invalid ones been valid.
        if !invalid.is_empty() {
            return Err(Error::validation(invalid));
        }
        failed.map_or(Ok(done), Err)
    }

    fn apply(
        &mut self,
        operation: Operation,
        next_id: impl FnMut() -> Result<SecretId, Error>,
    ) -> Result<Applied, Error> {
        match operation {
            Operation::Create(new) => self.create(new, next_id).map(Applied::Created),
            Operation::Update(secret, patch) => self.update(&secret, patch),
            Operation::Delete(secret) => {
                let info = self.find(&secret)?.clone();
                self.set(info.secret_id, Change::Delete);
                Ok(Applied::Deleted(info))
            }
            Operation::InvalidCreate(error) => Err(error),
            Operation::InvalidUpdate(secret, patch) => Err(patch.error(self.find(&secret).ok())),
        }
    }

    fn create(
        &mut self,
        new: ValidSecret,
        mut next_id: impl FnMut() -> Result<SecretId, Error>,
    ) -> Result<SecretInfo, Error> {
        let secret_id = loop {
            let id = next_id()?;
            if self.base.by_name(&id.to_string()).is_none() {
                break id;
            }
        };
        let info = SecretInfo {
            secret_id,
            user_id: self.rules.user,
            display: self.mask(&new.value),
            secret_name: new.name,
            tool_name: new.tool,
            tool_arg: new.arg,
            is_default_for_tool: new.is_default,
            format: new.format.map(|format| format.as_str().to_owned()),
            created_at: self.rules.now,
            updated_at: self.rules.now,
            revision: 1,
        };
        let metadata = Box::new(Metadata {
            info: info.clone(),
            value_bytes: length(&new.value),
        });
        self.set(
            secret_id,
            Change::Write {
                metadata,
                value: Some(new.value),
            },
        );
        Ok(info)
    }

    fn update(&mut self, secret: &SecretRef, patch: ValidPatch) -> Result<Applied, Error> {
        let old = self.find(secret)?;
        if patch
            .if_revision
            .is_some_and(|revision| revision != old.revision)
        {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the secret is now at revision {}: read it again",
                    old.revision
                ),
            ));
        }
        let mut info = old.clone();
        let errors = patch.rebinding.check(old);
        if !errors.is_empty() {
            return Err(Error::validation(errors));
        }
        info.secret_name = patch.name.unwrap_or(info.secret_name);
        info.tool_name = patch.tool.unwrap_or(info.tool_name);
        info.tool_arg = patch.arg.unwrap_or(info.tool_arg);
        info.is_default_for_tool = patch.is_default.unwrap_or(info.is_default_for_tool);
        if let Some(format) = patch.format {
            info.format = format.map(|format| format.as_str().to_owned());
        }
        if patch.value.is_none() && info == *old {
            return Ok(Applied::Unchanged(info));
        }
        info.revision = info.revision.checked_add(1).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "the secret has reached its last revision: delete it and create another one",
            )
        })?;
        info.updated_at = info.updated_at.max(self.rules.now);
        let mut value_bytes = self
            .metadata(info.secret_id)
            .map_or(0, |metadata| metadata.value_bytes);
        if let Some(value) = &patch.value {
            value_bytes = length(value);
            info.display = self.mask(value);
        }
        let earlier_value = match self.unset(info.secret_id) {
            Some(Change::Write { value, .. }) => value,
            _ => None,
        };
        let change = Change::Write {
            metadata: Box::new(Metadata {
                info: info.clone(),
                value_bytes,
            }),
            value: patch.value.or(earlier_value),
        };
        self.set(info.secret_id, change);
        Ok(Applied::Updated(info))
    }

    /// Adds a secret of another vault as it is there, except for the mask. Its binding, its times and its id stay.
    /// That vault may not have been written by keyward, so the secret is checked like a new one.
    #[cfg(feature = "file")]
    pub(super) fn import(
        &mut self,
        info: &SecretInfo,
        value: SecretValue,
        bounds: &Bounds,
    ) -> Result<(), Error> {
        let new = NewSecret::like(info, value).into_valid(bounds)?;
        let id = info.secret_id;
        let refuse =
            |field, msg: &str| Err(Error::validation(vec![FieldError::value_error(field, msg)]));
        if !is_followed(*id.as_uuid()) {
            return refuse(
                "secret_id",
                "not an id that keyward creates, or one of the last possible ones: leave the secret out",
            );
        }
        if !(1..u64::MAX).contains(&info.revision) {
            return refuse(
                "revision",
                "not a revision that keyward creates, or the last possible one: leave the secret out",
            );
        }
        if !is_storable(info.created_at) {
            return refuse(
                "created_at",
                "before 1970 or after 9999: leave the secret out",
            );
        }
        if !is_storable(info.updated_at) || info.updated_at < info.created_at {
            return refuse(
                "updated_at",
                "before 1970, before created_at, or after 9999: leave the secret out",
            );
        }
        if self.metadata(id).is_some() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the secret {id} already exists here: delete it first"),
            ));
        }
        let named_ids = self.named_ids.get_or_init(|| {
            let names = self.base.entries().values();
            let id_of = |name: &str| SecretId::from_hyphenated(name);
            names
                .filter_map(|entry| id_of(&entry.info().secret_name))
                .collect()
        });
        if named_ids.contains(&id) {
            return Err(Error::new(
                ErrorKind::NameTaken,
                format!("a secret here has the id {id} as its name: rename it"),
            ));
        }
        let metadata = Box::new(Metadata {
            info: SecretInfo {
                display: self.mask(&new.value),
                format: new.format.map(|format| format.as_str().to_owned()),
                ..info.clone()
            },
            value_bytes: length(&new.value),
        });
        let value = Some(new.value);
        self.set(id, Change::Write { metadata, value });
        Ok(())
    }

    /// Returns the existing secret that an operation is about; `None` if it creates one, or there is none.
    fn target(&self, operation: &Operation) -> Option<SecretId> {
        let (Operation::Update(secret, _)
        | Operation::Delete(secret)
        | Operation::InvalidUpdate(secret, _)) = operation
        else {
            return None;
        };
        self.find(secret).ok().map(|info| info.secret_id)
    }

    fn mask(&self, value: &SecretValue) -> Option<String> {
        self.rules.mask.then(|| mask(value.expose_secret()))
    }

    /// Finds a secret as it is after the operations so far. A name refers to the secret that had it before the
    /// write, or else to the one that this write gives it to.
    fn find(&self, secret: &SecretRef) -> Result<&SecretInfo, Error> {
        let found = match secret {
            SecretRef::Id(id) => self.metadata(*id),
            SecretRef::Text(text) => self
                .base
                .by_text(text)
                .and_then(|entry| self.metadata(entry.id()))
                .or_else(|| self.metadata(*self.named.get(&**text)?.first()?)),
        };
        found.map(|metadata| &metadata.info).ok_or_else(not_found)
    }

    fn metadata(&self, id: SecretId) -> Option<&Metadata> {
        match self.changes.get(&id) {
            Some(Change::Write { metadata, .. }) => Some(metadata),
            Some(Change::Delete) => None,
            None => self.base.by_id(id).map(Entry::metadata),
        }
    }

    fn set(&mut self, id: SecretId, change: Change) {
        self.unset(id);
        if let Change::Write { metadata, .. } = &change {
            let name = metadata.info.secret_name.clone();
            self.named.entry(name).or_default().insert(id);
        }
        self.changes.insert(id, change);
    }

    fn unset(&mut self, id: SecretId) -> Option<Change> {
        let change = self.changes.remove(&id)?;
        if let Change::Write { metadata, .. } = &change {
            let name = &metadata.info.secret_name;
            if let Some(named) = self.named.get_mut(name) {
                named.remove(&id);
                if named.is_empty() {
                    self.named.remove(name);
                }
            }
        }
        Some(change)
    }

    /// The secrets that this write creates or changes.
    fn changed(&self) -> impl Iterator<Item = &Metadata> {
        self.changes.values().filter_map(|change| match change {
            Change::Write { metadata, .. } => Some(&**metadata),
            Change::Delete => None,
        })
    }

    /// Returns the changes and the user's usage after them, if they are allowed.
    pub(super) fn finish(self) -> Result<(Changes, Usage), Error> {
        self.check_names()?;
        self.check_defaults()?;
        let before = self.base.root.usage;
        let mut after = before;
        for id in self.changes.keys() {
            let of =
                |metadata: Option<&Metadata>| metadata.map(Metadata::usage).unwrap_or_default();
            let base = self.base.by_id(*id).map(Entry::metadata);
            after = after
                .replace(of(base), of(self.metadata(*id)))
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::Corrupt,
                        "the user's usage is less than that of one secret: restore a backup",
                    )
                })?;
        }
        self.rules.quota.check_user(before, after)?;
        Ok((self.changes, after))
    }

    /// Checks that every name is unique and is not the id of a secret.
    fn check_names(&self) -> Result<(), Error> {
        let mut names = HashMap::new();
        for metadata in self.changed() {
            let SecretInfo {
                secret_id,
                secret_name,
                ..
            } = &metadata.info;
            let elsewhere = self
                .base
                .by_name(secret_name)
                .is_some_and(|entry| !self.changes.contains_key(&entry.id()));
            let twice = names.insert(secret_name, secret_id).is_some();
            let an_id = SecretId::from_hyphenated(secret_name)
                .is_some_and(|id| self.metadata(id).is_some());
            if elsewhere || twice || an_id {
                let holder = if an_id {
                    "is the id of a secret"
                } else {
                    "is taken by another secret"
                };
                return Err(Error::new(
                    ErrorKind::NameTaken,
                    format!("the name {secret_name:?} {holder}: choose another one"),
                ));
            }
        }
        Ok(())
    }

    /// Checks that no two defaults have the same binding.
    fn check_defaults(&self) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for metadata in self
            .changed()
            .filter(|metadata| metadata.info.is_default_for_tool)
        {
            let name: &str = metadata.info.secret_name.as_ref();
            wanted.push((Binding::of(&metadata.info)?, name));
        }
        // The bindings that the secrets of this write have had until now.
        let changed = self.changes.keys().filter_map(|id| self.base.by_id(*id));
        let freed: HashSet<Binding> = changed.filter_map(Entry::default_binding).collect();
        let mut taken: HashMap<Binding, &str> = HashMap::new();
        for (binding, name) in wanted {
            if self.base.has_default(&binding) && !freed.contains(&binding) {
                let mut entries = self.base.entries().values();
                let holder =
                    entries.find(|entry| entry.default_binding().as_ref() == Some(&binding));
                let holder = holder.map_or("", |entry| &entry.info().secret_name);
                return Err(default_taken(holder, &binding));
            }
            if let Some(other) = taken.get(&binding) {
                return Err(Error::new(
                    ErrorKind::DefaultTaken,
                    format!(
                        "the secrets {other:?} and {name:?} would both be the default for {binding}: \
                         set is_default_for_tool to false for one of them"
                    ),
                ));
            }
            taken.insert(binding, name);
        }
        Ok(())
    }
}

fn default_taken(holder: &str, binding: &Binding) -> Error {
    Error::new(
        ErrorKind::DefaultTaken,
        format!(
            "the secret {holder:?} is the default for {binding}: set its is_default_for_tool to false first"
        ),
    )
}

impl Binding {
    fn of(info: &SecretInfo) -> Result<Binding, Error> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(Binding {
            pattern: ToolPattern::new(&text(&info.tool_name))?,
            location: Location::new(&text(&info.tool_arg))?,
        })
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = self.pattern.as_str().escape_debug();
        write!(f, "tool {pattern} at {}", self.location.in_line())
    }
}

fn length(value: &SecretValue) -> u32 {
    u32::try_from(value.expose_secret().len()).expect("a value has at most 65,536 characters")
}

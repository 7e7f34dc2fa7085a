//! One user's part of a vault.

use std::{fmt, ops::Bound};

use serde_json::{Map, Value};

use super::{
    batch::Batch,
    errors::not_found,
    plan::{Applied, Operation},
    users::UserHandle,
};
use crate::{
    bounds::Bounds,
    call::ToolCall,
    check::{self, Report, ToolSpec},
    conceal::{self, Concealment},
    crypto::KeyRing,
    entry::Entry,
    error::Error,
    explain::{self, Explanation},
    format::Format,
    inject::{self, Failure, Injection, Injector},
    quota::Usage,
    redact::Redactor,
    request::{NewSecret, SecretPatch},
    resolver::Match,
    secret::{SecretId, SecretInfo, SecretRef, UserId},
    snapshot::Snapshot,
};

/// The secrets of one user.
///
/// Cheap to clone and to keep: clones, and every other [`UserVault`] of this user, see the same secrets. No secret
/// of another user can be reached through it. The vault stays open as long as it is kept. When the last
/// [`Vault`](crate::Vault) was dropped, it also keeps in memory what was read of up to one in 64 of the other users:
/// lock the vault before that, or unload them, if that matters.
///
/// # First use
///
/// A user's secrets are read from the store and checked by the first call that needs them after the vault was
/// opened, unlocked or [reloaded](crate::Vault::reload), or after [`unload`](UserVault::unload). In addition to
/// its own errors, that call fails with `Storage`, `Corrupt` or `RolledBack` if the store cannot be read or is not
/// as keyward left it.
#[derive(Clone)]
pub struct UserVault {
    pub(super) user: UserHandle,
}

impl UserVault {
    /// Returns the id of the user whose secrets these are.
    pub fn id(&self) -> UserId {
        self.user.id()
    }

    /// Creates a secret.
    ///
    /// # Errors
    ///
    /// `Validation` with every invalid field, `NameTaken`, `DefaultTaken`, `QuotaExceeded`, `Locked`, `Storage`, or
    /// what a [first use](UserVault#first-use) fails with. Nothing has changed then.
    pub fn create(&self, secret: NewSecret) -> Result<SecretInfo, Error> {
        let secret = secret.into_valid(self.bounds_if_unlocked()?)?;
        self.write_one(Operation::Create(secret))
    }

    /// Changes a secret. A patch that names no field, or repeats the metadata, changes nothing, not even the revision.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` if the patch demands another revision; and those of [`create`](UserVault::create).
    /// Nothing has changed then. Invalid fields are reported even if the secret does not exist.
    pub fn update(
        &self,
        secret: impl Into<SecretRef>,
        patch: SecretPatch,
    ) -> Result<SecretInfo, Error> {
        let (secret, bounds) = (secret.into(), self.bounds_if_unlocked()?);
        match patch.into_valid(bounds) {
            Ok(patch) => self.write_one(Operation::Update(secret, patch)),
            Err(patch) => Err(patch.error(self.secret(secret).ok().as_ref())),
        }
    }

    /// Deletes a secret. When this returns, the secret can no longer be reached, and its value is gone from the
    /// memory that keyward holds.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Locked`, `Storage`, or what a [first use](UserVault#first-use) fails with. Nothing has changed
    /// then.
    pub fn delete(&self, secret: impl Into<SecretRef>) -> Result<(), Error> {
        self.write(vec![Operation::Delete(secret.into())], false)
            .map(drop)
    }

    /// Returns what can be read of a secret.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Locked`, or what a [first use](UserVault#first-use) fails with.
    pub fn secret(&self, secret: impl Into<SecretRef>) -> Result<SecretInfo, Error> {
        let secret = secret.into();
        self.read(|_, snapshot| {
            let entry = match secret {
                SecretRef::Id(id) => snapshot.by_id(id),
                SecretRef::Text(text) => snapshot.by_text(&text),
            };
            entry
                .map(|entry| entry.info().clone())
                .ok_or_else(not_found)
        })
    }

    /// Returns what can be read of all secrets, oldest first.
    ///
    /// # Errors
    ///
    /// `Locked`, or what a [first use](UserVault#first-use) fails with.
    pub fn secrets(&self) -> Result<Vec<SecretInfo>, Error> {
        self.read(|_, snapshot| {
            Ok(snapshot
                .entries()
                .values()
                .map(|entry| entry.info().clone())
                .collect())
        })
    }

    /// Returns what can be read of at most `limit` secrets after a given one, oldest first. `None` starts with the
    /// first; an id that no secret has (any more) stands for its place among the ids.
    ///
    /// Pages read one after the other are complete: a secret that exists throughout is in exactly one of them.
    ///
    /// ```
    /// use keyward::{NewSecret, UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// for name in ["a", "b", "c"] {
    ///     user.create(NewSecret::new(name, "7Jq2mWzX"))?;
    /// }
    /// let page = user.secrets_after(None, 2)?;
    /// let rest = user.secrets_after(Some(page[1].secret_id), 2)?;
    /// assert_eq!((page.len(), rest.len()), (2, 1));
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Locked`, or what a [first use](UserVault#first-use) fails with.
    pub fn secrets_after(
        &self,
        after: Option<SecretId>,
        limit: usize,
    ) -> Result<Vec<SecretInfo>, Error> {
        self.read(|_, snapshot| {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let entries = snapshot.entries().range((start, Bound::Unbounded));
            Ok(entries
                .take(limit)
                .map(|(_, entry)| entry.info().clone())
                .collect())
        })
    }

    /// Does several operations in one write: all of them, or none.
    ///
    /// Uniqueness and quota are checked on the final state, so two secrets can exchange their names. A name refers
    /// to the secret that had it before the batch, as long as that is there, or else to the one that the batch gives it
    /// to. For each operation in turn, returns what there is of the secret after it; `None` if it was deleted.
    ///
    /// ```
    /// use keyward::{NewSecret, SecretPatch, UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.create(NewSecret::new("github-token", "ghp_hV5cX2mQ").bind("agno__github__*", "token").default_for_tool())?;
    /// // The new token becomes the default at the moment at which the old one ceases to be it.
    /// user.batch(|batch| {
    ///     batch.update("github-token", SecretPatch::new().name("github-token-old").is_default_for_tool(false));
    ///     batch.create(NewSecret::new("github-token", "ghp_Yr7Kd0bW").bind("agno__github__*", "token").default_for_tool());
    /// })?;
    /// assert_eq!(user.secrets()?.len(), 2);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If any operation has invalid fields, `Validation` with all of them; in the `loc` of each, the index of the
    /// operation follows `body`. Otherwise the error of the first operation that failed. Nothing has changed then.
    pub fn batch(
        &self,
        collect: impl FnOnce(&mut Batch<'_>),
    ) -> Result<Vec<Option<SecretInfo>>, Error> {
        let mut batch = Batch::new(self.bounds_if_unlocked()?);
        collect(&mut batch);
        self.write(batch.finish(), true)
    }

    /// Returns what this user has stored.
    ///
    /// # Errors
    ///
    /// `Locked`, or what a [first use](UserVault#first-use) fails with.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.read(|_, snapshot| Ok(snapshot.root.usage))
    }

    /// Fills the right secrets into the arguments of a call: references that are granted, then defaults where the
    /// call has no value. See [`Injection`] for what is returned.
    ///
    /// # Errors
    ///
    /// `Denied` for a reference that is not granted, and for a supplied value that the policy refuses;
    /// `Validation` for arguments that a default does not fit into, that are nested more than 128 levels deep, or whose
    /// references have locations of more than 16 MiB together;
    /// `Locked`; `Corrupt`; or what a [first use](UserVault#first-use) fails with. The arguments are then left as they
    /// were.
    pub fn inject(
        &self,
        call: &ToolCall<'_>,
        args: &mut Map<String, Value>,
    ) -> Result<Injection, Error> {
        self.fill(call, |injector| injector.inject(args))
    }

    /// Does what [`inject`](UserVault::inject) does for arguments that are a JSON value: an object, or null for
    /// none. Null stays null unless something is filled in; then it becomes an object.
    ///
    /// ```
    /// use keyward::{NewSecret, ToolCall, UserId, Vault};
    /// use serde_json::json;
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
    ///
    /// let mut args = json!({"title": "Login fails"});
    /// let injection = user.inject_value(&ToolCall::new("agno__linear__create_issue"), &mut args)?;
    /// assert_eq!(args["api_key"], "lin_api_Zq8wT3vN");
    /// injection.wipe_value(&mut args);
    /// assert_eq!(args, json!({"title": "Login fails"}));
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`inject`](UserVault::inject); also `Validation` for arguments that are neither an object nor
    /// null.
    pub fn inject_value(&self, call: &ToolCall<'_>, args: &mut Value) -> Result<Injection, Error> {
        self.fill(call, |injector| injector.inject_value(args))
    }

    /// Does what [`inject`](UserVault::inject) does for arguments that are JSON text, which is how several model
    /// APIs deliver them. Empty text, or `null`, stands for no arguments.
    ///
    /// The text changes only where a secret goes: the order of the keys, the spaces and the digits of every number
    /// stay as they are. An added member comes last in its object. [`Injection::wipe_str`] restores the text.
    /// The text is gone through once for all places together, so the time grows with its length plus the length of all
    /// locations that are filled, not with the product of its length and their number.
    ///
    /// ```
    /// use keyward::{NewSecret, ToolCall, UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
    ///
    /// let mut args = r#"{ "title": "Login fails", "points": 1.50 }"#.to_owned();
    /// let injection = user.inject_str(&ToolCall::new("agno__linear__create_issue"), &mut args)?;
    /// assert_eq!(args, r#"{ "title": "Login fails", "points": 1.50,"api_key":"lin_api_Zq8wT3vN" }"#);
    /// injection.wipe_str(&mut args);
    /// assert_eq!(args, r#"{ "title": "Login fails", "points": 1.50 }"#);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`inject`](UserVault::inject); also `Validation` for text that is not JSON, for JSON that is
    /// neither an object nor null, and for an object in it that has a name twice: JSON readers differ in which
    /// member counts, so the tool might read another one than was checked here.
    pub fn inject_str(&self, call: &ToolCall<'_>, args: &mut String) -> Result<Injection, Error> {
        self.fill(call, |injector| injector.inject_text(args))
    }

    /// Returns a redactor for all secrets that the user has now, as [`Injection::redactor`] is one for those of a call.
    ///
    /// This is for text from elsewhere than the call that is being made: a conversation that is resumed, whose tools
    /// may print what earlier calls were given, or a program's log. It opens every value, which takes a few µs each;
    /// the first text that is redacted takes about as long again. Text passes more slowly the more values there are to
    /// find ([the cost](Redactor#cost)). Values that are set later are not in it.
    ///
    /// ```
    /// use keyward::{NewSecret, UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key"))?;
    /// user.create(NewSecret::new("github", "ghp_R7mKq2xW9c"))?;
    ///
    /// let redactor = user.redactor()?;
    /// assert_eq!(redactor.redact("token=ghp_R7mKq2xW9c lin_api_Zq8wT3vN"), "token=secret://github secret://linear");
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Locked`; `Corrupt` for a value that is damaged; or what a [first use](UserVault#first-use) fails with.
    ///
    /// # Security
    ///
    /// The redactor holds all values in the clear until it and its clones are dropped, also while the vault is locked.
    pub fn redactor(&self) -> Result<Redactor, Error> {
        let redactor = self.read(|keys, snapshot| {
            let mut redactor = Redactor::new();
            for entry in snapshot.entries().values() {
                let value = entry.open(keys)?;
                if let Some(format) = entry.format() {
                    redactor.insert_formatted(entry.reference(), &format.apply(&value), &value);
                }
                redactor.insert(entry.reference(), &value);
            }
            Ok(redactor)
        })?;
        self.user.vault().record_redactor(self.id());
        Ok(redactor)
    }

    /// Removes from a tool's input schema what the defaults will fill in, so that the model is not asked for it.
    ///
    /// Arguments that are valid under the concealed schema are valid under the original one after
    /// [`inject`](UserVault::inject), as long as they have no value at the hidden locations and removed parents, which
    /// the concealed schema does not mention. A value there is one that the model made up:
    /// [`InjectionPolicy`](crate::InjectionPolicy) decides what becomes of it. Where this cannot be guaranteed, a
    /// location stays in the schema, and the [`Concealment`] says why: if the arguments leave it out, what goes in
    /// there may be invalid. The concealed schema may demand more than the original: an optional object that needs
    /// something else besides the default becomes required, since the default will make it.
    ///
    /// The `format` of a location, and its `contentMediaType`, are taken as annotations, as JSON Schema has them by
    /// default: a tool that asserts them may refuse a secret of another form.
    ///
    /// # Errors
    ///
    /// `Locked`, or what a [first use](UserVault#first-use) fails with. The schema is then as it was.
    pub fn conceal(&self, tool: &str, input_schema: &mut Value) -> Result<Concealment, Error> {
        self.read(|_, snapshot| {
            let defaults = snapshot.resolver().resolve(tool);
            // Before the call, a value may be replaced by another of any allowed length.
            let max_chars = |entry: &Entry| {
                let value = self.bounds().value().max.max(entry.max_value_chars());
                value + entry.format().map_or(0, Format::added_chars)
            };
            let entries = defaults
                .iter()
                .filter_map(|default| snapshot.by_id(default.id()));
            let longest = entries.map(max_chars).max();
            Ok(conceal::conceal(
                input_schema,
                defaults.iter().map(Match::location),
                longest.unwrap_or(0),
            ))
        })
    }

    /// Shows what [`inject`](UserVault::inject) would do with a call, and why, without showing a value and without
    /// doing it.
    ///
    /// # Errors
    ///
    /// `Locked`, or what a [first use](UserVault#first-use) fails with. Whatever would make the call fail is part
    /// of the explanation.
    pub fn explain(
        &self,
        call: &ToolCall<'_>,
        args: &Map<String, Value>,
    ) -> Result<Explanation, Error> {
        self.read(|_, snapshot| Ok(self.explained(snapshot, call, args)))
    }

    /// Does what [`explain`](UserVault::explain) does for arguments as [`inject_value`](UserVault::inject_value) takes
    /// them.
    ///
    /// ```
    /// use keyward::{explain::Outcome, NewSecret, ToolCall, UserId, Vault};
    /// use serde_json::json;
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
    /// let args = json!({"title": "Login fails"});
    /// let explanation = user.explain_value(&ToolCall::new("agno__linear__create_issue"), &args)?;
    /// assert_eq!(explanation.locations[0].outcome, Outcome::Filled);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`explain`](UserVault::explain); also `Validation` for arguments that are neither an object nor null.
    pub fn explain_value(&self, call: &ToolCall<'_>, args: &Value) -> Result<Explanation, Error> {
        self.read(|_, snapshot| Ok(self.explained(snapshot, call, &*inject::members(args)?)))
    }

    /// Does what [`explain`](UserVault::explain) does for arguments as [`inject_str`](UserVault::inject_str) takes
    /// them.
    ///
    /// ```
    /// use keyward::{inject::Verdict, ToolCall, UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// let explanation = user.explain_str(&ToolCall::new("mail_send"), r#"{"body": "secret://linear"}"#)?;
    /// assert_eq!(explanation.references[0].verdict, Verdict::UnknownSecret);
    /// assert!(explanation.failure.is_some());
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`explain`](UserVault::explain); also `Validation` for text that [`inject_str`](UserVault::inject_str)
    /// does not read: there is nothing then that could be explained.
    pub fn explain_str(&self, call: &ToolCall<'_>, args: &str) -> Result<Explanation, Error> {
        self.read(|_, snapshot| {
            let args = inject::read_text(args)?;
            Ok(self.explained(snapshot, call, &*inject::members(&args)?))
        })
    }

    /// Checks this user's secrets against a runtime's tools before the first call. It reports secrets that are missing
    /// or go nowhere, patterns that are wider than necessary, and more; [`Finding`](crate::check::Finding) lists
    /// everything.
    ///
    /// ```
    /// use keyward::{check::Finding, NewSecret, UserId, Vault};
    /// use serde_json::json;
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("linear_*", "apikey").default_for_tool())?;
    ///
    /// let text = json!({"type": "string"});
    /// let schema = json!({"type": "object", "properties": {"api_key": text, "title": text}, "required": ["api_key"]});
    /// let report = user.check([("linear_create_issue", &schema)])?;
    ///
    /// let codes: Vec<_> = report.findings.iter().map(Finding::code).collect();
    /// assert_eq!(codes, ["needs_secret", "undeclared_location"]);
    /// print!("{report}");
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// Arguments are recognized as credentials or destinations by their names, and by the `format` and `writeOnly` of
    /// their schemas; this can miss one, or mistake another argument for one. Since a schema may come from anyone, the
    /// search is bounded: the shallowest come first, at most 100 in one tool, and at most four levels deep. A tool with
    /// more gets the finding [`PartlySearched`](crate::check::Finding::PartlySearched), unless all that it has below is
    /// the same schema again.
    ///
    /// # Errors
    ///
    /// `Locked`, or what a [first use](UserVault#first-use) fails with.
    pub fn check<'t, T: Into<ToolSpec<'t>>>(
        &self,
        tools: impl IntoIterator<Item = T>,
    ) -> Result<Report, Error> {
        let tools: Vec<ToolSpec<'t>> = tools.into_iter().map(Into::into).collect();
        self.read(|_, snapshot| {
            let policy = &self.user.vault().settings.policy;
            Ok(check::check(snapshot, policy, &tools))
        })
    }

    /// Reads this user's secrets from the store and checks them, if that was not done yet: the
    /// [first use](UserVault#first-use) by itself. After it, calls need nothing of the store until the vault is
    /// locked or reloaded, or the user is unloaded. A server calls this where blocking is allowed, before it lets the
    /// user's calls run on the threads of an async runtime.
    ///
    /// ```
    /// use keyward::{UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.load()?;
    /// assert!(user.secrets()?.is_empty());
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Locked`, or what a [first use](UserVault#first-use) fails with.
    pub fn load(&self) -> Result<(), Error> {
        self.read(|_, _| Ok(()))
    }

    /// Drops what was read of this user's secrets, about a kilobyte per secret. The next call reads it again, as a
    /// [first use](UserVault#first-use), which takes some 50 to 70 µs for ten secrets. This is for programs that serve
    /// more users than they have memory for. It waits for a write of this user's secrets.
    ///
    /// ```
    /// use keyward::{NewSecret, UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
    /// user.unload();
    /// assert_eq!(user.secrets()?.len(), 1);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn unload(&self) {
        self.user.unload();
    }

    fn explained(
        &self,
        snapshot: &Snapshot,
        call: &ToolCall<'_>,
        args: &Map<String, Value>,
    ) -> Explanation {
        let policy = &self.user.vault().settings.policy;
        explain::explain(snapshot, policy, call, args)
    }

    fn fill(
        &self,
        call: &ToolCall<'_>,
        fill: impl FnOnce(&Injector<'_>) -> Result<Injection, Failure>,
    ) -> Result<Injection, Error> {
        let filled = self.read(|keys, snapshot| {
            Ok(fill(&Injector {
                keys,
                snapshot,
                policy: &self.user.vault().settings.policy,
                call,
            }))
        })?;
        self.user.vault().record_call(self.id(), call, &filled);
        filled.map_err(|failure| failure.error)
    }

    /// Calls `work` with the keys and the secrets as of now.
    fn read<T>(
        &self,
        work: impl FnOnce(&KeyRing, &Snapshot) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let vault = self.user.vault();
        vault
            .read(&self.user, work)
            .inspect_err(|error| vault.record_failed_read(self.id(), error))
    }

    fn bounds(&self) -> &Bounds {
        &self.user.vault().settings.bounds
    }

    /// The bounds that requests are checked against. A locked vault says so before it looks at a request.
    pub(crate) fn bounds_if_unlocked(&self) -> Result<&Bounds, Error> {
        self.user.vault().keys()?;
        Ok(self.bounds())
    }

    fn write_one(&self, operation: Operation) -> Result<SecretInfo, Error> {
        let mut infos = self.write(vec![operation], false)?;
        infos.pop().flatten().ok_or_else(not_found)
    }

    /// Returns, for each operation in turn, what there is of the secret after it.
    fn write(
        &self,
        operations: Vec<Operation>,
        is_batch: bool,
    ) -> Result<Vec<Option<SecretInfo>>, Error> {
        let written = self.user.vault().write(&self.user, operations, is_batch);
        self.user.vault().record_write(self.id(), &written);
        Ok(written?.into_iter().map(Applied::into_info).collect())
    }
}

impl fmt::Debug for UserVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserVault")
            .field("user", &self.id())
            .finish_non_exhaustive()
    }
}

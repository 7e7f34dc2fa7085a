//! Where the vault is, and opening it.

use std::{env, path::PathBuf, time::Duration};

use keyward::{
    Anchor, Bounds, Error, ErrorKind, InjectionPolicy, UserId, UserVault, Vault, VaultBuilder,
};

use crate::{
    args::{GlobalArgs, Supplied},
    audit::Recorder,
    failure::Failure,
    input::Input,
    key::{FreshKey, KeptKey, Key},
    paths,
    watch::{self, Watch},
};

/// The vault that a command is about, and the key that opens it.
pub(crate) struct Opener {
    path: PathBuf,
    user: UserId,
    builder: VaultBuilder,
    pub(crate) input: Input,
    globals: GlobalArgs,
}

impl Opener {
    pub(crate) fn new(globals: GlobalArgs, input: Input) -> Result<Opener, Failure> {
        let path = match &globals.vault {
            Some(path) => path.clone(),
            None => default_path()?,
        };
        // Private keys and service-account files are longer than the contract's bound.
        let bounds = Bounds::default().max_value_chars(*Bounds::MAX_VALUE_CHARS.end());
        let wait = Duration::from_secs(globals.wait);
        let mut builder = Vault::builder().bounds(bounds).wait(wait);
        if let Some(log) = &globals.audit_log {
            let others = [Some(&path), globals.key_file.as_ref()];
            if others
                .into_iter()
                .flatten()
                .any(|other| paths::are_same(other, log))
            {
                return Err(Failure::usage(
                    "the vault, its key and the audit log need a file each",
                ));
            }
            builder = builder.audit(Recorder::new(log, wait)?);
        }
        Ok(Opener {
            path,
            user: globals.user.unwrap_or(UserId::LOCAL),
            builder,
            input,
            globals,
        })
    }

    pub(crate) fn supplied(mut self, supplied: Supplied) -> Opener {
        let policy = InjectionPolicy::default();
        self.builder = self.builder.injection_policy(match supplied {
            Supplied::Keep => policy.keep_supplied(),
            Supplied::Replace => policy.replace_supplied(),
            Supplied::Refuse => policy.refuse_supplied(),
        });
        self
    }

    /// Demands that the vault is in this state or a later one.
    pub(crate) fn anchored(mut self, anchor: Anchor) -> Opener {
        self.builder = self.builder.anchor(anchor);
        self
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Creates the vault. Asks for the key only if there is no vault yet.
    pub(crate) fn create(&mut self) -> Result<Vault, Failure> {
        paths::must_be_vacant(&self.path)?;
        paths::create_folder(&self.path)?;
        if let Some(path) = &self.globals.key_file
            && paths::are_same(path, &self.path)
        {
            return Err(Failure::usage("the vault and its key need a file each"));
        }
        let new = FreshKey::for_new_vault(&self.globals, &mut self.input)?;
        let source = new.key.source();
        let created = source.and_then(|source| self.builder.clone().create(&self.path, source));
        if created.is_err() && paths::is_vacant(&self.path) {
            new.remove_what_was_made();
        }
        created.map_err(|error| self.failure(&error))
    }

    /// Returns the key of the vault, after making sure that there is one.
    pub(crate) fn key(&mut self) -> Result<Key, Failure> {
        if paths::is_link_to_nothing(&self.path) {
            return Err(Failure::no_vault(format!(
                "{}: this is a symbolic link to nothing: bring back the vault that it leads to, or name another with \
                 --vault or KEYWARD_VAULT",
                self.path.display()
            )));
        }
        let exists = self.path.try_exists();
        if !exists.map_err(|error| Failure::file(&self.path, &error))? {
            return Err(Failure::no_vault(format!(
                "{}: there is no vault: create one with `keyward init`, or name another with --vault or KEYWARD_VAULT",
                self.path.display()
            )));
        }
        Key::find(&self.globals, &mut self.input)
    }

    /// Returns the key of the vault, after checking that it opens it: a wrong key is reported before anything else
    /// is asked for.
    pub(crate) fn right_key(&mut self) -> Result<Key, Failure> {
        let key = self.key()?;
        self.read_with(&key)?;
        Ok(key)
    }

    /// Opens the vault for writing; no other process can open it meanwhile.
    pub(crate) fn open(&mut self) -> Result<Vault, Failure> {
        let key = self.key()?;
        self.open_with(&key)
    }

    pub(crate) fn open_with(&self, key: &Key) -> Result<Vault, Failure> {
        let opened = self.builder.clone().open(&self.path, key.source()?);
        opened.map_err(|error| self.failure(&error))
    }

    /// Opens the vault as it is now, for reading.
    pub(crate) fn read(&mut self) -> Result<Vault, Failure> {
        let key = self.key()?;
        self.read_with(&key)
    }

    pub(crate) fn read_with(&self, key: &Key) -> Result<Vault, Failure> {
        let read = self.builder.clone().snapshot(&self.path, key.source()?);
        read.map_err(|error| self.failure(&error))
    }

    /// Opens the vault for reading, and for reading again whenever others have written to it. It is waited for now,
    /// and not when it is read again.
    pub(crate) fn read_to_follow(&mut self) -> Result<(UserVault, Watch), Failure> {
        let key = self.key()?;
        let builder = self.builder.clone().wait(Duration::ZERO);
        let vault = watch::patiently(Duration::from_secs(self.globals.wait), || {
            builder.clone().snapshot(&self.path, key.source()?)
        })
        .map_err(|error| self.failure(&error))?;
        let user = vault.user(self.user);
        let watch = Watch::new(vault, &self.path, KeptKey::of(&self.globals));
        Ok((user, watch))
    }

    /// Opens the user's secrets for reading.
    pub(crate) fn read_user(&mut self) -> Result<UserVault, Failure> {
        Ok(self.read()?.user(self.user))
    }

    /// Opens the user's secrets for writing.
    pub(crate) fn open_user(&mut self) -> Result<UserVault, Failure> {
        let key = self.key()?;
        self.open_user_with(&key)
    }

    pub(crate) fn open_user_with(&self, key: &Key) -> Result<UserVault, Failure> {
        Ok(self.open_with(key)?.user(self.user))
    }

    /// Says which vault it is that does not open: without `--vault`, nobody may know.
    fn failure(&self, error: &Error) -> Failure {
        let failure = Failure::of(error, &[]);
        match error.kind() {
            ErrorKind::Validation => failure,
            _ => failure.of_file(&self.path),
        }
    }
}

/// The user's data folder, by each system's convention.
fn default_path() -> Result<PathBuf, Failure> {
    let set = |variable| {
        env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = env::home_dir().filter(|path| path.is_absolute());
    let data = if cfg!(target_os = "windows") {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home.map(|home| home.join("Library/Application Support"))
    } else {
        set("XDG_DATA_HOME").or_else(|| home.map(|home| home.join(".local/share")))
    };
    match data {
        Some(data) => Ok(data.join("keyward").join("vault.keyward")),
        None => Err(Failure::no_vault(
            "the user has no data folder: name the vault's file with --vault or KEYWARD_VAULT",
        )),
    }
}

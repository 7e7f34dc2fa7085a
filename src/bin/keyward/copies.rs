//! The commands about the whole vault: checking, copying, compacting.

use std::path::Path;

use keyward::{Anchor, ErrorKind, Vault};
use serde_json::json;

use crate::{
    args::NewKey,
    failure::Failure,
    key::{FreshKey, Key},
    opener::Opener,
    output::{Output, counted},
    paths,
};

pub(crate) fn verify(
    mut opener: Opener,
    output: Output,
    remembered: Option<Anchor>,
) -> Result<(), Failure> {
    if let Some(anchor) = remembered {
        opener = opener.anchored(anchor);
    }
    let vault = opener.read()?;
    vault.verify_with_progress(output.bar("checking"))?;
    let secrets = vault.usage()?.secrets;
    let anchor = vault.anchor()?.to_string();
    output.answer(&json!({"secrets": secrets, "anchor": anchor}), || {
        let secrets = counted(secrets, "secret");
        format!("checked {secrets}: everything is as keyward wrote it\nanchor  {anchor}\n")
    })
}

pub(crate) fn backup(mut opener: Opener, output: Output, file: &Path) -> Result<(), Failure> {
    paths::must_be_vacant(file)?;
    paths::folder_must_exist(file)?;
    let vault = opener.read()?;
    vault.backup_with_progress(file, output.bar("copying"))?;
    done(output, file, "copied the vault to")
}

pub(crate) fn export(
    mut opener: Opener,
    output: Output,
    file: &Path,
    key: &NewKey,
) -> Result<(), Failure> {
    paths::must_be_vacant(file)?;
    paths::folder_must_exist(file)?;
    if let Some(path) = &key.new_key_file
        && paths::are_same(path, file)
    {
        return Err(Failure::usage("the new vault and its key need a file each"));
    }
    let vault = opener.read()?;
    let new = FreshKey::wanted(key, &mut opener.input)?;
    let exported = new.key.source().and_then(|source| {
        let bar = output.bar("exporting");
        vault.export_with_progress(file, source, bar)
    });
    if exported.is_err() && paths::is_vacant(file) {
        new.remove_what_was_made();
    }
    exported?;
    done(output, file, "exported all secrets to")
}

pub(crate) fn import(
    mut opener: Opener,
    output: Output,
    file: &Path,
    key_file: Option<&Path>,
) -> Result<(), Failure> {
    if paths::are_same(file, opener.path()) {
        return Err(Failure::usage(
            "a vault cannot be imported into itself: name another file",
        ));
    }
    let current = opener.key()?;
    let key = if let Some(path) = key_file {
        Key::in_file(path)?
    } else {
        opener.read_with(&current)?;
        Key::Passphrase(opener.input.passphrase()?)
    };
    let vault = opener.open_with(&current)?;
    let added = vault
        .import_with_progress(file, key.source()?, output.bar("importing"))
        .map_err(|error| {
            // The vault itself is open already.
            let is_of_file = paths::is_vacant(file)
                || match error.kind() {
                    ErrorKind::WrongKey | ErrorKind::InUse | ErrorKind::UnsupportedVersion => true,
                    // Of either of them.
                    ErrorKind::Corrupt | ErrorKind::RolledBack => key
                        .source()
                        .and_then(|key| Vault::snapshot(file, key)?.verify())
                        .is_err(),
                    _ => false,
                };
            let failure = Failure::from(error);
            if is_of_file {
                failure.of_file(file)
            } else {
                failure
            }
        })?;
    output.done(
        &json!({"secrets": added.secrets, "bytes": added.bytes}),
        format!("added {}", counted(added.secrets, "secret")),
    )
}

pub(crate) fn compact(mut opener: Opener, output: Output) -> Result<(), Failure> {
    let vault = opener.open()?;
    output.busy("compacting", || vault.compact())?;
    let path = opener.path().clone();
    done(output, &path, "compacted")
}

fn done(output: Output, file: &Path, what: &str) -> Result<(), Failure> {
    let path = file.display().to_string();
    output.done(&json!({"file": path}), format!("{what} {path}"))
}

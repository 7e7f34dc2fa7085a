//! The commands about keys.

use keyward::{KeyKind, KeySlotInfo, KeySource};
use serde_json::json;

use crate::{
    args::{NewKey, Rotate, Slots},
    failure::Failure,
    key::{FreshKey, Key},
    opener::Opener,
    output::{Output, counted, table},
};

pub(crate) fn init(mut opener: Opener, output: Output) -> Result<(), Failure> {
    opener.create()?;
    let path = opener.path().display().to_string();
    output.done(&json!({"vault": path}), format!("created the vault {path}"))
}

/// Replaces the passphrase that opens the vault by a new one.
pub(crate) fn passphrase(mut opener: Opener, output: Output) -> Result<(), Failure> {
    let current = opener.key()?;
    if !matches!(current, Key::Passphrase(_)) {
        return Err(Failure::usage(
            "this key is not a passphrase: add a passphrase with `keyward slots add`",
        ));
    }
    // Report a wrong passphrase before asking for a new one.
    opener.read_with(&current)?;
    let new = Key::changed_passphrase(&mut opener.input)?;
    let slot = opener
        .open_with(&current)?
        .change_key(current.source()?, new.source()?)?;
    output.done(
        &slot_json(slot),
        "changed the passphrase; earlier copies of the vault still open with the old one",
    )
}

pub(crate) fn slots(mut opener: Opener, output: Output, slots: Slots) -> Result<(), Failure> {
    match slots {
        Slots::List => {
            let slots = opener.read()?.key_slots()?;
            let json: Vec<_> = slots.iter().copied().map(slot_json).collect();
            output.answer(&json, || slots_table(&slots))
        }
        Slots::Add { key } => add_slot(opener, output, &key),
        Slots::Remove { id } => {
            opener.open()?.remove_key_slot(id)?;
            output.done(
                &json!({"id": id}),
                format!("removed key slot {id}; to lock out anyone who had the key, also rotate the master and data keys"),
            )
        }
    }
}

fn add_slot(mut opener: Opener, output: Output, key: &NewKey) -> Result<(), Failure> {
    let current = opener.right_key()?;
    let new = FreshKey::wanted(key, &mut opener.input)?;
    let source = new.key.source().map_err(Failure::from);
    let added = source.and_then(|source| {
        let vault = opener.open_with(&current)?;
        Ok(vault.add_key(current.source()?, source)?)
    });
    if let Err(failure) = &added
        && !failure.may_have_written()
    {
        new.remove_what_was_made();
    }
    let slot = added?;
    output.done(
        &slot_json(slot),
        format!("added key slot {}: {}", slot.id, kind(slot)),
    )
}

pub(crate) fn rotate(mut opener: Opener, output: Output, rotate: Rotate) -> Result<(), Failure> {
    let current = opener.key()?;
    match rotate {
        Rotate::Data => {
            let vault = opener.open_with(&current)?;
            vault.rotate_data_key_with_progress(current.source()?, output.bar("resealing"))?;
            let secrets = vault.usage()?.secrets;
            output.done(
                &json!({"secrets": secrets}),
                format!("resealed {}", counted(secrets, "secret")),
            )
        }
        Rotate::Master {
            keep_key_file,
            keep_passphrase,
            drop_others,
        } => {
            let mut keys = vec![current];
            for path in &keep_key_file {
                keys.push(Key::in_file_that_stays(path)?);
            }
            if keep_passphrase {
                opener.read_with(&keys[0])?;
                keys.push(Key::Passphrase(opener.input.passphrase()?));
            }
            let vault = opener.open_with(&keys[0])?;
            let keep = distinct(&keys)?;
            let before = vault.key_slots()?.len();
            if before > keep.len() && !drop_others {
                return Err(Failure::usage(format!(
                    "the vault has {before} key slots, and only {} would be kept: name the others with --keep-key-file or \
                     --keep-passphrase, or remove them with --drop-others",
                    keep.len()
                )));
            }
            vault.rotate_master_key(keep)?;
            let slots = vault.key_slots()?.len();
            output.done(
                &json!({"key_slots": slots}),
                format!("created a new master key; key slots: {slots}"),
            )
        }
    }
}

/// Returns one source for each distinct key: each source would take a slot, even if a key is named twice.
fn distinct(keys: &[Key]) -> Result<Vec<KeySource>, Failure> {
    let mut sources = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        if !keys[..at].contains(key) {
            sources.push(key.source()?);
        }
    }
    Ok(sources)
}

fn slots_table(slots: &[KeySlotInfo]) -> String {
    let mut rows = vec![["ID", "KIND", "ARGON2ID"].map(String::from)];
    rows.extend(slots.iter().map(|slot| {
        let kdf = slot.kdf.map(|kdf| {
            let (mib, passes, lanes) = (kdf.memory_kib() / 1024, kdf.passes(), kdf.lanes());
            format!("{mib} MiB, {passes} passes, {lanes} lanes")
        });
        let kdf = kdf.unwrap_or_else(|| "-".to_owned());
        [slot.id.to_string(), kind(*slot).to_owned(), kdf]
    }));
    table(&rows)
}

fn slot_json(slot: KeySlotInfo) -> serde_json::Value {
    let kdf = slot.kdf.map(
        |kdf| json!({"memory_kib": kdf.memory_kib(), "passes": kdf.passes(), "lanes": kdf.lanes()}),
    );
    json!({"id": slot.id, "kind": kind(slot), "kdf": kdf})
}

fn kind(slot: KeySlotInfo) -> &'static str {
    match slot.kind {
        KeyKind::Passphrase => "passphrase",
        KeyKind::Raw => "key_file",
        KeyKind::Provider => "provider",
        _ => "other",
    }
}

//! Importing from who makes a vault file by hand, with keys of their own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    plan::{Change, Changes},
    sync::hold,
    write::Write,
    *,
};
use crate::{Quota, SecretInfo, crypto::VaultRoot, error::ErrorKind, metadata::Metadata};

fn raw() -> KeySource {
    KeySource::raw([1; 32])
}

/// Of version 7, and otherwise of ones: the last id of its millisecond.
fn id(millis: u128) -> SecretId {
    let others = 0x7fff_bfff_ffff_ffff_ffff;
    SecretId::new(Uuid::from_u128((millis << 80) | others))
}

/// A vault with one secret whose metadata and value are like this, whatever keyward would say of them.
fn forge(metadata: &Metadata, value: &str) -> Vault {
    let vault = Vault::builder().in_memory_with_key(raw()).unwrap();
    let State { ledger, .. } = &*vault.state;
    let user = vault.user(UserId::LOCAL).user;
    let keys = vault.state.keys().unwrap();
    let base = vault.state.load(&user, &keys).unwrap();
    let usage = metadata.usage();
    let change = Change::Write {
        metadata: Box::new(metadata.clone()),
        value: Some(value.into()),
    };
    let changes = Changes::from([(metadata.info.secret_id, change)]);
    let write = Write::new(&keys, &user, base, changes, usage, || {}).unwrap();
    let mut ledger = hold(ledger);
    let root = VaultRoot {
        usage,
        ..ledger.root.clone()
    };
    vault
        .state
        .commit(&keys, &mut ledger, root, vec![write])
        .unwrap();
    drop(ledger);
    vault
}

/// Imports a forged vault from a file into a new one, which stays as it was if nothing comes in.
fn import_into_new(forged: &Vault) -> Result<Vault, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged");
    forged.backup(&path).unwrap();
    // A process that another test starts has the file for a moment.
    let waiting = Vault::builder().wait(Duration::MAX);
    let to = waiting.in_memory().unwrap();
    let anchor = to.anchor().unwrap();
    let imported = to.import(&path, raw());
    to.verify().unwrap();
    assert_eq!(to.anchor().unwrap() == anchor, imported.is_err());
    imported.map(|_| to)
}

#[test]
fn an_import_leaves_users_loaded_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    let ids: [UserId; 3] = [1, 2, 3].map(|id| UserId::new(Uuid::from_u128(id)));
    let from = Vault::in_memory().unwrap();
    for id in ids {
        from.user(id).create(secret("a")).unwrap();
    }
    from.export(&path, raw()).unwrap();

    let loaded = |vault: &Vault| ids.map(|id| vault.user(id).user.snapshot.load().is_some());
    let waiting = || Vault::builder().wait(Duration::MAX);
    let quota = Quota::unlimited().vault_secrets(3);
    let full = waiting().quota(quota).in_memory().unwrap();
    full.user(ids[0]).create(secret("b")).unwrap();
    let error = full.import(&path, raw()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert_eq!(loaded(&full), [true, false, false]);

    let to = waiting().in_memory().unwrap();
    for id in &ids[..2] {
        to.user(*id).create(secret("b")).unwrap();
    }
    to.user(ids[1]).unload();
    to.import(&path, raw()).unwrap();
    assert_eq!(loaded(&to), [true, false, false]);
    let secrets = ids.map(|id| to.user(id).secrets().unwrap().len());
    assert_eq!(secrets, [2, 2, 1]);
    to.verify().unwrap();
}

type Forge = fn(&mut Metadata);

fn import(change: Forge, value: &str) -> Result<SecretInfo, Error> {
    let mut metadata = Metadata::of_default(0, "a", "t", "a");
    metadata.info.secret_id = id(1_700_000_000_000);
    metadata.value_bytes = u32::try_from(value.len()).unwrap();
    change(&mut metadata);
    let to = import_into_new(&forge(&metadata, value))?;
    let user = to.user(UserId::LOCAL);
    Ok(user.secrets().unwrap().remove(0))
}

#[test]
fn what_could_not_be_created_is_not_imported() {
    let cases: [(&str, Forge, &str); 15] = [
        ("secret_name", |made| made.info.secret_name.clear(), VALUE),
        (
            "secret_name",
            |made| made.info.secret_name = "n".repeat(5000),
            VALUE,
        ),
        ("secret_value", |_| {}, "abc"),
        (
            "is_default_for_tool",
            |made| made.info.tool_arg = None,
            VALUE,
        ),
        ("revision", |made| made.info.revision = u64::MAX, VALUE),
        ("revision", |made| made.info.revision = 0, VALUE),
        (
            "secret_id",
            |made| made.info.secret_id = SecretId::new(Uuid::max()),
            VALUE,
        ),
        (
            "secret_id",
            |made| made.info.secret_id = SecretId::new(Uuid::nil()),
            VALUE,
        ),
        (
            "secret_id",
            |made| made.info.secret_id = id(0xffff_ffff_ffff),
            VALUE,
        ),
        (
            "secret_id",
            |made| made.info.secret_id = of_version(4),
            VALUE,
        ),
        (
            "secret_id",
            |made| made.info.secret_id = of_variant(0),
            VALUE,
        ),
        // RFC 3339 has four digits for the year.
        (
            "created_at",
            |made| {
                made.info.created_at = second(YEAR_10000);
                made.info.updated_at = second(YEAR_10000);
            },
            VALUE,
        ),
        (
            "created_at",
            |made| made.info.created_at = second(-1),
            VALUE,
        ),
        (
            "updated_at",
            |made| made.info.updated_at = second(YEAR_10000),
            VALUE,
        ),
        ("updated_at", |made| made.info.created_at = second(1), VALUE),
    ];
    for (i, (field, forged, value)) in cases.into_iter().enumerate() {
        let error = import(forged, value).expect_err(field);
        assert_eq!(error.kind(), ErrorKind::Validation, "case {i}: {error}");
        let [found] = error.field_errors() else {
            panic!("case {i}: {error}");
        };
        // Between the two is the secret's id.
        let loc: Vec<String> = found.loc().iter().map(ToString::to_string).collect();
        let [body, id, at] = &*loc else {
            panic!("case {i}: {error}");
        };
        assert_eq!((&**body, &**at), ("body", field), "case {i}");
        assert!(Uuid::try_parse(id).is_ok(), "case {i}: {id}");
    }
}

const VALUE: &str = "4QvT9sLm";

const YEAR_10000: i64 = 253_402_300_800;

fn second(since_1970: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(since_1970, 0).unwrap()
}

fn of_version(version: u128) -> SecretId {
    let id = id(1_700_000_000_000).as_uuid().as_u128();
    SecretId::new(Uuid::from_u128(id & !(0xf << 76) | version << 76))
}

fn of_variant(variant: u128) -> SecretId {
    let id = id(1_700_000_000_000).as_uuid().as_u128();
    SecretId::new(Uuid::from_u128(id & !(0b11 << 62) | variant << 62))
}

#[test]
fn what_is_as_good_as_made_here_is_imported() {
    import(|_| {}, VALUE).unwrap();
    import(|made| made.info.secret_id = id(0xffff_ffff_fffe), VALUE).unwrap();
    import(|made| made.info.updated_at = second(YEAR_10000 - 1), VALUE).unwrap();
    import(|made| made.info.display = Some(VALUE.to_owned()), VALUE)
        .map(|info| assert_eq!(info.display.unwrap(), "********"))
        .unwrap();
    // All that there is to be found of a format that is none.
    let info = import(|made| made.info.format = Some("{}".to_owned()), VALUE).unwrap();
    assert_eq!(info.format, None);
}

/// The quota counts what the metadata says.
#[test]
fn a_value_is_as_long_as_its_metadata_says() {
    for bytes in [0, 999, 1001] {
        let mut metadata = Metadata::of_default(0, "a", "t", "a");
        metadata.info.secret_id = id(1_700_000_000_000);
        metadata.value_bytes = bytes;
        let vault = forge(&metadata, &"v".repeat(1000));
        for error in [
            vault.verify().unwrap_err(),
            import_into_new(&vault).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }
}

#[test]
fn a_secret_that_was_written_as_often_as_can_be_is_written_no_more() {
    let info = import(|made| made.info.revision = u64::MAX - 1, VALUE).unwrap();
    assert_eq!(info.revision, u64::MAX - 1);
    let mut metadata = Metadata::of_default(0, "a", "t", "a");
    metadata.info.revision = u64::MAX;
    let vault = forge(&metadata, VALUE);
    let user = vault.user(UserId::LOCAL);
    for patch in [
        SecretPatch::new().value("another-value"),
        SecretPatch::new().name("b"),
    ] {
        let error = user.update("a", patch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    user.update("a", SecretPatch::new().name("a")).unwrap();
    user.delete("a").unwrap();
    vault.verify().unwrap();
}

#[test]
fn ids_do_not_start_anew_behind_the_last_one() {
    let vault = forge(&Metadata::of_default(0, "a", "t", "a"), VALUE);
    hold(&vault.state.ledger).root.last_id = *id(0xffff_ffff_ffff).as_uuid();
    let user = vault.user(UserId::LOCAL);
    let error = user.create(secret("b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(user.secrets().unwrap().len(), 1);
}

/// More than one batch of the writer of new files, which ends behind a user.
#[test]
fn what_is_written_in_several_batches_is_all_there() {
    let vault = Vault::builder().in_memory_with_key(raw()).unwrap();
    let users = || (1..=9).map(|user| UserId::new(Uuid::from_u128(user)));
    for id in users() {
        let fill = |batch: &mut Batch<'_>| {
            (0..5).for_each(|i| batch.create(NewSecret::new(format!("n{i}"), "value-of-n")));
        };
        vault.user(id).batch(fill).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let [backup, export] = ["backup", "export"].map(|name| folder.path().join(name));
    vault.backup(&backup).unwrap();
    vault.export(&export, raw()).unwrap();
    for path in [backup, export] {
        let copy = Vault::open(path, raw()).unwrap();
        copy.verify().unwrap();
        assert_eq!(copy.usage().unwrap(), vault.usage().unwrap());
        for id in users() {
            let [copied, of_vault] = [&copy, &vault].map(|vault| vault.user(id).secrets().unwrap());
            assert_eq!(copied, of_vault);
        }
    }
}

/// Whoever has no secrets any more has nothing that another vault would have to know of.
#[test]
fn users_without_secrets_are_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    let vault = Vault::in_memory().unwrap();
    let users = [UserId::LOCAL, UserId::new(Uuid::from_u128(1))].map(|user| vault.user(user));
    for user in &users {
        user.create(secret("a")).unwrap();
    }
    users[1].delete("a").unwrap();
    assert_eq!(vault.state.user_roots().unwrap().len(), 2);
    vault.export(&path, raw()).unwrap();
    // A process that another test starts has the file for a moment.
    let waiting = Vault::builder().wait(Duration::MAX);
    let exported = waiting.open(&path, raw()).unwrap();
    exported.verify().unwrap();
    let roots = exported.state.user_roots().unwrap();
    let roots: Vec<UserId> = roots.iter().map(|root| root.user).collect();
    assert_eq!(roots, [UserId::LOCAL]);
}

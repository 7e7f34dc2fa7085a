//! How much may be stored.

use keyward::{ErrorKind, NewSecret, Quota, QuotaResource, QuotaScope, SecretPatch, Vault};

use super::{ALICE, BOB, assert_kind, local, usage, vault};

#[test]
fn a_quota_is_exact_to_the_byte() {
    // "a" + "tool" + "k" + the value
    let fits = || NewSecret::new("a", "v".repeat(14)).bind("tool", "k");
    for quota in [
        Quota::unlimited().user_bytes(20),
        Quota::unlimited().vault_bytes(20),
    ] {
        let vault = Vault::builder().quota(quota).in_memory().unwrap();
        let user = local(&vault);
        let error = assert_kind(
            user.create(NewSecret::new("a", "v".repeat(15)).bind("tool", "k")),
            ErrorKind::QuotaExceeded,
        );
        assert_eq!(error.http_status(), 413);
        let quota = error.quota().unwrap();
        assert_eq!(
            (quota.resource, quota.limit, quota.used, quota.requested),
            (QuotaResource::Bytes, 20, 0, 21)
        );
        assert_eq!(usage(&user), (0, 0));
        user.create(fits()).unwrap();
        for patch in [
            SecretPatch::new().value("é".repeat(8)),
            SecretPatch::new().name("ab"),
            SecretPatch::new().location("kk"),
            SecretPatch::new().tool_pattern("tools"),
        ] {
            assert_kind(user.update("a", patch), ErrorKind::QuotaExceeded);
        }
        assert_eq!(usage(&user), (1, 20));
        user.update(
            "a",
            SecretPatch::new()
                .value("é".repeat(7))
                .format("not counted {}"),
        )
        .unwrap();
        user.update("a", SecretPatch::new().name("ab").tool_pattern("too"))
            .unwrap();
        assert_eq!(usage(&user), (1, 20));
        vault.verify().unwrap();
    }
}

#[test]
fn the_usual_quota_is_a_thousand_secrets_for_each_user() {
    let vault = vault();
    let user = local(&vault);
    user.batch(|batch| {
        for i in 0..1_000 {
            batch.create(NewSecret::new(i.to_string(), "abcd"));
        }
    })
    .unwrap();
    let error = assert_kind(
        user.create(NewSecret::new("more", "abcd")),
        ErrorKind::QuotaExceeded,
    );
    let quota = error.quota().unwrap();
    assert_eq!(
        (
            quota.scope,
            quota.resource,
            quota.limit,
            quota.used,
            quota.requested
        ),
        (QuotaScope::User, QuotaResource::Secrets, 1_000, 1_000, 1)
    );
    assert!(
        vault
            .user(ALICE.parse().unwrap())
            .create(NewSecret::new("a", "abcd"))
            .is_ok()
    );
}

#[test]
fn the_quota_of_the_vault_counts_all_users() {
    let vault = Vault::builder()
        .quota(Quota::unlimited().vault_secrets(2))
        .in_memory()
        .unwrap();
    let (alice, bob) = (
        vault.user(ALICE.parse().unwrap()),
        vault.user(BOB.parse().unwrap()),
    );
    alice.create(NewSecret::new("a", "value-of-a")).unwrap();
    bob.create(NewSecret::new("a", "value-of-a")).unwrap();
    let error = assert_kind(
        alice.create(NewSecret::new("b", "value-of-b")),
        ErrorKind::QuotaExceeded,
    );
    assert_eq!(error.quota().unwrap().scope, QuotaScope::Vault);
    vault.delete_user(bob.id()).unwrap();
    alice.create(NewSecret::new("b", "value-of-b")).unwrap();
}

#[test]
fn the_usual_quota_of_bytes_is_one_mebibyte_for_each_user() {
    let bounds = keyward::Bounds::default().max_value_chars(65_536);
    let vault = Vault::builder().bounds(bounds).in_memory().unwrap();
    for id in [ALICE, BOB] {
        let user = vault.user(id.parse().unwrap());
        for i in 0..15 {
            user.create(NewSecret::new(format!("{i:02}"), "v".repeat(65_536)))
                .unwrap();
        }
        let error = assert_kind(
            user.create(NewSecret::new("15", "v".repeat(65_536))),
            ErrorKind::QuotaExceeded,
        );
        let quota = error.quota().unwrap();
        assert_eq!(
            (quota.scope, quota.resource, quota.limit),
            (QuotaScope::User, QuotaResource::Bytes, 1 << 20)
        );
    }
}

//! One secret after the other: operations, and what does not change when one fails.

use keyward::{ErrorKind, NewSecret, SecretId, SecretPatch, Usage, UserId};
use serde_json::json;

use super::{ALICE, BOB, assert_kind, injected, local, size, usage, vault};

#[test]
fn a_secret_from_its_creation_to_its_deletion() {
    let vault = vault();
    let user = local(&vault);
    let info = user
        .create(
            NewSecret::new("linear", "lin_api_Zq8wT3vN")
                .bind("agno__linear__*", "k")
                .default_for_tool(),
        )
        .unwrap();
    assert_eq!(info.user_id, UserId::LOCAL);
    assert_eq!(info.revision, 1);
    assert_eq!(info.created_at, info.updated_at);
    assert_eq!(info.display.as_deref(), Some("li********vN"));
    assert_eq!(user.secret("linear").unwrap(), info);
    assert_eq!(user.secret(info.secret_id).unwrap(), info);
    assert_eq!(user.secret(info.secret_id.to_string()).unwrap(), info);
    assert_eq!(usage(&user), (1, size(&info, "lin_api_Zq8wT3vN")));
    assert_eq!(
        injected(&user, "agno__linear__x").as_deref(),
        Some("lin_api_Zq8wT3vN")
    );

    let patch = SecretPatch::new()
        .name("lin")
        .value("new-value-é")
        .bind("agno__*", "/k")
        .format("<{}>");
    let changed = user.update("linear", patch).unwrap();
    assert_eq!(changed.secret_id, info.secret_id);
    assert_eq!(changed.revision, 2);
    assert_eq!(changed.created_at, info.created_at);
    assert!(changed.updated_at >= info.updated_at);
    assert_eq!(changed.display.as_deref(), Some("********"));
    assert_kind(user.secret("linear"), ErrorKind::NotFound);
    assert_eq!(usage(&user), (1, size(&changed, "new-value-é")));
    assert_eq!(
        injected(&user, "agno__linear__x").as_deref(),
        Some("<new-value-é>")
    );

    user.delete("lin").unwrap();
    assert_kind(user.secret(info.secret_id), ErrorKind::NotFound);
    assert_eq!(usage(&user), (0, 0));
    assert_eq!(injected(&user, "agno__linear__x"), None);
    assert!(user.secrets().unwrap().is_empty());
    assert_eq!(vault.usage().unwrap(), Usage::default());
    vault.verify().unwrap();
}

#[test]
fn an_update_without_a_new_value_keeps_the_value() {
    let vault = vault();
    let user = local(&vault);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    user.update(
        "a",
        SecretPatch::new().bind("t", "k").is_default_for_tool(true),
    )
    .unwrap();
    assert_eq!(injected(&user, "t").as_deref(), Some("value-of-a"));
    let info = user.update("a", SecretPatch::new().name("b")).unwrap();
    assert_eq!(info.revision, 3);
    assert_eq!(injected(&user, "t").as_deref(), Some("value-of-a"));
    assert_eq!(usage(&user), (1, size(&info, "value-of-a")));
    vault.verify().unwrap();
}

#[test]
fn an_update_that_says_nothing_new_is_none() {
    let vault = vault();
    let user = local(&vault);
    let secret = NewSecret::new("a", "value-of-a")
        .bind("t", "k")
        .default_for_tool()
        .format("x{}");
    let before = user.create(secret).unwrap();
    let anchor = vault.anchor().unwrap();
    for patch in [
        SecretPatch::new(),
        SecretPatch::new()
            .name("a")
            .bind("t", "k")
            .is_default_for_tool(true)
            .format("x{}"),
        SecretPatch::from_json(&mut br#"{"secret_name": null, "format": null}"#.to_vec()).unwrap(),
        SecretPatch::new().if_revision(1),
    ] {
        assert_eq!(user.update("a", patch).unwrap(), before);
    }
    assert_eq!(user.batch(|_| {}).unwrap(), []);
    assert_eq!(vault.anchor().unwrap(), anchor, "nothing is stored");
    let written = user
        .update("a", SecretPatch::new().value("value-of-a"))
        .unwrap();
    assert_eq!(written.revision, 2, "a value is always a write");
    assert_eq!(
        user.update("a", SecretPatch::new().clear_format())
            .unwrap()
            .format,
        None
    );
}

#[test]
fn a_demanded_revision_that_has_passed_changes_nothing() {
    let user = local(&vault());
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    let second = user
        .update("a", SecretPatch::new().value("value-of-b").if_revision(1))
        .unwrap();
    for revision in [0, 1, 3] {
        let patch = SecretPatch::new().name("b").if_revision(revision);
        assert_eq!(
            assert_kind(user.update("a", patch), ErrorKind::Conflict).http_status(),
            409
        );
        assert_kind(
            user.update("a", SecretPatch::new().if_revision(revision)),
            ErrorKind::Conflict,
        );
    }
    assert_eq!(user.secret("a").unwrap(), second);
}

#[test]
fn names_are_unique_per_user_and_no_ids() {
    let vault = vault();
    let user = local(&vault);
    let a = user.create(NewSecret::new("a", "value-of-a")).unwrap();
    user.create(NewSecret::new("A", "value-of-A")).unwrap();
    let error = assert_kind(
        user.create(NewSecret::new("a", "value-of-b")),
        ErrorKind::NameTaken,
    );
    assert_eq!(error.http_status(), 409);
    assert_kind(
        user.update("A", SecretPatch::new().name("a")),
        ErrorKind::NameTaken,
    );
    for id in [
        a.secret_id.to_string(),
        a.secret_id.to_string().to_uppercase(),
    ] {
        assert_kind(
            user.create(NewSecret::new(id.clone(), "value-of-b")),
            ErrorKind::NameTaken,
        );
        assert_kind(
            user.update("A", SecretPatch::new().name(id.clone())),
            ErrorKind::NameTaken,
        );
        assert_kind(
            user.update("a", SecretPatch::new().name(id)),
            ErrorKind::NameTaken,
        );
    }
    assert_eq!(usage(&user), (2, 22));
    let other = vault.user(ALICE.parse().unwrap());
    other.create(NewSecret::new("a", "value-of-a")).unwrap();
    // The id of another user's secret is a name like any other.
    other
        .create(NewSecret::new(a.secret_id.to_string(), "value-of-b"))
        .unwrap();
}

#[test]
fn no_name_and_no_binding_forges_a_line_of_a_log() {
    let user = local(&vault());
    let default = |name: &str| {
        let secret = NewSecret::new(name, "value-of-a").bind("t\n*", "a\n\u{1b}[2Jb");
        user.create(secret.default_for_tool())
    };
    default("a").unwrap();
    let taken = default("b").unwrap_err().to_string();
    let mut schema = json!({"properties": {}});
    let concealed = user.conceal("t\n1", &mut schema).unwrap();
    let left = concealed.kept()[0].to_string();
    let named = || user.create(NewSecret::new("a\n\u{1b}[2Jb", "value-of-a"));
    named().unwrap();
    let name_taken = named().unwrap_err().to_string();
    for text in [taken, left, name_taken] {
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.contains(r"a\n\u{1b}[2Jb"), "{text:?}");
    }
}

#[test]
fn one_default_for_one_place() {
    let user = local(&vault());
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("agno__**", "token")
            .default_for_tool(),
    )
    .unwrap();
    let second = || NewSecret::new("b", "value-of-b").bind("agno__*", "/token");
    let error = assert_kind(
        user.create(second().default_for_tool()),
        ErrorKind::DefaultTaken,
    );
    assert_eq!(error.http_status(), 409);
    let holder = r#"the secret "a" is the default for tool agno__* at /token"#;
    assert!(error.to_string().starts_with(holder), "{error}");
    // Also if both are new.
    let both = user.batch(|batch| {
        for name in ["c", "d"] {
            let secret = NewSecret::new(name, "value").bind("u", "k");
            batch.create(secret.default_for_tool());
        }
    });
    let error = assert_kind(both, ErrorKind::DefaultTaken).to_string();
    let one = r#"the secrets "c" and "d" would both be the default for tool u at /k"#;
    assert!(error.contains(one), "{error}");
    user.create(second()).unwrap();
    let make_default = || SecretPatch::new().is_default_for_tool(true);
    assert_kind(user.update("b", make_default()), ErrorKind::DefaultTaken);
    user.update("b", make_default().tool_pattern("agno__?*"))
        .unwrap();
    assert_kind(
        user.update("b", SecretPatch::new().tool_pattern("agno__*")),
        ErrorKind::DefaultTaken,
    );
    user.update("a", SecretPatch::new().is_default_for_tool(false))
        .unwrap();
    user.update("b", SecretPatch::new().tool_pattern("agno__*"))
        .unwrap();
    // Another user's default does not matter.
    let info = user.secret("b").unwrap();
    assert_eq!((info.is_default_for_tool, info.revision), (true, 3));
}

#[test]
fn ids_and_users_keep_secrets_apart() {
    let vault = vault();
    let (alice, bob) = (
        vault.user(ALICE.parse().unwrap()),
        vault.user(BOB.parse().unwrap()),
    );
    let info = alice.create(NewSecret::new("a", "value-of-a")).unwrap();
    let unknown: SecretId = "01900000-0000-7000-8000-000000000000".parse().unwrap();
    for result in [
        bob.secret(info.secret_id),
        bob.secret("a"),
        bob.secret(unknown),
        bob.update(info.secret_id, SecretPatch::new().name("b")),
        bob.update(unknown, SecretPatch::new()),
        bob.delete(info.secret_id).map(|()| info.clone()),
        bob.delete("a").map(|()| info.clone()),
        alice.secret(unknown),
        alice.secret("b"),
    ] {
        assert_eq!(assert_kind(result, ErrorKind::NotFound).http_status(), 404);
    }
    assert_eq!(alice.secrets().unwrap(), [info]);
    assert_eq!(vault.users().unwrap(), [alice.id()]);
}

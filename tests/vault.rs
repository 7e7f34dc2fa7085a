//! The life of secrets: every operation, every error, and what does not change when one fails.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{
    Batch, Error, ErrorKind, FieldError, KeySource, NewSecret, Quota, QuotaResource, QuotaScope,
    SecretId, SecretInfo, SecretPatch, ToolCall, Usage, UserId, UserVault, Vault,
};
use serde_json::{Map, json};

const ALICE: &str = "6f2c1b6e-6a0e-4d0a-9f3e-2b8a4a9f5f10";
const BOB: &str = "0b0e5c64-52a0-4f5e-8f6b-0c9ff1f8c0aa";

fn vault() -> Vault {
    Vault::in_memory().unwrap()
}

fn local(vault: &Vault) -> UserVault {
    vault.user(UserId::LOCAL)
}

/// What a tool whose call has no arguments gets at `k`.
fn injected(user: &UserVault, tool: &str) -> Option<String> {
    let mut args = Map::new();
    let _ = user.inject(&ToolCall::new(tool), &mut args).unwrap();
    args.get("k")
        .map(|value| value.as_str().unwrap().to_owned())
}

fn size(info: &SecretInfo, value: &str) -> u64 {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    (value.len() + info.secret_name.len() + optional(&info.tool_name) + optional(&info.tool_arg))
        as u64
}

fn usage(user: &UserVault) -> (u64, u64) {
    let Usage { secrets, bytes, .. } = user.usage().unwrap();
    (secrets, bytes)
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) -> Error {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.to_string().is_empty());
    error
}

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
fn a_batch_is_judged_on_its_final_state() {
    let vault = Vault::builder()
        .quota(Quota::default().user_secrets(2))
        .in_memory()
        .unwrap();
    let user = local(&vault);
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    user.create(NewSecret::new("b", "value-of-b")).unwrap();
    let infos = user
        .batch(|batch| {
            batch.create(
                NewSecret::new("c", "value-of-c")
                    .bind("t", "k")
                    .default_for_tool(),
            );
            batch.update("a", SecretPatch::new().name("b").unbind());
            batch.update("b", SecretPatch::new().name("a"));
            batch.update("c", SecretPatch::new().name("d").location("/k"));
            batch.delete("b");
        })
        .unwrap();
    let names: Vec<Option<&str>> = infos
        .iter()
        .map(|info| info.as_ref().map(|info| &*info.secret_name))
        .collect();
    assert_eq!(names, [Some("c"), Some("b"), Some("a"), Some("d"), None]);
    let names: Vec<String> = user
        .secrets()
        .unwrap()
        .into_iter()
        .map(|info| info.secret_name)
        .collect();
    assert_eq!(
        names,
        ["b", "d"],
        "`b` meant what it meant before the batch"
    );
    assert_eq!(injected(&user, "t").as_deref(), Some("value-of-c"));
    vault.verify().unwrap();

    let made_and_gone = user.batch(|batch| {
        batch.create(NewSecret::new("e", "value-of-e"));
        batch.delete("e");
        batch.delete("d");
    });
    assert_eq!(made_and_gone.unwrap()[2], None);
    assert_eq!(user.secrets().unwrap().len(), 1);
    vault.verify().unwrap();
}

type Collect<'a> = &'a dyn Fn(&mut keyward::Batch<'_>);

#[test]
fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let vault = Vault::builder()
        .quota(Quota::default().user_secrets(3))
        .in_memory()
        .unwrap();
    let user = local(&vault);
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    user.create(NewSecret::new("b", "value-of-b")).unwrap();
    let before = (user.secrets().unwrap(), usage(&user));
    let new = |name: &str| NewSecret::new(name, "value-of-c");
    let cases: [(Collect<'_>, ErrorKind); 9] = [
        (&|batch| batch.create(new("b")), ErrorKind::NameTaken),
        (
            &|batch| {
                batch.create(new("c"));
                batch.create(new("c"));
            },
            ErrorKind::NameTaken,
        ),
        (
            &|batch| batch.create(new("c").bind("t", "/k").default_for_tool()),
            ErrorKind::DefaultTaken,
        ),
        (
            &|batch| {
                batch.delete("b");
                batch.create(new("c").bind("u", "k").default_for_tool());
                batch.create(new("d").bind("u", "k").default_for_tool());
            },
            ErrorKind::DefaultTaken,
        ),
        (
            &|batch| {
                batch.create(new("c"));
                batch.create(new("d"));
            },
            ErrorKind::QuotaExceeded,
        ),
        (
            &|batch| {
                batch.delete("a");
                batch.update("a", SecretPatch::new().name("c"));
            },
            ErrorKind::NotFound,
        ),
        (
            &|batch| {
                batch.delete("a");
                batch.delete("a");
            },
            ErrorKind::NotFound,
        ),
        (
            &|batch| {
                batch.delete("a");
                batch.update("b", SecretPatch::new().name("c").if_revision(2));
            },
            ErrorKind::Conflict,
        ),
        // The first that cannot be done is told.
        (
            &|batch| {
                batch.create(new("c"));
                batch.delete("nobody");
                batch.update("b", SecretPatch::new().name("d").if_revision(2));
            },
            ErrorKind::NotFound,
        ),
    ];
    for (i, (collect, kind)) in cases.into_iter().enumerate() {
        let error = user.batch(collect).unwrap_err();
        assert_eq!(error.kind(), kind, "case {i}: {error}");
        let names_the_second = error
            .to_string()
            .starts_with("operation 1 of the batch, counted from 0: ");
        let is_of_one = matches!(kind, ErrorKind::NotFound | ErrorKind::Conflict);
        assert_eq!(names_the_second, is_of_one, "{error}");
        assert_eq!((user.secrets().unwrap(), usage(&user)), before, "case {i}");
        vault.verify().unwrap();
    }
}

#[test]
fn a_batch_reports_every_invalid_field_with_its_operation() {
    let user = local(&vault());
    let locs = |collect: &dyn Fn(&mut Batch<'_>)| -> Vec<String> {
        let error = user.batch(|batch| collect(batch)).unwrap_err();
        let loc = |error: &FieldError| {
            let segments: Vec<String> = error.loc().iter().map(ToString::to_string).collect();
            segments.join(".")
        };
        error.field_errors().iter().map(loc).collect()
    };
    let by_themselves = locs(&|batch| {
        batch.create(NewSecret::new("", "abc"));
        batch.create(NewSecret::new("b", "value-of-b"));
        batch.update("b", SecretPatch::new().location("/~"));
    });
    assert_eq!(
        by_themselves,
        [
            "body.0.secret_name",
            "body.0.secret_value",
            "body.2.tool_arg"
        ]
    );
    let with_what_is_there = locs(&|batch| {
        for name in ["a", "b"] {
            batch.create(
                NewSecret::new(name, "value-of-it")
                    .bind("t", name)
                    .default_for_tool(),
            );
        }
        batch.update("a", SecretPatch::new().name("c").clear_tool_pattern());
        batch.update("c", SecretPatch::new().name("d"));
        batch.update(
            "b",
            SecretPatch::new().clear_tool_pattern().clear_location(),
        );
    });
    assert_eq!(
        with_what_is_there,
        ["body.2.tool_name", "body.4.tool_name", "body.4.tool_arg"]
    );
    let follows_from_another = locs(&|batch| {
        batch.create(NewSecret::new("c", "value-of-c"));
        batch.update(
            "c",
            SecretPatch::new()
                .tool_pattern("t")
                .is_default_for_tool(true),
        );
        batch.update(
            "c",
            SecretPatch::new().location("y").is_default_for_tool(true),
        );
    });
    assert_eq!(follows_from_another, ["body.1.is_default_for_tool"]);
    let of_one = locs(&|batch| batch.create(NewSecret::new("c", "value-of-c").default_for_tool()));
    assert_eq!(of_one, ["body.0.is_default_for_tool"]);
    user.create(
        NewSecret::new("d", "value-of-d")
            .bind("t", "d")
            .default_for_tool(),
    )
    .unwrap();
    let of_one = locs(&|batch| batch.update("d", SecretPatch::new().clear_location()));
    assert_eq!(of_one, ["body.0.tool_arg"]);
    let of_all_kinds = locs(&|batch| {
        batch.update("nobody", SecretPatch::new().value("value"));
        batch.update("d", SecretPatch::new().clear_location());
        batch.update("d", SecretPatch::new().clear_tool_pattern());
        batch.create(NewSecret::new("", "value-of-c"));
        batch.delete("nobody");
    });
    assert_eq!(of_all_kinds, ["body.1.tool_arg", "body.3.secret_name"]);
    let of_one_secret_again = locs(&|batch| {
        batch.update("d", SecretPatch::new().name("e").if_revision(99));
        batch.update("d", SecretPatch::new().name(""));
        batch.update("d", SecretPatch::new().value("abc").clear_location());
        batch.update("d", SecretPatch::new().clear_location());
    });
    assert_eq!(
        of_one_secret_again,
        ["body.1.secret_name", "body.2.secret_value"]
    );
    user.delete("d").unwrap();
    assert!(user.secrets().unwrap().is_empty());
    assert_eq!(user.batch(|_| {}).unwrap(), []);
}

#[test]
fn a_deleted_user_has_nothing() {
    let vault = vault();
    let (alice, bob) = (
        vault.user(ALICE.parse().unwrap()),
        vault.user(BOB.parse().unwrap()),
    );
    for user in [&alice, &bob] {
        user.create(
            NewSecret::new("a", "value-of-a")
                .bind("t", "k")
                .default_for_tool(),
        )
        .unwrap();
    }
    vault.delete_user(alice.id()).unwrap();
    let anchor = vault.anchor().unwrap();
    vault.delete_user(alice.id()).unwrap();
    assert_eq!(vault.anchor().unwrap(), anchor, "nothing is left to do");
    assert!(alice.secrets().unwrap().is_empty());
    assert_eq!(injected(&alice, "t"), None);
    assert_eq!(injected(&bob, "t").as_deref(), Some("value-of-a"));
    assert_eq!(vault.users().unwrap(), [bob.id()]);
    assert_eq!(vault.usage().unwrap(), bob.usage().unwrap());
    alice.create(NewSecret::new("a", "value-of-a")).unwrap();
    vault.verify().unwrap();
}

#[test]
fn a_locked_vault_says_so_to_every_call() {
    let opens = || KeySource::raw([7; 32]);
    let vault = Vault::builder().in_memory_with_key(opens()).unwrap();
    let (clone, user) = (vault.clone(), local(&vault));
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    let mut args = Map::new();
    let injection = user.inject(&ToolCall::new("t"), &mut args).unwrap();

    clone.lock().unwrap();
    clone.lock().unwrap();
    let call = ToolCall::new("t");
    let mut left = json!({"x": "secret://a"}).as_object().unwrap().clone();
    let mut schema = json!({"properties": {"k": {}}});
    let errors = [
        user.create(NewSecret::new("b", "value-of-b")).err(),
        user.update("a", SecretPatch::new()).err(),
        user.delete("a").err(),
        user.secret("a").err(),
        user.secrets().err(),
        user.batch(|batch| batch.delete("a")).err(),
        // Nor does it look at the request first.
        user.create(NewSecret::new("", "")).err(),
        user.update("a", SecretPatch::new().name("")).err(),
        user.batch(|batch| batch.create(NewSecret::new("", "")))
            .err(),
        user.usage().err(),
        user.secrets_after(None, 1).err(),
        user.inject(&call, &mut left).err(),
        user.inject_value(&call, &mut json!(left)).err(),
        user.inject_str(&call, &mut json!(left).to_string()).err(),
        user.redactor().err(),
        user.conceal("t", &mut schema).err(),
        user.explain(&call, &left).err(),
        user.explain_value(&call, &json!(left)).err(),
        user.explain_str(&call, &json!(left).to_string()).err(),
        user.check([("t", &schema)]).err(),
        user.load().err(),
        vault.users().err(),
        vault.usage().err(),
        vault.anchor().err(),
        vault.verify().err(),
        vault.compact().err(),
        vault.keys_locked_in_memory().err(),
        vault.delete_user(UserId::LOCAL).err(),
        vault.key_slots().err(),
        vault.add_key(opens(), KeySource::raw([8; 32])).err(),
        vault.change_key(opens(), KeySource::raw([8; 32])).err(),
        vault.remove_key_slot(0).err(),
        vault.rotate_master_key([opens()]).err(),
        vault.rotate_data_key(opens()).err(),
        clone.user(ALICE.parse().unwrap()).secrets().err(),
    ];
    for (i, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("call {i} worked"));
        assert_eq!(
            (error.kind(), error.http_status()),
            (ErrorKind::Locked, 423),
            "call {i}"
        );
    }
    assert_eq!(left["x"], "secret://a");
    assert_eq!(schema, json!({"properties": {"k": {}}}));
    assert_eq!(
        injection.redactor().redact("value-of-a"),
        "secret://a",
        "what was injected stays usable"
    );

    for wrong in [KeySource::raw([8; 32]), KeySource::passphrase("7")] {
        assert_kind(vault.unlock(wrong), ErrorKind::WrongKey);
        assert_kind(user.secrets(), ErrorKind::Locked);
    }
    vault.unlock(opens()).unwrap();
    assert_eq!(injected(&user, "t").as_deref(), Some("value-of-a"));
    assert_eq!(clone.usage().unwrap().secrets, 1);
    let id = user.secret("a").unwrap().secret_id;
    assert!(
        user.create(NewSecret::new("b", "value-of-b"))
            .unwrap()
            .secret_id
            > id
    );
    assert_kind(vault.unlock(KeySource::raw([8; 32])), ErrorKind::WrongKey);
    vault.unlock(opens()).unwrap();
    vault.verify().unwrap();
}

#[test]
fn a_vault_without_a_key_cannot_be_locked() {
    let vault = vault();
    let user = local(&vault);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    let key = || KeySource::raw([7; 32]);
    for (result, advice) in [
        (vault.lock(), "create it with one, or drop it"),
        (vault.unlock(key()), "use it as it is"),
        (vault.add_key(key(), key()).map(drop), "create it with one"),
        (vault.rotate_data_key(key()), "create it with one"),
        #[cfg(feature = "file")]
        (
            vault.backup("no-folder/copy"),
            "create it with one, or export it",
        ),
    ] {
        let error = assert_kind(result, ErrorKind::Unsupported).to_string();
        assert!(error.ends_with(&format!(": {advice}")), "{error}");
        assert_eq!(error.matches(": ").count(), 1, "{error}");
    }
    assert_eq!(user.secrets().unwrap().len(), 1);
}

#[test]
fn a_policy_can_turn_the_mask_off() {
    let user = local(&Vault::builder().mask_values(false).in_memory().unwrap());
    let info = user
        .create(NewSecret::new("a", "value-of-a-that-is-long"))
        .unwrap();
    assert_eq!(info.display, None);
    assert_eq!(serde_json::to_value(info).unwrap()["display"], json!(null));
}

#[test]
fn a_vault_crosses_threads_and_panics() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe + Clone>() {}
    fn shared<T: Send + Sync>() {}
    check::<Vault>();
    check::<UserVault>();
    check::<keyward::Resolver>();
    check::<keyward::Redactor>();
    shared::<keyward::Injection>();
    shared::<Error>();
}

#[test]
fn the_bounds_of_the_vault_hold_for_every_way_to_write() {
    let bounds = keyward::Bounds::default().max_value_chars(2_000);
    let vault = Vault::builder().bounds(bounds).in_memory().unwrap();
    let user = local(&vault);
    let (fits, too_long) = ("v".repeat(2_000), "v".repeat(2_001));
    user.create(NewSecret::new("a", &*fits)).unwrap();
    user.update("a", SecretPatch::new().value(&*fits)).unwrap();
    user.batch(|batch| {
        batch.create(NewSecret::new("b", &*fits));
        batch.update("a", SecretPatch::new().value(&*fits));
    })
    .unwrap();
    let json = |value: &str| format!(r#"{{"secret_value": "{value}"}}"#).into_bytes();
    assert!(SecretPatch::from_json_within(&mut json(&fits), vault.bounds()).is_ok());
    for error in [
        user.create(NewSecret::new("c", &*too_long)).err(),
        user.update("a", SecretPatch::new().value(&*too_long)).err(),
        user.batch(|batch| batch.create(NewSecret::new("c", &*too_long)))
            .err(),
        user.batch(|batch| batch.update("a", SecretPatch::new().value(&*too_long)))
            .err(),
        SecretPatch::from_json_within(&mut json(&too_long), vault.bounds()).err(),
    ] {
        assert_eq!(
            error.expect("an error").field_errors()[0].error_type(),
            "string_too_long"
        );
    }
    let mut schema = json!({"properties": {"k": {"type": "string", "maxLength": 1_500}}});
    user.create(
        NewSecret::new("k", "value-of-k")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    assert!(
        !user.conceal("t", &mut schema).unwrap().is_complete(),
        "a longer value could be put in"
    );
}

/// The bounds are those with which the vault is open: a value may come from a time when they were wider.
#[cfg(feature = "file")]
#[test]
fn a_value_beyond_the_bounds_is_reckoned_with_when_a_schema_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let key = || KeySource::raw([7; 32]);
    let wide = keyward::Bounds::default().max_value_chars(4_000);
    let vault = Vault::builder().bounds(wide).create(&path, key()).unwrap();
    let secret = NewSecret::new("k", "v".repeat(3_000)).bind("t", "k");
    vault
        .user(UserId::LOCAL)
        .create(secret.default_for_tool())
        .unwrap();
    drop(vault);
    let user = Vault::open(&path, key()).unwrap().user(UserId::LOCAL);
    for (most, hidden) in [(2_999, false), (3_000, true)] {
        let mut schema = json!({"properties": {"k": {"type": "string", "maxLength": most}}});
        let concealed = user.conceal("t", &mut schema).unwrap();
        assert_eq!(concealed.is_complete(), hidden, "{most}");
    }
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

#[test]
fn a_name_that_a_batch_gave_and_took_away_means_the_one_that_has_it_now() {
    let user = local(&vault());
    let infos = user.batch(|batch| {
        batch.create(NewSecret::new("x", "value-of-first"));
        batch.update("x", SecretPatch::new().name("y"));
        batch.create(NewSecret::new("x", "value-of-second"));
        batch.update("x", SecretPatch::new().bind("second", "k"));
        batch.create(NewSecret::new("z", "value-of-third"));
        batch.delete("z");
        batch.create(NewSecret::new("z", "value-of-fourth"));
        batch.update("z", SecretPatch::new().bind("fourth", "k"));
        batch.delete("y");
    });
    assert_eq!(infos.unwrap().len(), 9);
    let left = user.secrets().unwrap();
    let left: Vec<_> = left
        .iter()
        .map(|info| (&*info.secret_name, info.tool_name.as_deref()))
        .collect();
    assert_eq!(left, [("x", Some("second")), ("z", Some("fourth"))]);

    let gone = user.batch(|batch| {
        batch.create(NewSecret::new("a", "value-of-a"));
        batch.update("a", SecretPatch::new().name("b"));
        batch.delete("a");
    });
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}

/// If all changes so far were gone through for each name, this would take many minutes.
#[test]
fn a_batch_can_name_what_it_created_itself_again_and_again() {
    const MANY: usize = 20_000;
    let vault = Vault::builder().quota(Quota::unlimited()).in_memory();
    let user = vault.unwrap().user(UserId::LOCAL);
    let name = |i: usize| format!("name-{i}");
    let done = user.batch(|batch| {
        for i in 0..MANY {
            batch.create(NewSecret::new(name(i), "some-value"));
        }
        for again in 1..=10 {
            for i in 0..MANY {
                let patch = SecretPatch::new().name(format!("name-{}", i + again * MANY));
                batch.update(name(i + (again - 1) * MANY), patch);
            }
        }
        for i in 0..MANY {
            batch.delete(name(i + 10 * MANY));
        }
        batch.create(NewSecret::new(name(0), "some-value"));
    });
    assert_eq!(done.unwrap().len(), 12 * MANY + 1);
    assert_eq!(user.secrets().unwrap().len(), 1);
}

#[test]
fn a_batch_keeps_the_value_that_it_gave_before() {
    let user = local(&vault());
    let old = user
        .create(
            NewSecret::new("a", "value-of-a")
                .bind("t", "k")
                .default_for_tool(),
        )
        .unwrap();
    user.batch(|batch| {
        batch.update("a", SecretPatch::new().value("a-newer-value"));
        batch.update("a", SecretPatch::new().name("b"));
    })
    .unwrap();
    assert_eq!(injected(&user, "t").as_deref(), Some("a-newer-value"));
    let info = user.secret("b").unwrap();
    assert_eq!(usage(&user), (1, size(&info, "a-newer-value")));
    // The id of a secret that the batch deletes is free as a name.
    user.batch(|batch| {
        batch.delete(old.secret_id);
        batch.create(NewSecret::new(old.secret_id.to_string(), "value-of-c"));
    })
    .unwrap();
}

#[test]
fn a_user_whose_last_secret_went_is_no_user_of_the_vault() {
    let vault = vault();
    let user = local(&vault);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    assert_eq!(vault.users().unwrap(), [UserId::LOCAL]);
    user.delete("a").unwrap();
    assert!(vault.users().unwrap().is_empty());
}

/// Metrics and logs are kept by these names, and clients react to these statuses.
#[test]
fn every_kind_of_error_has_its_name_and_its_http_status() {
    for (kind, name, status) in [
        (ErrorKind::Validation, "validation", 422),
        (ErrorKind::NotFound, "not_found", 404),
        (ErrorKind::NameTaken, "name_taken", 409),
        (ErrorKind::DefaultTaken, "default_taken", 409),
        (ErrorKind::Conflict, "conflict", 409),
        (ErrorKind::QuotaExceeded, "quota_exceeded", 413),
        (ErrorKind::Denied, "denied", 403),
        (ErrorKind::Locked, "locked", 423),
        (ErrorKind::WrongKey, "wrong_key", 500),
        (ErrorKind::Corrupt, "corrupt", 500),
        (ErrorKind::RolledBack, "rolled_back", 500),
        (ErrorKind::UnsupportedVersion, "unsupported_version", 500),
        (ErrorKind::InUse, "in_use", 500),
        (ErrorKind::Storage, "storage", 500),
        (ErrorKind::Unsupported, "unsupported", 501),
    ] {
        assert_eq!((kind.as_str(), kind.http_status()), (name, status));
        assert_eq!(kind.to_string(), name);
    }
}

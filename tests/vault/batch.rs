//! Several operations, done as a whole or not at all.

use keyward::{Batch, ErrorKind, FieldError, NewSecret, Quota, SecretPatch, UserId, Vault};

use super::{injected, local, size, usage, vault};

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

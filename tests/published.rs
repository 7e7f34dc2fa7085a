//! What a write publishes is what loading from the store gives.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use keyward::{
    Explanation, KeySource, NewSecret, Quota, SecretInfo, SecretPatch, ToolCall, UserId, UserVault,
    Vault,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

const TOOLS: [&str; 4] = ["mail_send", "mail_read", "issue_make", "x"];
const PATTERNS: [&str; 6] = ["mail_send", "mail_*", "*_read", "*", "issue_????", "x"];

/// An operation on one of a few names, which may fail.
#[derive(Debug, Clone)]
enum Step {
    Create(u8, Option<(u8, u8)>),
    Value(u8, u16),
    Rebind(u8, (u8, u8)),
    NoDefault(u8),
    Rename(u8, u8),
    Exchange(u8, u8),
    Delete(u8),
    Many(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..12_u8;
    let place = || (0..6_u8, 0..3_u8);
    prop_oneof![
        4 => (name(), prop::option::of(place())).prop_map(|(n, at)| Step::Create(n, at)),
        1 => (name(), any::<u16>()).prop_map(|(n, value)| Step::Value(n, value)),
        2 => (name(), place()).prop_map(|(n, at)| Step::Rebind(n, at)),
        1 => name().prop_map(Step::NoDefault),
        1 => (name(), name()).prop_map(|(n, to)| Step::Rename(n, to)),
        1 => (name(), name()).prop_map(|(n, other)| Step::Exchange(n, other)),
        2 => name().prop_map(Step::Delete),
        1 => name().prop_map(Step::Many),
    ]
}

fn name(n: u8) -> String {
    format!("name-{n}")
}

fn pattern(place: (u8, u8)) -> &'static str {
    PATTERNS[usize::from(place.0)]
}

fn location(place: (u8, u8)) -> String {
    format!("at-{}", place.1)
}

/// It does not matter whether the step succeeds, only that the state is whole.
fn run(user: &UserVault, step: &Step) {
    let result = match step {
        Step::Create(n, at) => {
            let new = NewSecret::new(name(*n), format!("value-of-{n}"));
            user.create(match at {
                Some(at) => new.bind(pattern(*at), location(*at)).default_for_tool(),
                None => new,
            })
            .map(drop)
        }
        Step::Value(n, value) => {
            let patch = SecretPatch::new().value(format!("value-{value}"));
            user.update(name(*n), patch).map(drop)
        }
        Step::Rebind(n, at) => {
            let patch = SecretPatch::new()
                .bind(pattern(*at), location(*at))
                .is_default_for_tool(true);
            user.update(name(*n), patch).map(drop)
        }
        Step::NoDefault(n) => {
            let patch = SecretPatch::new().is_default_for_tool(false);
            user.update(name(*n), patch).map(drop)
        }
        Step::Rename(n, to) => user
            .update(name(*n), SecretPatch::new().name(name(*to)))
            .map(drop),
        Step::Exchange(n, other) => user
            .batch(|batch| {
                batch.update(name(*n), SecretPatch::new().name(name(*other)));
                batch.update(name(*other), SecretPatch::new().name(name(*n)));
            })
            .map(drop),
        Step::Delete(n) => user.delete(name(*n)).map(drop),
        // More than a resolver keeps aside.
        Step::Many(n) => user
            .batch(|batch| {
                for i in 0..80 {
                    let place = format!("{n}-{i}");
                    batch.create(
                        NewSecret::new(&*place, "value-of-many")
                            .bind("mail_*", &*place)
                            .default_for_tool(),
                    );
                }
            })
            .map(drop),
    };
    drop(result);
}

type Seen = (
    Vec<SecretInfo>,
    BTreeMap<&'static str, Map<String, Value>>,
    Vec<Explanation>,
);

fn see(user: &UserVault) -> Seen {
    let secrets = user.secrets().unwrap();
    for info in &secrets {
        assert_eq!(user.secret(&*info.secret_name).unwrap(), *info);
        assert_eq!(user.secret(info.secret_id).unwrap(), *info);
    }
    let filled = TOOLS.map(|tool| {
        let mut args = Map::new();
        let _ = user.inject(&ToolCall::new(tool), &mut args).unwrap();
        (tool, args)
    });
    let explained = TOOLS.map(|tool| user.explain(&ToolCall::new(tool), &Map::new()).unwrap());
    (secrets, filled.into(), explained.into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_published_is_what_is_loaded(steps in prop::collection::vec(step(), 1..40)) {
        let key = || KeySource::raw([7; 32]);
        let vault = Vault::builder().quota(Quota::unlimited()).in_memory_with_key(key()).unwrap();
        let user = vault.user(UserId::LOCAL);
        for step in &steps {
            run(&user, step);
            let published = see(&user);
            // Drops what was published, and loads it again.
            vault.lock().unwrap();
            vault.unlock(key()).unwrap();
            prop_assert_eq!(see(&user), published);
        }
        vault.verify().unwrap();
    }

    #[test]
    fn a_run_of_writes_publishes_what_is_loaded_at_its_end(steps in prop::collection::vec(step(), 1..120)) {
        let key = || KeySource::raw([7; 32]);
        let vault = Vault::builder().quota(Quota::unlimited()).in_memory_with_key(key()).unwrap();
        let user = vault.user(UserId::LOCAL);
        for step in &steps {
            run(&user, step);
        }
        let published = see(&user);
        vault.lock().unwrap();
        vault.unlock(key()).unwrap();
        prop_assert_eq!(see(&user), published);
    }
}

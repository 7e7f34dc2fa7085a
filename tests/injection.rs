//! What holds for every injection, whatever the secrets, the arguments and the policy.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{
    Error, ErrorKind, InjectionPolicy, Location, NewSecret, Origin, SecretInfo, ToolCall,
    ToolPattern, UserId, UserVault, Vault, inject::SkipReason,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PATTERNS: [Option<&str>; 6] = [
    None,
    Some("tool"),
    Some("t*"),
    Some("*"),
    Some("?ool"),
    Some("other"),
];
const LOCATIONS: [Option<&str>; 7] = [
    None,
    Some("a"),
    Some("/a/b"),
    Some("/b/0"),
    Some("/b/a"),
    Some("/c"),
    Some("/a/b/c"),
];

#[derive(Debug, Clone)]
struct Secret {
    pattern: Option<&'static str>,
    location: Option<&'static str>,
    is_default: bool,
    format: bool,
}

fn secret() -> impl Strategy<Value = Secret> {
    let parts = (
        prop::sample::select(&PATTERNS),
        prop::sample::select(&LOCATIONS),
        any::<bool>(),
        any::<bool>(),
    );
    parts.prop_map(|(pattern, location, is_default, format)| Secret {
        pattern,
        location,
        is_default: is_default && pattern.is_some() && location.is_some(),
        format,
    })
}

/// Arguments over few names, so that locations hit them; some ask for secrets, not all of which exist.
fn args() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        3 => (0..6_u8).prop_map(|n| json!(format!("secret://s{n}"))),
        2 => Just(Value::Null),
        1 => Just(json!("")),
        1 => Just(json!("text with secret://s0 in it")),
        1 => Just(json!(7)),
    ];
    let name = prop::sample::select(&["a", "b", "c", "0", "~/"][..]);
    let value = leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..3).prop_map(Value::from_iter),
        ]
    });
    let name = prop::sample::select(&["a", "b", "c", "d"][..]);
    prop::collection::vec((name, value), 0..4).prop_map(|members| {
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

fn policy() -> impl Strategy<Value = InjectionPolicy> {
    let policies = [
        InjectionPolicy::default(),
        InjectionPolicy::default().replace_supplied(),
        InjectionPolicy::default().refuse_supplied(),
        InjectionPolicy::default()
            .replace_supplied()
            .empty_is_absent(),
    ];
    prop::sample::select(policies.to_vec())
}

fn value(n: usize) -> String {
    format!("value-of-s{n}-{n:08}")
}

/// A user with those of the secrets that can exist together.
fn user(policy: InjectionPolicy, secrets: &[Secret]) -> UserVault {
    let user = Vault::builder()
        .injection_policy(policy)
        .in_memory()
        .unwrap()
        .user(UserId::LOCAL);
    for (n, secret) in secrets.iter().enumerate() {
        let mut new =
            NewSecret::new(format!("s{n}"), value(n)).is_default_for_tool(secret.is_default);
        if let Some(pattern) = secret.pattern {
            new = new.tool_pattern(pattern);
        }
        if let Some(location) = secret.location {
            new = new.location(location);
        }
        if secret.format {
            new = new.format("Bearer {}");
        }
        match user.create(new) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::DefaultTaken),
        }
    }
    user
}

/// Every place at which a string holds a value, by pointer, with the number of the secret.
fn places(value_at: &Value, pointer: &str, found: &mut Vec<(String, usize)>) {
    match value_at {
        Value::String(text) => {
            found.extend(
                (0..8)
                    .filter(|&n| text.contains(&value(n)))
                    .map(|n| (pointer.to_owned(), n)),
            );
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(member, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                places(element, &format!("{pointer}/{i}"), found);
            }
        }
        _ => {}
    }
}

fn may_go(info: &SecretInfo, location: &str, origin: Origin) -> bool {
    let open = origin == Origin::Workflow;
    let tool = info
        .tool_name
        .as_deref()
        .map_or(open, |text| ToolPattern::new(text).unwrap().matches("tool"));
    let place = info.tool_arg.as_deref().map_or(open, |text| {
        Location::new(text).unwrap().as_pointer() == location
    });
    tool && place
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn all_or_nothing_and_only_what_is_bound(
        secrets in prop::collection::vec(secret(), 0..6),
        before in args(),
        policy in policy(),
        workflow in any::<bool>(),
    ) {
        let user = user(policy, &secrets);
        let origin = if workflow { Origin::Workflow } else { Origin::Model };
        let call = ToolCall::new("tool").with_origin(origin);
        let mut args = before.clone();
        let result: Result<_, Error> = user.inject(&call, &mut args);
        let explanation = user.explain(&call, &before).unwrap();
        match result {
            Err(error) => {
                prop_assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Validation));
                prop_assert_eq!(&args, &before, "nothing was done");
                prop_assert_eq!(explanation.failure, Some(error.to_string()));
            }
            Ok(injection) => {
                prop_assert_eq!(explanation.failure, None);
                let mut found = Vec::new();
                places(&Value::Object(args.clone()), "", &mut found);
                for (pointer, n) in &found {
                    let info = user.secret(format!("s{n}")).unwrap();
                    prop_assert!(may_go(&info, pointer, origin), "{} went to {pointer}", info.secret_name);
                }
                let mut told: Vec<(String, usize)> = injection
                    .filled()
                    .iter()
                    .map(|filled| (filled.location().to_string(), filled.secret().secret_name[1..].parse().unwrap()))
                    .collect();
                found.sort();
                told.sort();
                prop_assert_eq!(found, told, "all that was put in is told, and nothing else");
                let mut redacted = Value::Object(args.clone());
                injection.redactor().redact_json(&mut redacted);
                prop_assert!(!redacted.to_string().contains("value-of-"));
                injection.wipe(&mut args);
                prop_assert_eq!(&args, &before, "what stood there before");
            }
        }
    }
}

/// References are found in the order of the elements, which is not that of their pointers.
#[test]
fn a_default_finds_the_reference_at_its_place_among_many() {
    const COUNT: usize = 30;
    let element = |number: usize| format!("/list/{number}");
    for place in 0..COUNT {
        let user = Vault::builder().in_memory().unwrap().user(UserId::LOCAL);
        user.create(NewSecret::new("asked", "value-of-asked"))
            .unwrap();
        let bound = NewSecret::new("bound", "value-of-bound")
            .tool_pattern("tool")
            .location(element(place))
            .is_default_for_tool(true);
        user.create(bound).unwrap();
        let mut args = Map::from_iter([("list".to_owned(), json!(vec!["secret://asked"; COUNT]))]);
        let call = ToolCall::new("tool").with_origin(Origin::Workflow);
        let injection = user.inject(&call, &mut args).unwrap();
        assert_eq!(args["list"], json!(vec!["value-of-asked"; COUNT]));
        let [skipped] = injection.skipped() else {
            panic!("{:?}", injection.skipped());
        };
        assert_eq!(skipped.location().as_pointer(), element(place));
        assert_eq!(skipped.reason(), SkipReason::Reference);
    }
}

//! Property: for any secrets, arguments, schema, policy and origin,
//!
//! 1. `inject` does all or nothing: after an error the arguments are as they were, and the error is `Denied` or
//!    `Validation`;
//! 2. a reference that is not granted by the rules as they are written fails the call, in the same words whether the
//!    secret exists or not, unless the arguments are too deep, which is reported first;
//! 3. where something was put in, there is exactly one secret's value in its format, of a secret that is bound
//!    there; nothing else has changed, except for parents that were made;
//! 4. what was put in is not looked at again, even if it looks like a reference;
//! 5. the redactor finds all of it, and `wipe` restores what was there;
//! 6. the best default of each location goes in where the call has no value, or one that is replaced, and the schema
//!    declares text; and no other does;
//! 7. `explain`, `inject_value` and `inject_str` agree with `inject`.

#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use keyward::{
    ErrorKind, InjectionPolicy, Location, NewSecret, Origin, SecretInfo, ToolCall, ToolPattern,
    UserId, UserVault, Vault, inject::Reason,
};
use keyward_fuzz::{
    defaults::{self, Best, Supplied},
    json::{Node, pick},
    schema::Schema,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
struct Input {
    secrets: Vec<Secret>,
    args: Vec<(u8, Node)>,
    schema: Option<Schema>,
    workflow: bool,
    supplied: u8,
    empty_is_absent: bool,
}

#[derive(Arbitrary, Debug)]
struct Secret {
    pattern: u8,
    location: u8,
    is_default: bool,
    format: bool,
    /// Whether the value looks like a reference to another secret.
    like_a_reference: Option<u8>,
}

const PATTERNS: [Option<&str>; 6] = [
    None,
    Some("tool"),
    Some("t*"),
    Some("*"),
    Some("?ool"),
    Some("other"),
];

const LOCATIONS: [Option<&str>; 9] = [
    None,
    Some("a"),
    Some("/a/b"),
    Some("/a/b/c"),
    Some("/b/0"),
    Some("/b/a"),
    Some("c"),
    Some("/c/a"),
    Some("/a/secret:~1~1s0"),
];

const NAMES: [&str; 6] = ["a", "b", "c", "d", "0", "secret://s0"];

const STRINGS: [&str; 12] = [
    "",
    "secret://s0",
    "secret://s1",
    "secret://s2",
    "secret://s3",
    "secret://s4",
    "secret://s5",
    "secret://no-such-secret",
    "secret://",
    "text with secret://s0 in it",
    "Secret://s0",
    "text",
];

fuzz_target!(|input: Input| {
    let supplied = [Supplied::Keep, Supplied::Replace, Supplied::Refuse];
    let supplied = pick(&supplied, input.supplied);
    let policy = match supplied {
        Supplied::Keep => InjectionPolicy::default(),
        Supplied::Replace => InjectionPolicy::default().replace_supplied(),
        Supplied::Refuse => InjectionPolicy::default().refuse_supplied(),
    };
    let policy = if input.empty_is_absent {
        policy.empty_is_absent()
    } else {
        policy
    };
    let builder = Vault::builder().injection_policy(policy);
    let vault = builder.in_memory().expect("a vault");
    let user = vault.user(UserId::LOCAL);
    let secrets = create(&user, &input.secrets);
    let origin = if input.workflow {
        Origin::Workflow
    } else {
        Origin::Model
    };
    let schema = input.schema.as_ref().and_then(Schema::value);
    let mut call = ToolCall::new("tool").with_origin(origin);
    if let Some(schema) = &schema {
        call = call.with_schema(schema);
    }
    let members = input.args.iter().take(8);
    let before: Map<String, Value> = members
        .map(|(name, node)| (pick(&NAMES, *name).to_owned(), node.value(&NAMES, &STRINGS)))
        .collect();

    let mut references = Vec::new();
    visit(&Value::Object(before.clone()), "", &mut |pointer, text| {
        if let Some(name) = text.strip_prefix("secret://") {
            let secret = secrets.get(name);
            let granted = secret.is_some_and(|(info, _)| may_go(info, pointer, origin));
            references.push((pointer.to_owned(), granted));
        }
    });

    let mut args = before.clone();
    let result = user.inject(&call, &mut args);
    let explained = user.explain(&call, &before).expect("an explanation");
    let mut as_value = Value::Object(before.clone());
    let value_result = user.inject_value(&call, &mut as_value);
    let text = Value::Object(before.clone()).to_string();
    let mut as_text = text.clone();
    let text_result = user.inject_str(&call, &mut as_text);

    let injection = match result {
        Ok(injection) => injection,
        Err(error) => {
            assert_eq!(args, before, "nothing was done");
            assert!(matches!(
                error.kind(),
                ErrorKind::Denied | ErrorKind::Validation
            ));
            assert_eq!(explained.failure, Some(error.to_string()));
            let others = [value_result.unwrap_err(), text_result.unwrap_err()];
            for other in others {
                assert_eq!(format!("{other:?}"), format!("{error:?}"));
            }
            assert_eq!((as_value, as_text), (Value::Object(before.clone()), text));
            if depth(&Value::Object(before.clone())) > DEPTH {
                assert_eq!(error.kind(), ErrorKind::Validation);
            } else if references.iter().any(|(_, granted)| !granted) {
                assert_eq!(error.kind(), ErrorKind::Denied);
                let words = format!("{error} {error:?}");
                assert_eq!(words, without_secrets(&vault, &call, before, &references));
            }
            return;
        }
    };
    assert!(
        references.iter().all(|(_, granted)| *granted),
        "{references:?}"
    );
    assert_eq!(explained.failure, None);
    assert_eq!(as_value, Value::Object(args.clone()));
    // By default serde_json reads one level less than keyward accepts.
    if depth(&as_value) + 1 < DEPTH {
        let read: Value = serde_json::from_str(&as_text).expect("JSON");
        assert_eq!(read, as_value);
    }

    let mut filled = BTreeMap::new();
    for place in injection.filled() {
        let pointer = place.location().as_pointer();
        let (info, text) = &secrets[&place.secret().secret_name];
        assert!(
            may_go(info, pointer, origin),
            "{} at {pointer}",
            place.secret().secret_name
        );
        assert!(filled.insert(pointer.to_owned(), text.clone()).is_none());
    }
    let after = Value::Object(args.clone());
    only_filled(Some(&Value::Object(before.clone())), &after, "", &filled);
    for (pointer, text) in &filled {
        let found = after.pointer(pointer).and_then(Value::as_str);
        assert_eq!(found, Some(text.as_str()), "at {pointer}");
    }
    visit(&after, "", &mut |pointer, text| {
        let is_a_value = secrets
            .values()
            .any(|(_, value)| text.contains(value.as_str()));
        let was_there = Value::Object(before.clone())
            .pointer(pointer)
            .is_some_and(|before| before == text);
        assert!(
            !is_a_value || was_there || filled.contains_key(pointer),
            "a value at {pointer}"
        );
    });

    let by_default = injection.filled().iter();
    let by_default = by_default.filter(|filled| filled.reason() == Reason::Default);
    let by_default = by_default.map(|filled| {
        (
            filled.location().as_pointer(),
            &*filled.secret().secret_name,
        )
    });
    let from_model = origin == Origin::Model;
    let rules = defaults::Call {
        args: &before,
        schema: schema.as_ref(),
        supplied: if from_model { supplied } else { Supplied::Keep },
        empty_is_absent: input.empty_is_absent && from_model,
        references: references.iter().map(|(pointer, _)| &**pointer).collect(),
    };
    let best = best_defaults(&secrets);
    let best = best.iter().map(|(pointer, name)| Best { pointer, name });
    defaults::check(best.collect(), &rules, &by_default.collect());

    let mut redacted = after.clone();
    injection.redactor().redact_json(&mut redacted);
    // The fuzzer finds the mark by itself, from comparisons with it.
    let marked = Value::Object(before.clone()).to_string().contains(MARK);
    assert!(marked || !redacted.to_string().contains(MARK), "{redacted}");
    injection.wipe(&mut args);
    assert_eq!(args, before, "what stood there before");
    value_result.expect("as before").wipe_value(&mut as_value);
    assert_eq!(as_value, Value::Object(before));
    text_result.expect("as before").wipe_str(&mut as_text);
    assert_eq!(as_text, text);
});

/// How deeply arguments may be nested.
const DEPTH: usize = 128;

/// A mark in every value that does not look like a reference, and in hardly any argument.
const MARK: &str = "Zq8wT3vN";

/// Creates those of the secrets that can exist together. Returns them by name, with what is put in for each.
fn create(user: &UserVault, secrets: &[Secret]) -> BTreeMap<String, (SecretInfo, String)> {
    let mut created = BTreeMap::new();
    for (n, secret) in secrets.iter().take(6).enumerate() {
        let value = match secret.like_a_reference {
            Some(other) => format!("secret://s{}", other % 7),
            None => format!("{MARK}-of-s{n}"),
        };
        let (pattern, location) = (
            pick(&PATTERNS, secret.pattern),
            pick(&LOCATIONS, secret.location),
        );
        let is_default = secret.is_default && pattern.is_some() && location.is_some();
        let mut new =
            NewSecret::new(format!("s{n}"), value.as_str()).is_default_for_tool(is_default);
        if let Some(pattern) = pattern {
            new = new.tool_pattern(pattern);
        }
        if let Some(location) = location {
            new = new.location(location);
        }
        if secret.format {
            new = new.format("Bearer {}");
        }
        let text = if secret.format {
            format!("Bearer {value}")
        } else {
            value
        };
        match user.create(new) {
            Ok(info) => {
                created.insert(info.secret_id.to_string(), (info.clone(), text.clone()));
                created.insert(info.secret_name.clone(), (info, text));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::DefaultTaken),
        }
    }
    created
}

/// The name of the best default for each location, by the precedence of the patterns of this target.
fn best_defaults(secrets: &BTreeMap<String, (SecretInfo, String)>) -> BTreeMap<String, String> {
    let mut best: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (info, _) in secrets
        .values()
        .filter(|(info, _)| info.is_default_for_tool)
    {
        let (Some(tool), Some(arg)) = (&info.tool_name, &info.tool_arg) else {
            panic!("a default without a binding");
        };
        let order = ["tool", "?ool", "t*", "*"];
        let Some(rank) = order.iter().position(|pattern| pattern == tool) else {
            continue;
        };
        let location = Location::new(arg).expect("a location");
        let entry = best.entry(location.as_pointer().to_owned());
        let this = (rank, info.secret_name.clone());
        let best = entry.or_insert_with(|| this.clone());
        *best = this.min(best.clone());
    }
    let names = best.into_iter();
    names.map(|(pointer, (_, name))| (pointer, name)).collect()
}

fn may_go(info: &SecretInfo, pointer: &str, origin: Origin) -> bool {
    let open = origin == Origin::Workflow;
    let tool = info.tool_name.as_deref().map_or(open, |text| {
        ToolPattern::new(text).expect("a pattern").matches("tool")
    });
    let place = info.tool_arg.as_deref().map_or(open, |text| {
        Location::new(text).expect("a location").as_pointer() == pointer
    });
    tool && place
}

/// The error that a user without secrets gets for the same call, with only those references that are not granted.
fn without_secrets(
    vault: &Vault,
    call: &ToolCall<'_>,
    mut args: Map<String, Value>,
    references: &[(String, bool)],
) -> String {
    for (pointer, _) in references.iter().filter(|(_, granted)| *granted) {
        let (name, rest) = pointer[1..].split_once('/').map_or_else(
            || (&pointer[1..], String::new()),
            |(name, rest)| (name, format!("/{rest}")),
        );
        let name = name.replace("~1", "/").replace("~0", "~");
        let value = args
            .get_mut(&name)
            .and_then(|value| value.pointer_mut(&rest));
        *value.expect("there was a reference") = Value::Null;
    }
    let nobody = vault.user(UserId::new(Uuid::from_u128(1)));
    let error = nobody.inject(call, &mut args).expect_err("denied as well");
    format!("{error} {error:?}")
}

/// Visits every string, with its pointer.
fn visit(value: &Value, pointer: &str, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => see(pointer, text),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                visit(item, &format!("{pointer}/{i}"), see);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                visit(member, &below(pointer, name), see);
            }
        }
        _ => {}
    }
}

/// How many keys and indices lead to the deepest value.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| 1 + depth(item)).max().unwrap_or(0),
        Value::Object(members) => members
            .values()
            .map(|member| 1 + depth(member))
            .max()
            .unwrap_or(0),
        _ => 0,
    }
}

fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Returns whether nothing differs except where something was put in, and parents that were made for it.
fn only_filled(
    before: Option<&Value>,
    after: &Value,
    pointer: &str,
    filled: &BTreeMap<String, String>,
) {
    if filled.contains_key(pointer) {
        return;
    }
    match (before, after) {
        (Some(Value::Array(before)), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "at {pointer}");
            for (i, after) in after.iter().enumerate() {
                only_filled(before.get(i), after, &format!("{pointer}/{i}"), filled);
            }
        }
        (Some(Value::Object(before)), Value::Object(after)) => {
            assert!(before.keys().all(|name| after.contains_key(name)));
            for (name, after) in after {
                only_filled(before.get(name), after, &below(pointer, name), filled);
            }
        }
        (None | Some(Value::Null), Value::Object(after)) => {
            assert!(!after.is_empty(), "a parent of nothing at {pointer}");
            for (name, after) in after {
                only_filled(None, after, &below(pointer, name), filled);
            }
        }
        (before, after) => assert_eq!(before, Some(after), "at {pointer}"),
    }
}

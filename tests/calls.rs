//! What a call gets, as a table in `calls.toml`, and what must hold for every call.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{
    ErrorKind, Injection, InjectionPolicy, NewSecret, Origin, SecretPatch, ToolCall, UserId,
    UserVault, Vault, explain::Outcome,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

#[derive(Deserialize)]
struct Suite {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    secrets: Vec<String>,
    tool: String,
    origin: Option<String>,
    supplied: Option<String>,
    #[serde(default)]
    empty_is_absent: bool,
    schema: Option<String>,
    args: String,
    after: Option<String>,
    #[serde(default)]
    filled: Vec<String>,
    #[serde(default)]
    skipped: Vec<String>,
    error: Option<String>,
}

fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).expect("an object")
}

impl Case {
    fn user(&self) -> UserVault {
        let mut policy = InjectionPolicy::default();
        if self.empty_is_absent {
            policy = policy.empty_is_absent();
        }
        policy = match self.supplied.as_deref() {
            // The last choice counts, whatever was chosen before.
            None => policy.refuse_supplied().keep_supplied(),
            Some("replace") => policy.replace_supplied(),
            Some("refuse") => policy.refuse_supplied(),
            Some(other) => panic!("{}: no policy {other}", self.name),
        };
        let user = Vault::builder()
            .injection_policy(policy)
            .in_memory()
            .unwrap()
            .user(UserId::LOCAL);
        for secret in &self.secrets {
            user.create(new_secret(secret))
                .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        }
        user
    }

    fn values(&self) -> Vec<&str> {
        self.secrets
            .iter()
            .map(|secret| secret.split_once('=').unwrap().1.split(' ').next().unwrap())
            .collect()
    }
}

fn new_secret(text: &str) -> NewSecret {
    let (text, format) = match text.split_once(" format ") {
        Some((text, format)) => (text, Some(format)),
        None => (text, None),
    };
    let (name, rest) = text.split_once('=').unwrap();
    let mut parts = rest.split(' ');
    let mut secret = NewSecret::new(name, parts.next().unwrap());
    match parts.next().unwrap() {
        "-" => {}
        pattern => secret = secret.tool_pattern(pattern),
    }
    match parts.next().unwrap() {
        "-" => {}
        location => secret = secret.location(location),
    }
    match parts.next() {
        None => {}
        Some("default") => secret = secret.default_for_tool(),
        Some(other) => panic!("{other}"),
    }
    match format {
        Some(format) => secret.format(format),
        None => secret,
    }
}

fn filled(injection: &Injection) -> Vec<String> {
    let line = |filled: &keyward::inject::Filled| {
        format!(
            "{} {} {}",
            filled.location(),
            filled.secret().secret_name,
            filled.reason()
        )
    };
    injection.filled().iter().map(line).collect()
}

fn skipped(injection: &Injection) -> Vec<String> {
    let line = |skipped: &keyward::inject::Skipped| {
        let reason = serde_json::to_value(skipped.reason()).unwrap();
        format!(
            "{} {} {}",
            skipped.location(),
            skipped.secret().secret_name,
            reason.as_str().unwrap()
        )
    };
    injection.skipped().iter().map(line).collect()
}

#[test]
fn every_call_gets_what_the_table_says() {
    let suite: Suite =
        toml::from_str(include_str!("calls.toml")).expect("calls.toml is well-formed");
    assert!(suite.case.len() > 50);
    for case in &suite.case {
        let name = &case.name;
        let user = case.user();
        let schema: Option<Value> = case
            .schema
            .as_deref()
            .map(|schema| serde_json::from_str(schema).unwrap());
        let mut call = ToolCall::new(&case.tool);
        if let Some(schema) = &schema {
            call = call.with_schema(schema);
        }
        if case.origin.as_deref() == Some("workflow") {
            call = call.with_origin(Origin::Workflow);
        }
        let before = object(&case.args);
        let mut args = before.clone();
        let explanation = user.explain(&call, &args).unwrap();
        let result = user.inject(&call, &mut args);
        match (&case.error, result) {
            (Some(kind), Err(error)) => {
                assert_eq!(format!("{:?}", error.kind()), *kind, "{name}");
                assert_eq!(args, before, "{name}: all or nothing");
                assert_eq!(explanation.failure, Some(error.to_string()), "{name}");
                assert_no_value(case, &format!("{error} {error:?}"));
                for form in forms(&case.args) {
                    let mut args = form.clone();
                    let failed = args.inject(&user, &call).unwrap_err();
                    assert_eq!(args, form, "{name}: all or nothing");
                    assert_eq!(failed.to_string(), error.to_string(), "{name}");
                }
            }
            (None, Ok(injection)) => {
                let after = object(case.after.as_deref().expect("arguments after the call"));
                assert_eq!(args, after, "{name}");
                assert_eq!(filled(&injection), case.filled, "{name}");
                assert_eq!(skipped(&injection), case.skipped, "{name}");
                assert_eq!(explanation.failure, None, "{name}");
                check_explanation(case, &injection, &explanation);
                check_redaction(case, &injection, &args);
                injection.wipe(&mut args);
                assert_eq!(args, before, "{name}: what stood there before");
                assert_no_value(case, &format!("{injection:?}"));
                for form in forms(&case.args) {
                    let mut args = form.clone();
                    let same = args.inject(&user, &call).unwrap();
                    assert_eq!(args.read(), after, "{name}: {form:?}");
                    assert_eq!(filled(&same), case.filled, "{name}: {form:?}");
                    assert_eq!(skipped(&same), case.skipped, "{name}: {form:?}");
                    args.wipe(&same);
                    assert_eq!(args, form, "{name}: what stood there before");
                }
            }
            (expected, result) => panic!("{name}: expected {expected:?}, got {result:?}"),
        }
        assert_no_value(
            case,
            &format!("{explanation} {explanation:?} {}", json!(explanation)),
        );
    }
}

/// Arguments in forms other than a map.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Value(Value),
    Text(String),
}

fn forms(args: &str) -> [Form; 3] {
    let value = Value::Object(object(args));
    [
        Form::Text(args.to_owned()),
        Form::Text(format!("{value:#}\n")),
        Form::Value(value),
    ]
}

impl Form {
    fn inject(
        &mut self,
        user: &UserVault,
        call: &ToolCall<'_>,
    ) -> Result<Injection, keyward::Error> {
        match self {
            Form::Value(args) => user.inject_value(call, args),
            Form::Text(args) => user.inject_str(call, args),
        }
    }

    fn wipe(&mut self, injection: &Injection) {
        match self {
            Form::Value(args) => injection.wipe_value(args),
            Form::Text(args) => injection.wipe_str(args),
        }
    }

    fn read(&self) -> Map<String, Value> {
        match self {
            Form::Value(args) => args.as_object().unwrap().clone(),
            Form::Text(args) => object(args),
        }
    }
}

fn assert_no_value(case: &Case, text: &str) {
    for value in case.values() {
        assert!(!text.contains(value), "{}: {text} holds {value}", case.name);
    }
}

/// What `explain` says would happen is what `inject` did.
fn check_explanation(case: &Case, injection: &Injection, explanation: &keyward::Explanation) {
    let filled = injection.filled().iter();
    let filled = filled.map(|f| (f.location(), f.secret().secret_id, Outcome::Filled));
    let skipped = injection.skipped().iter();
    let skipped = skipped.map(|s| {
        let outcome = Outcome::Skipped(s.reason());
        (s.location(), s.secret().secret_id, outcome)
    });
    let mut done: Vec<_> = filled.chain(skipped).collect();
    let references = explanation.references.iter();
    let references = references.map(|r| (&r.location, r.secret_id.unwrap(), r.outcome));
    let locations = explanation.locations.iter();
    let locations = locations.map(|l| (&l.location, l.candidates[0].secret_id, l.outcome));
    let mut explained: Vec<_> = references.chain(locations).collect();
    done.sort_by_key(|(location, id, _)| (*location, *id));
    explained.sort_by_key(|(location, id, _)| (*location, *id));
    assert_eq!(explained, done, "{}", case.name);
    assert_eq!(explanation.failure, None, "{}", case.name);
}

/// The redactor knows exactly the values that were put in.
fn check_redaction(case: &Case, injection: &Injection, args: &Map<String, Value>) {
    let mut value = Value::Object(args.clone());
    injection.redactor().redact_json(&mut value);
    let put_in: Vec<&str> = case
        .secrets
        .iter()
        .filter(|secret| {
            let name = secret.split_once('=').unwrap().0;
            injection
                .filled()
                .iter()
                .any(|filled| filled.secret().secret_name == name)
        })
        .map(|secret| secret.split_once('=').unwrap().1.split(' ').next().unwrap())
        .collect();
    let formats = case
        .secrets
        .iter()
        .filter(|secret| secret.contains(" format "))
        .count();
    assert_eq!(
        injection.redactor().len(),
        put_in.len() + formats,
        "{}",
        case.name
    );
    for secret in put_in
        .iter()
        .filter(|value| !value.starts_with("secret://"))
    {
        assert!(
            !value.to_string().contains(secret),
            "{}: {value}",
            case.name
        );
    }
}

#[test]
fn a_reference_by_id_is_one_to_that_secret() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let first = user
        .create(NewSecret::new("first", "value-of-first").bind("t", "k"))
        .unwrap();
    let id = first.secret_id.to_string();
    for text in [id.clone(), id.to_uppercase()] {
        let mut args = json!({"k": format!("secret://{text}")})
            .as_object()
            .unwrap()
            .clone();
        let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
        assert_eq!(args["k"], "value-of-first");
    }
    // The id of a deleted secret is a name like any other.
    user.delete(first.secret_id).unwrap();
    user.create(NewSecret::new(&id, "value-of-second").bind("t", "k"))
        .unwrap();
    let mut args = json!({"k": format!("secret://{id}")})
        .as_object()
        .unwrap()
        .clone();
    let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
    assert_eq!(args["k"], "value-of-second");
}

#[test]
fn a_denial_tells_nothing() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    user.create(NewSecret::new("bound", "value-of-bound").bind("other", "k"))
        .unwrap();
    let stranger = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let deny = |user: &UserVault| {
        let mut args = json!({"k": "secret://bound"}).as_object().unwrap().clone();
        let error = user.inject(&ToolCall::new("t"), &mut args).unwrap_err();
        assert_eq!(
            (error.kind(), error.http_status()),
            (ErrorKind::Denied, 403)
        );
        assert!(std::error::Error::source(&error).is_none());
        assert!(error.field_errors().is_empty() && error.quota().is_none());
        format!("{error} / {error:?} / {error:#?}")
    };
    assert_eq!(deny(&user), deny(&stranger));
    assert!(
        !deny(&user).contains("bound\""),
        "the model's own text is not repeated"
    );
}

#[test]
fn another_user_s_secrets_do_not_exist() {
    let vault = Vault::in_memory().unwrap();
    let alice = vault.user("6f2c1b6e-6a0e-4d0a-9f3e-2b8a4a9f5f10".parse().unwrap());
    let bob = vault.user("0b0e5c64-52a0-4f5e-8f6b-0c9ff1f8c0aa".parse().unwrap());
    let info = alice
        .create(
            NewSecret::new("k", "value-of-alice")
                .bind("*", "k")
                .default_for_tool(),
        )
        .unwrap();
    let mut args = Map::new();
    let injection = bob.inject(&ToolCall::new("t"), &mut args).unwrap();
    assert!(injection.filled().is_empty() && args.is_empty());
    for reference in ["k".to_owned(), info.secret_id.to_string()] {
        let mut args = json!({"k": format!("secret://{reference}")})
            .as_object()
            .unwrap()
            .clone();
        assert_eq!(
            bob.inject(&ToolCall::new("t"), &mut args)
                .unwrap_err()
                .kind(),
            ErrorKind::Denied
        );
    }
}

#[test]
fn what_was_filled_names_the_secret_and_its_revision() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let info = user
        .create(
            NewSecret::new("a", "value-of-a")
                .bind("t*", "k")
                .default_for_tool(),
        )
        .unwrap();
    user.update(&info, keyward::SecretPatch::new().value("new-value-of-a"))
        .unwrap();
    let mut args = Map::new();
    let injection = user.inject(&ToolCall::new("tool"), &mut args).unwrap();
    assert_eq!(
        serde_json::to_value(injection.filled()).unwrap(),
        json!([{
            "location": "/k", "secret_id": info.secret_id, "secret_name": "a", "revision": 2, "pattern": "t*",
            "reason": "default", "replaced": false,
        }])
    );
    assert_eq!(
        injection.redactor().redact("x new-value-of-a y"),
        "x secret://a y"
    );
    assert_eq!(
        injection.redactor().redact("x value-of-a y"),
        "x value-of-a y",
        "the old value was not put in"
    );
}

#[test]
fn the_redactor_knows_a_value_bare_and_with_its_format() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let new = |name: &str, value: &str, format: &str| {
        NewSecret::new(name, value)
            .bind("t", name)
            .default_for_tool()
            .format(format)
    };
    user.create(new("pin", "hu4711", "tok_{}")).unwrap();
    user.create(new("key", "value-of-key", "Bearer {}"))
        .unwrap();
    let injection = user.inject(&ToolCall::new("t"), &mut Map::new()).unwrap();
    for (output, redacted) in [
        ("bad tok_hu4711", "bad secret://pin"),
        ("hu4711", "secret://pin"),
        ("bad hu47110", "bad hu47110"),
        (
            "Authorization: Bearer value-of-key",
            "Authorization: secret://key",
        ),
        ("Authorization: value-of-key", "Authorization: secret://key"),
    ] {
        assert_eq!(injection.redactor().redact(output), redacted);
    }
    let redactor = injection.into_redactor();
    assert_eq!(redactor.redact("hu4711"), "secret://pin");
}

/// A map that takes any name declares none, so nothing is filled in there for a model that leaves the value out.
#[test]
fn who_is_refused_a_value_learns_what_becomes_of_the_argument() {
    let text = json!({"type": "string"});
    let declared = json!({"properties": {"headers": {"properties": {"Authorization": text}}}});
    let any_name = json!({"properties": {"headers": {"additionalProperties": text}}});
    for (policy, schema, says) in [
        (
            InjectionPolicy::default().refuse_supplied(),
            None,
            "is filled in automatically",
        ),
        (
            InjectionPolicy::default().refuse_supplied(),
            Some(&declared),
            "is filled in automatically",
        ),
        (
            InjectionPolicy::default().refuse_supplied(),
            Some(&any_name),
            "declares no text",
        ),
        (
            InjectionPolicy::default().replace_supplied(),
            Some(&any_name),
            "declares no text",
        ),
    ] {
        let vault = Vault::builder()
            .injection_policy(policy)
            .in_memory()
            .unwrap();
        let user = vault.user(UserId::LOCAL);
        let secret = NewSecret::new("a", "value-of-a").bind("t", "/headers/Authorization");
        user.create(secret.default_for_tool()).unwrap();
        let call = |args: &mut Value| {
            let call = ToolCall::new("t");
            match schema {
                Some(schema) => user.inject_value(&call.with_schema(schema), args),
                None => user.inject_value(&call, args),
            }
        };
        let error = call(&mut json!({"headers": {"Authorization": "theirs"}})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains(says), "{error}");
        // What it says is so: the argument can be left out, and a reference is granted.
        let filled = call(&mut json!({"headers": {}})).unwrap().filled().len();
        assert_eq!(filled == 1, says.contains("filled"), "{error}");
        let reference = json!({"headers": {"Authorization": "secret://a"}});
        assert_eq!(call(&mut reference.clone()).unwrap().filled().len(), 1);
    }
}

#[test]
fn the_redactor_of_a_user_knows_all_values_that_the_user_has() {
    let vault = Vault::in_memory().unwrap();
    let (user, other) = (
        vault.user(UserId::LOCAL),
        vault.user(UserId::new(Uuid::from_u128(9))),
    );
    for secret in [
        NewSecret::new("bound", "value-of-bound")
            .bind("t", "k")
            .default_for_tool(),
        NewSecret::new("formatted", "hu4711")
            .bind("t", "x")
            .format("tok_{}"),
        NewSecret::new("free", "value-of-free"),
        NewSecret::new("updated", "value-before"),
        NewSecret::new("deleted", "value-of-deleted"),
    ] {
        user.create(secret).unwrap();
    }
    other
        .create(NewSecret::new("other", "value-of-other"))
        .unwrap();
    user.update("updated", SecretPatch::new().value("value-after"))
        .unwrap();
    user.delete("deleted").unwrap();
    let redactor = user.redactor().unwrap();
    user.create(NewSecret::new("later", "value-of-later"))
        .unwrap();
    for (text, redacted) in [
        ("value-of-bound", "secret://bound"),
        ("tok_hu4711 hu4711", "secret://formatted secret://formatted"),
        ("value-of-free", "secret://free"),
        ("value-before value-after", "value-before secret://updated"),
        ("value-of-deleted", "value-of-deleted"),
        ("value-of-other", "value-of-other"),
        ("value-of-later", "value-of-later"),
    ] {
        assert_eq!(redactor.redact(text), redacted);
    }
}

#[test]
fn an_injection_into_arguments_that_were_not_wiped_takes_them_as_they_are() {
    let policy = InjectionPolicy::default().replace_supplied();
    let user = Vault::builder()
        .injection_policy(policy)
        .in_memory()
        .unwrap()
        .user(UserId::LOCAL);
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    let mut args = Map::new();
    let first = user.inject(&ToolCall::new("t"), &mut args).unwrap();
    let second = user.inject(&ToolCall::new("t"), &mut args).unwrap();
    second.wipe(&mut args);
    assert_eq!(args["k"], "value-of-a");
    first.wipe(&mut args);
    assert!(args.is_empty());
}

#[test]
fn what_the_model_wrote_cannot_forge_a_line_of_a_log() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let key = "x\n2026-01-01 granted\u{1b}[31m".repeat(50);
    let mut args = Map::from_iter([(key, json!("secret://a"))]);
    let text = user
        .inject(&ToolCall::new("t"), &mut args)
        .unwrap_err()
        .to_string();
    assert!(!text.contains(['\n', '\u{1b}']), "{text:?}");
    assert!(text.chars().count() < 1_500, "{text}");
}

/// Each location holds the names that lead to it.
#[test]
fn references_at_places_with_long_names_have_a_limit() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    user.create(NewSecret::new("free", "value-of-free"))
        .unwrap();
    let call = ToolCall::new("t").with_origin(Origin::Workflow);
    for (count, fits) in [(200, true), (300, false)] {
        let references = vec![json!("secret://free"); count];
        let before = json!({"k".repeat(64 * 1024): references});
        let mut after = before.clone();
        let filled = user.inject_value(&call, &mut after);
        let text = user.inject_str(&call, &mut before.to_string());
        assert_eq!(text.is_ok(), fits, "{count}");
        match filled {
            Ok(injection) => assert_eq!(injection.filled().len(), count),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Validation);
                assert!(!fits && after == before, "{count}");
            }
        }
    }
}

#[test]
fn arguments_that_are_nested_too_deep_fail_the_call() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let arrays = (0..200).fold(json!("x"), |inner, _| json!([inner]));
    let objects = (0..200).fold(json!("x"), |inner, _| json!({"a": inner}));
    let call = ToolCall::new("t");
    // This holds even behind a reference that is denied.
    for (before, deep) in [
        ("x", &arrays),
        ("x", &objects),
        ("secret://x", &arrays),
        ("secret://x", &objects),
    ] {
        let mut args = Map::from_iter([
            ("a".to_owned(), before.into()),
            ("b".to_owned(), deep.clone()),
        ]);
        let text = Value::from(args.clone()).to_string();
        let error = user.inject(&call, &mut args).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation, "{before}");
        let explanation = user.explain(&call, &args).unwrap();
        assert_eq!(explanation.failure, Some(error.to_string()), "{before}");
        let of_text = user.inject_str(&call, &mut text.clone()).unwrap_err();
        assert_eq!(of_text.to_string(), error.to_string(), "{before}");
    }
}

#[test]
fn a_replaced_value_is_noted() {
    let policy = InjectionPolicy::default()
        .replace_supplied()
        .empty_is_absent();
    let user = Vault::builder()
        .injection_policy(policy)
        .in_memory()
        .unwrap()
        .user(UserId::LOCAL);
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    for (args, replaced) in [
        (r#"{"k": "theirs"}"#, true),
        (r#"{"k": null}"#, false),
        // The policy treats it as absent.
        (r#"{"k": ""}"#, false),
        (r#"{"k": "secret://a"}"#, false),
        ("{}", false),
    ] {
        let injection = user.inject(&ToolCall::new("t"), &mut object(args)).unwrap();
        assert_eq!(injection.filled()[0].replaced(), replaced, "{args}");
    }
}

#[test]
fn wiping_copes_with_arguments_that_the_tool_changed() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "/p/k")
            .default_for_tool(),
    )
    .unwrap();
    for changed in [
        json!({}),
        json!({"p": 7}),
        json!({"p": {"k": 7}}),
        json!({"p": {"k": "value-of-a", "more": 1}}),
    ] {
        let mut args = object(r#"{"p": null}"#);
        let injection = user.inject(&ToolCall::new("t"), &mut args).unwrap();
        args = changed.as_object().unwrap().clone();
        injection.wipe(&mut args);
        assert!(!Value::Object(args).to_string().contains("value-of-a"));
    }
}

#[test]
fn a_format_counts_for_what_the_schema_allows() {
    let schema =
        json!({"type": "object", "properties": {"k": {"type": "string", "maxLength": 1030}}});
    for (format, hidden) in [("Bearer {}", false), ("123456{}", true), ("{}", true)] {
        let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
        user.create(
            NewSecret::new("a", "value-of-a")
                .bind("t", "k")
                .default_for_tool()
                .format(format),
        )
        .unwrap();
        let mut shown = schema.clone();
        let concealed = user.conceal("t", &mut shown).unwrap();
        assert_eq!(concealed.is_complete(), hidden, "{format}");
        assert_eq!(shown == schema, !hidden, "{format}");
    }
}

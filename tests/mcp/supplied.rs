//! What becomes of a value that the model supplies at a hidden argument.

use keyward::{ErrorKind, InjectionPolicy, mcp::Filter};
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, from_value, json};

use super::{KEY, call, parsed, to_server, user};

/// What a server gets as its `api_key`; `None` if the call is refused.
type Outcome = Option<Value>;

/// The policy, what the model supplied, and the outcome.
fn cases() -> Vec<(InjectionPolicy, Value, Outcome)> {
    let policy = InjectionPolicy::default;
    let [keep, replace, refuse] = [
        policy().keep_supplied(),
        policy().replace_supplied(),
        policy().refuse_supplied(),
    ];
    let mine = || json!({"api_key": "attackers-own"});
    let key = || Some(json!(KEY));
    let mut cases = vec![
        (&keep, mine(), Some(json!("attackers-own"))),
        (&replace, mine(), key()),
        (&refuse, mine(), None),
        (&keep, json!({"api_key": ""}), Some(json!(""))),
        (&replace, json!({"api_key": 7}), key()),
        (&refuse, json!({"api_key": false}), None),
    ];
    for policy in [&keep, &replace, &refuse] {
        cases.push((policy, json!({}), key()));
        cases.push((policy, json!({"api_key": null}), key()));
        // What is granted does not count as a value of the model.
        cases.push((policy, json!({"api_key": "secret://linear"}), key()));
    }
    cases
        .into_iter()
        .map(|(policy, arguments, outcome)| (policy.clone(), arguments, outcome))
        .collect()
}

#[test]
fn a_policy_for_supplied_values_holds_for_messages() {
    for (policy, arguments, expected) in cases() {
        let case = format!("{policy:?} {arguments}");
        let filter = Filter::new(user(policy));
        let message = call("7", &arguments.to_string());
        let sent = to_server(&filter, &message);
        if let Some(value) = expected {
            let sent = parsed(&sent.unwrap());
            assert_eq!(sent["params"]["arguments"]["api_key"], value, "{case}");
        } else {
            assert_eq!(sent, None, "{case}");
            let passed = filter.client_message(message.as_bytes());
            let answer = std::str::from_utf8(passed.to_client().unwrap()).unwrap();
            for value in ["attackers-own", KEY, "linear"] {
                assert!(!answer.contains(value), "{answer}");
            }
            let answer = parsed(answer);
            assert_eq!(answer["id"], 7);
            assert_eq!(answer["result"]["isError"], true);
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains("/api_key"), "{text}");
        }
    }
}

#[test]
fn a_policy_for_supplied_values_holds_for_typed_calls() {
    for (policy, arguments, expected) in cases() {
        let case = format!("{policy:?} {arguments}");
        let filter = Filter::new(user(policy));
        let params = json!({"name": "create_issue", "arguments": arguments});
        let mut call: CallToolRequestParams = from_value(params).unwrap();
        let before = call.clone();
        let injected = filter.inject_call(&mut call);
        if let Some(value) = expected {
            let injection = injected.unwrap();
            assert_eq!(call.arguments.as_ref().unwrap()["api_key"], value, "{case}");
            injection.wipe(call.arguments.as_mut().unwrap());
            assert_eq!(call, before, "{case}");
        } else {
            assert_eq!(injected.unwrap_err().kind(), ErrorKind::Denied, "{case}");
            assert_eq!(call, before, "{case}");
        }
    }
}

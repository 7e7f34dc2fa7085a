//! Peers that are careless, or hostile.

use std::fmt::Write as _;

use keyward::{NewSecret, Redactor, SecretValue};
use serde_json::{Value, json};

use super::{KEY, call, filter, filter_that_knows_the_key, parsed, to_client, to_server};

fn list(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#)
}

/// An answer to `tools/list` with a tool that has the key among its arguments.
fn listing(id: &str, tool: &str, rest: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"{tool}","inputSchema":{{"type":"object","properties":{{"api_key":{{"type":"string"}}}}}}}}]{rest}}}}}"#
    )
}

fn hides_the_key(shown: &str) -> bool {
    !shown.contains("api_key")
}

/// Ids as requested, and as answered.
const IDS: [(&str, &str); 13] = [
    ("1", "1"),
    ("0", "0"),
    ("-7", "-7"),
    ("1", "1.0"),
    ("100", "1e2"),
    ("1.5", "1.5"),
    (r#""a""#, r#""\u0061""#),
    (r#""""#, r#""""#),
    ("null", "null"),
    ("9007199254740993", "9007199254740993"),
    ("18446744073709551615", "18446744073709551615"),
    ("1e400", "1e400"),
    // Against the protocol, but a client whose ids are numbers still finds its request.
    ("7", r#""7""#),
];

#[test]
fn a_list_is_known_by_its_id_whatever_that_is() {
    for (asked, answered) in IDS {
        let filter = filter();
        to_server(&filter, &list(asked)).unwrap();
        let shown = to_client(&filter, &listing(answered, "create_issue", ""));
        assert!(hides_the_key(&shown), "{asked} {answered}");
    }
}

#[test]
fn ids_that_are_not_the_same_are_not_mixed_up() {
    for (asked, other) in [
        ("1", "2"),
        ("1", "1.5"),
        ("1", "-1"),
        (r#""a""#, r#""b""#),
        ("null", "0"),
        ("1e400", "0"),
        ("1e400", "1e500"),
        // Equal as floating-point numbers.
        ("9007199254740993", "9007199254740992"),
        ("1764146000000000001", "1764146000000000002"),
    ] {
        let filter = filter();
        to_server(&filter, &list(asked)).unwrap();
        let answer = listing(other, "create_issue", "");
        assert_eq!(to_client(&filter, &answer), answer, "{asked} {other}");
        let shown = to_client(&filter, &listing(asked, "create_issue", ""));
        assert!(hides_the_key(&shown), "{asked} {other}");
    }
}

#[test]
fn lists_that_overlap_come_back_in_any_order_in_a_batch_or_as_an_error() {
    let filter = filter();
    let [one, two, three] = ["1", "2", "3"].map(list);
    to_server(&filter, &format!("[{one},{two}]")).unwrap();
    to_server(&filter, &three).unwrap();
    // A request of the server has its own id, and is not an answer.
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(to_client(&filter, ping), ping);
    let failed = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"no"}}"#;
    let batch = format!("[{}, {failed} ]", listing("3", "create_issue", ""));
    let shown = to_client(&filter, &batch);
    assert!(hides_the_key(&shown) && shown.contains(failed), "{shown}");
    assert!(hides_the_key(&to_client(
        &filter,
        &listing("1", "create_issue", "")
    )));
}

#[test]
fn every_page_of_a_list_hides_what_is_filled_and_counts() {
    let filter = filter();
    let other = NewSecret::new("other", "value-of-other").bind("*", "api_key");
    filter.user().create(other.default_for_tool()).unwrap();
    let gets_a_key = |tool: &str| {
        let call = call("9", "{}").replace("create_issue", tool);
        to_server(&filter, &call).unwrap().contains("api_key")
    };
    to_server(&filter, &list("1")).unwrap();
    let cursor = r#","nextCursor":"page 2","_meta":{}"#;
    let shown = to_client(&filter, &listing("1", "create_issue", cursor));
    assert!(hides_the_key(&shown) && shown.contains(cursor), "{shown}");
    assert!(gets_a_key("create_issue") && !gets_a_key("search"));

    let next = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"page 2"}}"#;
    assert_eq!(to_server(&filter, next).unwrap(), next);
    assert!(hides_the_key(&to_client(
        &filter,
        &listing("2", "search", "")
    )));
    assert!(gets_a_key("create_issue") && gets_a_key("search"));

    // The tools change: what was listed last counts.
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(to_client(&filter, changed), changed);
    to_server(&filter, &list("3")).unwrap();
    to_client(
        &filter,
        &listing("3", "search", "").replace("api_key", "query"),
    );
    assert!(gets_a_key("create_issue") && !gets_a_key("search"));
}

#[test]
fn a_tool_that_was_not_listed_gets_nothing_whatever_the_list_is() {
    let deep = format!("{}true{}", r#"{"not":"#.repeat(200), "}".repeat(200));
    for (result, listed) in [
        (r#"{"tools":[]}"#.to_owned(), false),
        (r#"{"tools":[{"name":"create_issue"}]}"#.to_owned(), false),
        (
            format!(r#"{{"tools":[{{"name":"create_issue","inputSchema":{deep}}}]}}"#),
            false,
        ),
        (
            r#"{"tools":[{"name":"create_issue","inputSchema":{"a" 1}}]}"#.to_owned(),
            false,
        ),
        (r#"{"tools":[[], {}, {"name":1}]}"#.to_owned(), false),
        (r#"{"tools":{}}"#.to_owned(), false),
        ("null".to_owned(), false),
        (
            r#"{"tools":[{"name":"create_issue","inputSchema":{"properties":{"api_key":{}}}}]}"#
                .to_owned(),
            true,
        ),
    ] {
        let filter = filter();
        let any = NewSecret::new("any", "value-of-any").bind("*", "api_key");
        filter.user().create(any.default_for_tool()).unwrap();
        let gets_a_key = |tool: &str| {
            let call = call("9", "{}").replace("create_issue", tool);
            to_server(&filter, &call).unwrap().contains("api_key")
        };
        // Nothing is known before there is a list, and an error holds none.
        to_server(&filter, &list("1")).unwrap();
        let failed = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no"}}"#;
        assert_eq!(to_client(&filter, failed), failed);
        assert!(gets_a_key("create_issue") && gets_a_key("made_up"));

        to_server(&filter, &list("2")).unwrap();
        let answer = format!(r#"{{"jsonrpc":"2.0","id":2,"result":{result}}}"#);
        to_client(&filter, &answer);
        assert!(!gets_a_key("made_up"), "{result}");
        assert_eq!(gets_a_key("create_issue"), listed, "{result}");

        // What was listed before no longer counts.
        to_server(&filter, &list("3")).unwrap();
        to_client(&filter, &listing("3", "create_issue", ""));
        assert!(gets_a_key("create_issue"), "{result}");
        to_server(&filter, &list("4")).unwrap();
        to_client(&filter, &answer.replace(r#""id":2"#, r#""id":4"#));
        let names_it = result.contains("create_issue");
        assert_eq!(gets_a_key("create_issue"), listed || !names_it, "{result}");
    }
}

#[test]
fn arguments_that_are_not_read_are_refused_in_words_that_say_why() {
    let filter = filter();
    let refused = |arguments: &str| {
        let message = call("1", arguments);
        let passed = filter.client_message(message.as_bytes());
        assert_eq!(passed.to_server(), None, "{arguments}");
        let answer: Value = serde_json::from_slice(passed.to_client().unwrap()).unwrap();
        assert_eq!(answer["result"]["isError"], true);
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        text.to_owned()
    };
    for malformed in [
        r#"{"a" 1}"#,
        "[1 2]",
        r#"{"a":1,}"#,
        "{'a':1}",
        r#"{"a":[{1}]}"#,
    ] {
        assert_eq!(
            refused(malformed),
            "the tool was not called: the arguments are not valid JSON: write them as a JSON object",
            "{malformed}"
        );
    }
    // A server may read the object that is in it.
    for no_object in [r#""{\"title\":\"x\"}""#, r#"[{"title":"x"}]"#, "7", "true"] {
        assert_eq!(
            refused(no_object),
            "the tool was not called: the arguments are no JSON object: write them as one",
            "{no_object}"
        );
    }
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!(r#"{{"x":{}1{}}}"#, open.repeat(128), close.repeat(128));
        assert_eq!(
            refused(&deep),
            "the tool was not called: the arguments are nested more than 128 levels deep: make them flatter"
        );
    }
}

#[test]
fn an_answer_that_crosses_the_cancellation_of_its_call_or_comes_twice_is_redacted() {
    let filter = filter_that_knows_the_key();
    let cancelled =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(to_server(&filter, cancelled).unwrap(), cancelled);
    let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":"{KEY}"}}}}"#);
    for _ in 0..2 {
        assert!(to_client(&filter, &answer).contains("secret://linear"));
    }
}

#[test]
fn requests_of_a_server_are_redacted_and_keep_what_routes_them() {
    let filter = filter_that_knows_the_key();
    let message =
        json!({"role": "user", "content": {"type": "text", "text": format!("use {KEY}")}});
    let requests = [
        (
            "sampling/createMessage",
            json!({"messages": [message], "systemPrompt": KEY, "maxTokens": 9}),
        ),
        (
            "elicitation/create",
            json!({"message": format!("{KEY}?"), "requestedSchema": {"properties": {KEY: {}}}}),
        ),
        ("roots/list", json!({"_meta": {"trace": KEY}})),
        ("a/method/of/tomorrow", json!([KEY, {KEY: KEY}])),
    ];
    for (method, params) in requests {
        let request = json!({"jsonrpc": "2.0", "id": "s-1", "method": method, "params": params});
        let shown = to_client(&filter, &request.to_string());
        let expected = request.to_string().replace(KEY, "secret://linear");
        assert_eq!(parsed(&shown), parsed(&expected), "{method}");
    }
    // What the client answers belongs to the client: a reference in it stays a reference.
    let answer = r#"{"jsonrpc":"2.0","id":"s-1","result":{"content":{"text":"secret://linear"}}}"#;
    assert_eq!(to_server(&filter, answer).unwrap(), answer);
}

#[test]
fn a_value_is_found_however_its_characters_are_escaped() {
    const VALUE: &str = "pä/ss\"w\\örd\u{1f511}\t7";
    let filter = filter();
    let mut redactor = Redactor::new();
    redactor.add("secret://p", &SecretValue::new(VALUE));
    let filter = filter.redacting(&redactor);
    let all = |lower: bool| {
        let mut text = String::new();
        for unit in VALUE.encode_utf16() {
            let _ = if lower {
                write!(text, "\\u{unit:04x}")
            } else {
                write!(text, "\\u{unit:04X}")
            };
        }
        text
    };
    let usual = json!(VALUE).to_string();
    let usual = &usual[1..usual.len() - 1];
    let every_other: String = VALUE
        .chars()
        .enumerate()
        .map(|(index, c)| match c {
            '/' => "\\/".to_owned(),
            c if index % 2 == 0 && c.is_alphanumeric() => format!("\\u{:04x}", u32::from(c)),
            c => {
                let text = json!(c).to_string();
                text[1..text.len() - 1].to_owned()
            }
        })
        .collect();
    for escaped in [all(true), all(false), usual.to_owned(), every_other] {
        let text: Value = parsed(&format!("\"{escaped}\""));
        assert_eq!(text, VALUE, "the test is right");
        let message = format!(r#"{{"id":1,"result":{{"{escaped}":["x{escaped}y"]}}}}"#);
        let expected = json!({"id": 1, "result": {"secret://p": ["xsecret://py"]}});
        assert_eq!(parsed(&to_client(&filter, &message)), expected, "{escaped}");
    }
}

#[test]
fn bytes_that_are_no_text_hide_nothing_and_are_carried_on() {
    let filter = filter_that_knows_the_key();
    let wrapped =
        |before: &[u8], text: &str, after: &[u8]| [before, text.as_bytes(), after].concat();
    for (before, after) in [
        (&b"{\"id\":1,\"result\":\"\xff "[..], &b"\xc3\"}"[..]),
        (b"\xfe\xff", b"\x80\n"),
        (b"{\"id\":1,\"result\":{\"\xf0\x9f\":\"", b"\"}}"),
    ] {
        let shown = filter
            .server_message(&wrapped(before, KEY, after))
            .into_owned();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(
            shown.contains("secret://linear") && !shown.contains(KEY),
            "{shown}"
        );
        let harmless = wrapped(before, "harmless", after);
        assert_eq!(*filter.server_message(&harmless), *harmless);
        assert_eq!(
            filter.client_message(&harmless).to_server().unwrap(),
            harmless
        );
    }
}

#[test]
fn what_is_no_message_is_redacted_as_text() {
    let filter = filter_that_knows_the_key();
    for line in [
        "key KEY",
        r#"{"result" "KEY"}"#,
        r#"[{"id":1,"result":{}},{"result" "KEY"}]"#,
        r#"[{"id":1,"result":{}},"KEY"]"#,
        r#"[["KEY"]]"#,
        r#"{"id":1,"result":"KEY"} trailing"#,
        r#"{"id":1,"result":"KEY""#,
        "\u{feff}{\"id\":1,\"result\":\"KEY\"}",
    ] {
        let shown = to_client(&filter, &line.replace("KEY", KEY));
        assert_eq!(shown, line.replace("KEY", "secret://linear"));
    }
}

#[test]
fn a_short_value_behind_an_escape_is_found_in_what_is_no_message_too() {
    let mut redactor = Redactor::new();
    redactor.add("secret://pin", &SecretValue::new("4711"));
    redactor.add("secret://account", &SecretValue::new("12345678"));
    redactor.add("secret://amount", &SecretValue::new("4711.50"));
    let filter = filter().redacting(&redactor);
    for (line, expected) in [
        // A batch with one element that is no message is still a batch.
        (
            r#"[{"id":12345678,"result":{"t":"a\n4711","n":12345678}}, 0,"a\n4711"]"#,
            r#"[{"id":12345678,"result":{"t":"a\nsecret://pin","n":"secret://account"}}, 0,"a\nsecret://pin"]"#,
        ),
        (r#" [[{"t":"a\n4711"}]]"#, r#" [[{"t":"a\nsecret://pin"}]]"#),
        (r#""a\n4711""#, r#""a\nsecret://pin""#),
        (" 12345678 \n", " \"secret://account\" \n"),
        ("{\"n\":[1.2345678e7,-0.0]}", "{\"n\":[1.2345678e7,-0.0]}"),
        ("{\"n\":4711.5}", "{\"n\":\"secret://amount\"}"),
        (
            "\u{feff}{\"t\":\"a\\n4711\",\"n\":12345678}",
            "\u{feff}{\"t\":\"a\\nsecret://pin\",\"n\":secret://account}",
        ),
        (r#"{"t":"a\n4711"},}"#, r#"{"t":"a\nsecret://pin"},}"#),
        (r#"{"t":"a\n4711"} // 1"#, r#"{"t":"a\nsecret://pin"} // 1"#),
        (
            r#"said "a\n4711", 47110"#,
            r#"said "a\nsecret://pin", 47110"#,
        ),
    ] {
        assert_eq!(to_client(&filter, line), expected);
    }
}

#[test]
fn a_reference_that_was_put_in_is_not_looked_at_again() {
    let mut redactor = Redactor::new();
    for (name, value) in [
        ("postgres-password", "s3cr3t-Zq8wT3vN"),
        ("db-user", "postgres"),
        ("4711", "4711"),
    ] {
        redactor.add(format!("secret://{name}"), &SecretValue::new(value));
    }
    let filter = filter().redacting(&redactor);
    for line in [
        r#"plain: s3cr3t-Zq8wT3vN "s3cr3t-Zq8wT3vN" and "x\t4711", 4711 or "s3cr3t-Zq8wT3vN\npostgres""#,
        r#"{"id":1,"x":NaN,"result":"s3cr3t-Zq8wT3vN","s3cr3t-Zq8wT3vN":{"4711":"a\n4711 s3cr3t-Zq8wT3vN\n4711"}}"#,
        r#"{"id":1,"result":["s3cr3t-Zq8wT3vN","a\n4711"]}"#,
        r#"["s3cr3t-Zq8wT3vN","a\n4711 postgres"]"#,
    ] {
        let expected = line
            .replace("postgres", "secret://db-user")
            .replace("s3cr3t-Zq8wT3vN", "secret://postgres-password")
            .replace("4711", "secret://4711");
        assert_eq!(to_client(&filter, line), expected);
    }
}

#[test]
fn a_refusal_carries_the_id_as_it_was_written() {
    let filter = filter();
    let denied = r#"{"title":"secret://linear"}"#;
    for (id, answered) in [
        ("12345678901234567890123", "12345678901234567890123"),
        ("1e400", "1e400"),
        ("1.0", "1.0"),
        (r#""\u0061\ud800""#, r#""\u0061\ud800""#),
        ("null", "null"),
        // No JSON: there is no such id.
        ("nil", "null"),
    ] {
        let call = call(id, denied);
        for (message, begin, end) in [(call.clone(), "", ""), (format!("[{call}]"), "[", "]")] {
            let passed = filter.client_message(message.as_bytes());
            let answer = String::from_utf8(passed.to_client().unwrap().to_vec()).unwrap();
            let expected =
                format!(r#"{begin}{{"jsonrpc":"2.0","id":{answered},"result":{{"content""#);
            assert!(
                answer.starts_with(&expected) && answer.ends_with(&format!("}}}}{end}")),
                "{answer}"
            );
        }
    }
}

/// If every duplicate got the value of the last one, a few kilobytes would become gigabytes.
#[test]
fn of_a_member_of_a_schema_that_comes_often_the_last_one_goes_on() {
    let (often, long) = (r#""x":1,"#.repeat(10_000), "y".repeat(10_000));
    let filter = filter();
    to_server(&filter, &list("2")).unwrap();
    let schema = format!(r#""properties":{{}},{often}"x":"{long}","#);
    let shown = to_client(
        &filter,
        &listing("2", "create_issue", "")
            .replace(r#""properties":"#, &format!(r#"{schema}"properties":"#)),
    );
    assert!(
        hides_the_key(&shown) && shown.len() < 11_000,
        "{}",
        shown.len()
    );
    assert!(shown.contains(&long));
}

#[test]
fn whatever_part_of_a_message_a_value_is_in_it_is_found() {
    let filter = filter_that_knows_the_key();
    for message in [
        r#"{"jsonrpc":"2.0","id":7,"result":{},"KEY":1}"#,
        r#"{"KEY":"is the key"}"#,
        r#"[{"a":1},{"KEY":1}]"#,
        r#"{"result":{"KEY":[{"a":1.10,"b" : 1e400,"c":[-0.0, {"KEY":12345678901234567890123}]}]}}"#,
        r#"{"x":1.10, "xKEY" : "KEY","y":12345678901234567890123}"#,
        r#"{"id":1,"error":{"code":-1,"message":"KEY","data":{"KEY":1}}}"#,
        r#"{"jsonrpc":"2.0","method":{"x":"KEY"},"params":{}}"#,
        r#"{"jsonrpc":"2.0","id":["KEY"],"result":{}}"#,
        r#"{"jsonrpc":"KEY","id":1,"result":{}}"#,
        // Not JSON, although the outermost value looks like an object.
        r#"{"level":"info","key":KEY}"#,
        r#"{"level":"info","x":{"a" KEY}}"#,
        r#"{"level":"info","x":['KEY']}"#,
        r#"{"level":"info","x":["a" "KEY"]}"#,
        r#"{"a":-Infinity,"b":NaNKEY}"#,
        r#"{"id":KEY,"result":{}}"#,
        r#"{"id":1,"method":xKEY}"#,
        r#"[{"id":1,"result":{}},{"id":2,"result":trueKEY}]"#,
    ] {
        let shown = to_client(&filter, &message.replace("KEY", KEY));
        assert_eq!(shown, message.replace("KEY", "secret://linear"));
    }
    // What the message needs to arrive stays.
    let routed = format!(r#"{{"jsonrpc":"2.0","id":"{KEY}","method":"{KEY}"}}"#);
    assert_eq!(to_client(&filter, &routed), routed);
    // No member is lost.
    let taken = format!(r#"{{"{KEY}":1,"secret://linear":2,"x{KEY}":3,"{KEY}":4}}"#);
    assert_eq!(
        to_client(&filter, &taken),
        r#"{"secret://linear (2)":1,"secret://linear":2,"xsecret://linear":3,"secret://linear (3)":4}"#
    );
    let taken =
        format!(r#"{{"result":[{{"a":1,"{KEY}":"\n","a":2,"secret://linear":3,"\u006cin":4}}]}}"#);
    assert_eq!(
        to_client(&filter, &taken),
        r#"{"result":[{"a":1,"secret://linear (2)":"\n","a":2,"secret://linear":3,"\u006cin":4}]}"#
    );
    let (open, close) = ("[".repeat(50_000), "]".repeat(50_000));
    for inner in ["KEY", r#"{"KEY":"KEY"}"#] {
        let deep = format!(r#"{{"x":{open}{inner}{close}}}"#);
        assert_eq!(
            to_client(&filter, &deep.replace("KEY", KEY)),
            deep.replace("KEY", "secret://linear")
        );
    }
}

/// A service account's key is an object itself. A server that prints it as it is does not print a string.
#[test]
fn a_value_that_is_an_object_is_found_where_it_stands_as_one() {
    const ACCOUNT: &str = r#"{"type":"service_account","private_key":"MIIEvQIBADANBg"}"#;
    let mut redactor = Redactor::new();
    redactor.add("secret://account", &SecretValue::new(ACCOUNT));
    redactor.add("secret://type", &SecretValue::new("service_account"));
    let filter = filter().redacting(&redactor);
    let text =
        |of: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":[{of},{{"b":{of}}}]}}}}"#);
    for (message, expected) in [
        (ACCOUNT.to_owned(), r#""secret://account""#.to_owned()),
        (
            format!(" {ACCOUNT}\n"),
            " \"secret://account\"\n".to_owned(),
        ),
        (format!("[{ACCOUNT}]"), r#"["secret://account"]"#.to_owned()),
        (text(ACCOUNT), text(r#""secret://account""#)),
        // Where keys change as well, the message is taken apart.
        (
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"service_account":{ACCOUNT}}}}}"#),
            r#"{"jsonrpc":"2.0","id":1,"result":{"secret://type":"secret://account"}}"#.to_owned(),
        ),
        (
            format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"_meta":{ACCOUNT}}}}}"#),
            r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":"secret://account"}}"#.to_owned(),
        ),
        // Whoever passes JSON on may spell it in another way.
        (
            text("{ \"private_key\" : \"MIIEvQIBADANBg\", \"type\": \"service\\u005faccount\" }"),
            text(r#""secret://account""#),
        ),
        // Another object is taken apart as any object is.
        (
            r#"{"private_key":"MIIEvQIBADANBg","type":"service_account","x":1}"#.to_owned(),
            r#"{"private_key":"MIIEvQIBADANBg","type":"secret://type","x":1}"#.to_owned(),
        ),
    ] {
        assert_eq!(to_client(&filter, &message), expected, "{message}");
    }
}

/// What a value lies in as it is spelled, whatever JSON makes of it: each value, a line of a server, and what is shown.
#[test]
fn a_value_that_lies_across_tokens_is_found() {
    let result = |of: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{of}}}"#);
    let whole = || result(r#""secret://v""#);
    let quoted = || r#""secret://v""#.to_owned();
    let array = r#"[{"user": "ann", "password": "h 2 pw"}]"#;
    let list = "abcd1234,efgh5678";
    let lines = "{\"key\":\"aaaaaaaaaaaa\"}\n{\"key\":\"bbbbbbbbbbbb\"}";
    let objects = r#"{"a":"b c"},{"d":"e f"}"#;
    for (value, line, expected) in [
        // A line that is an array is taken for a batch.
        (array, array.to_owned(), quoted()),
        (array, format!(" {array} "), format!(" {} ", quoted())),
        (array, result(array), whole()),
        (list, format!("[{{}},{list}]"), "[{},secret://v]".to_owned()),
        (list, format!("[{list}]"), "[secret://v]".to_owned()),
        (
            list,
            format!(r#"[{{"id":1,"result":[{list}]}}]"#),
            r#"[{"id":1,"result":[secret://v]}]"#.to_owned(),
        ),
        (objects, format!("[{objects}]"), quoted()),
        (
            objects,
            format!(r#"[{{"id":1,"result":[{objects}]}},{{"id":2}}]"#),
            r#"[{"id":1,"result":"secret://v"},{"id":2}]"#.to_owned(),
        ),
        (
            r#"["abcd1234","efgh5678"]"#,
            r#"["abcd1234","efgh5678"]"#.to_owned(),
            quoted(),
        ),
        // The smallest array or object in which all of it is.
        (
            "12345678,87654321",
            result("[[12345678,87654321],1]"),
            result(r#"["secret://v",1]"#),
        ),
        (
            "678],[87",
            result("[1,[[12345678],[87654321]]]"),
            result(r#"[1,"secret://v"]"#),
        ),
        (
            r#""user":"pass word""#,
            result(r#"{"a":{"user":"pass word"},"b":"pass word"}"#),
            result(r#"{"a":"secret://v","b":"pass word"}"#),
        ),
        (
            r#"word","b":"#,
            result(r#"[{"a":"pass word","b":[1]}]"#),
            result(r#"["secret://v"]"#),
        ),
        // With its quotes it is a string.
        (
            r#""abcdefghijkl""#,
            result(r#"["abcdefghijkl",1]"#),
            result(r#"["secret://v",1]"#),
        ),
        (
            r#""abcdefghijkl""#,
            result(r#"[{"abcdefghijkl":1},1]"#),
            result(r#"["secret://v",1]"#),
        ),
        // A message that is not JSON arrives, unless the value lies across what it is recognized by.
        (
            r#""id":"x" // y"#,
            r#"{"jsonrpc":"2.0","id":"x" // y}"#.to_owned(),
            r#"{"jsonrpc":"2.0",secret://v}"#.to_owned(),
        ),
        (
            r#"abcdefgh","x"#,
            r#"[{"id":"abcdefgh","x":abcdefgh},{"id":"abcdefgh","result":NaN}]"#.to_owned(),
            r#"[{"id":"secret://v":abcdefgh},{"id":"abcdefgh","result":NaN}]"#.to_owned(),
        ),
        (
            "abcdefgh",
            r#"{"id":"abcdefgh","result":[NaN,abcdefgh]}"#.to_owned(),
            r#"{"id":"abcdefgh","result":[NaN,secret://v]}"#.to_owned(),
        ),
        // The space around a line is a part of it.
        (" \n \n \n\":\"", " \n \n \n\":\"".to_owned(), quoted()),
        ("\t\t\t\t1234", result("[\n\t\t\t\t12345678]"), whole()),
        // A line of it is an object.
        (lines, result(r#"{"key":"aaaaaaaaaaaa"}"#), whole()),
        (
            lines,
            result(r#"[{ "key": "bbbbbbbbbbbb" }]"#),
            result(r#"["secret://v"]"#),
        ),
        // As it is only in this text, and not in what it says.
        (
            r"a\u0062,:cd",
            result(r#""a\u0062,:cd""#),
            result(r#""a\u0062,:cd""#),
        ),
        (r"a\u0062,:cd", result(r#""a\\u0062,:cd""#), whole()),
    ] {
        let mut redactor = Redactor::new();
        redactor.add("secret://v", &SecretValue::new(value));
        let filter = filter().redacting(&redactor);
        assert_eq!(to_client(&filter, &line), expected, "{value} in {line}");
    }
}

#[test]
fn a_message_arrives_whatever_the_values_are() {
    let mut redactor = Redactor::new();
    for (name, value) in [
        ("a", "result"),
        ("b", "4711"),
        ("c", r"pass\word"),
        ("n", "123456789012345678901234"),
    ] {
        redactor.add(format!("secret://{name}"), &SecretValue::new(value));
    }
    let filter = filter().redacting(&redactor);
    for (message, expected) in [
        (
            r#"{"jsonrpc":"2.0","id":4711,"result":{"result":4711}}"#,
            r#"{"jsonrpc":"2.0","id":4711,"result":{"secret://a":"secret://b"}}"#,
        ),
        // Some clients read these.
        (
            r#"{"jsonrpc":"2.0","id":4711,"result":{"x":NaN,"y":"4711"}}"#,
            r#"{"jsonrpc":"2.0","id":4711,"result":{"x":NaN,"y":"secret://b"}}"#,
        ),
        // What another message is recognized by.
        (
            r#"{"method":"notifications/progress","params":{"progressToken":4711,"progress":4711,"result":"4711"}}"#,
            r#"{"method":"notifications/progress","params":{"progressToken":4711,"progress":"secret://b","secret://a":"secret://b"}}"#,
        ),
        (
            r#"{"method":"x","params":{"requestId":"4711","_meta":{"progressToken":4711,"x":4711,"_meta":{"progressToken":4711}}}}"#,
            r#"{"method":"x","params":{"requestId":"4711","_meta":{"progressToken":4711,"x":"secret://b","_meta":{"progressToken":"secret://b"}}}}"#,
        ),
        (
            r#"{"method":"x","params":{"requestId":[4711]},"result":{"requestId":4711}}"#,
            r#"{"method":"x","params":{"requestId":["secret://b"]},"result":{"requestId":"secret://b"}}"#,
        ),
        (
            r#"{"id":1,"result":[123456789012345678901234]}"#,
            r#"{"id":1,"result":["secret://n"]}"#,
        ),
        // An escape that JSON does not have.
        (
            r#"{"id":1,"result":"pass\word"}"#,
            r#"{"id":1,"result":"secret://c"}"#,
        ),
    ] {
        assert_eq!(to_client(&filter, message), expected);
    }
}

#[test]
fn a_message_without_a_value_is_carried_on_to_the_byte() {
    let filter = filter_that_knows_the_key();
    for message in [
        "",
        "\n",
        "no JSON at all\r\n",
        "{\"unfinished\": ",
        "[}",
        "\"",
        "{\"unknown\": [1.0e+2, 12345678901234567890123, \"\\ud800\"] , \"a\":1,\"a\":2 }\n",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"other","arguments":{"x":1.10}}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"} , {"jsonrpc":"2.0","id":2,"result":{}}]"#,
        r#"{"jsonrpc": "2.0", "id" : "\u0061", "method":{}, "params":[1e400] }"#,
        r#"{"a":-Infinity,"b":NaN,"c":['lin_api'],"d" :{"e" f}}"#,
        r#"[{"id":1,"result":{}} , {"x\u002fy":[true , null]}]"#,
    ] {
        assert_eq!(to_client(&filter, message), message);
        assert_eq!(to_server(&filter, message).unwrap(), message);
    }
}

#[test]
fn neither_depth_nor_length_is_too_much() {
    let filter = filter_that_knows_the_key();
    let (open, close) = (r#"{"a":["#.repeat(50_000), "]}".repeat(50_000));
    let deep = format!(r#"{{"id":1,"result":{open}{{"{KEY}":"{KEY}"}}{close}}}"#);
    assert_eq!(
        to_client(&filter, &deep),
        deep.replace(KEY, "secret://linear")
    );
    let long = format!(r#"{{"id":1,"result":["{}{KEY}"]}}"#, "x".repeat(8 << 20));
    let shown = to_client(&filter, &long);
    assert_eq!(
        shown.len(),
        long.len() - KEY.len() + "secret://linear".len()
    );
    assert!(shown.ends_with("xsecret://linear\"]}"));

    // A call that is too deep to be looked into is sent neither with a secret nor without.
    let refused = filter
        .client_message(call("1", &format!(r#"{{"x":{open}{close}}}"#)).as_bytes())
        .to_server()
        .is_none();
    assert!(refused);
    let many = format!(
        "[{}]",
        vec![r#"{"id":1,"method":"ping"}"#; 20_000].join(",")
    );
    assert_eq!(to_server(&filter, &many).unwrap(), many);
}

#[test]
fn calls_with_the_same_id_or_none_are_each_filled() {
    let filter = filter();
    for _ in 0..2 {
        assert!(to_server(&filter, &call("1", "{}")).unwrap().contains(KEY));
    }
    let notification = call("1", "{}").replace(r#""id":1,"#, "");
    assert!(to_server(&filter, &notification).unwrap().contains(KEY));
    // Nobody waits for an answer to this one, which is denied.
    let denied = notification.replace("{}", r#"{"title":"secret://linear"}"#);
    let passed = filter.client_message(denied.as_bytes());
    assert_eq!((passed.to_server(), passed.to_client()), (None, None));
}

/// Readers of JSON differ in which of the two counts, so a server may read what was not checked.
#[test]
fn a_call_with_a_member_that_comes_twice_is_refused() {
    let filter = filter();
    let with = |arguments: &str| call("1", arguments);
    let plain = with(r#"{"title":"x"}"#);
    assert!(to_server(&filter, &plain).unwrap().contains(KEY));
    for message in [
        with(r#"{"title":"secret://linear","title":"x"}"#),
        with(r#"{"title":"x","title":"secret://linear"}"#),
        with(r#"{"api_key":"theirs","api_key":null}"#),
        with(r#"{"api_key":"theirs","api\u005fkey":null}"#),
        with(r#"{"a":[{"b":1,"b":2}]}"#),
        with(r#"{"a":{"b":{},"b":{}}}"#),
        plain.replace(r#""name":"#, r#""name":"x","name":"#),
        plain.replace(r#""arguments":"#, r#""arguments":{},"arguments":"#),
        plain.replace(r#""params":"#, r#""params":{"name":"x"},"params":"#),
        plain.replace(r#""method":"#, r#""method":"ping","method":"#),
        plain.replace(
            r#""method":"tools/call""#,
            r#""method":"tools/call","method":"ping""#,
        ),
        plain.replace(r#""id":1"#, r#""id":2,"id":1"#),
        // Go's reader does not tell cases apart, and some letters have a case of another alphabet.
        plain.replace(r#""name":"#, r#""name":"x","Name":"#),
        plain.replace(r#""arguments":"#, r#""ARGUMENTS":{},"arguments":"#),
        plain.replace(r#""arguments":"#, r#""argument\u017f":{},"arguments":"#),
        plain.replace(r#""arguments":"#, r#""Arguments":"#),
        plain.replace(r#""name":"#, r#""naMe":"#),
        plain.replace(r#""params":"#, r#""Params":"#),
        plain.replace(r#""params":"#, r#""params":{},"param\u017f":"#),
        plain.replace(r#""method":"#, r#""Method":"#),
        plain.replace(
            r#""method":"tools/call""#,
            r#""method":"ping","METHOD":"tools/call""#,
        ),
    ] {
        let passed = filter.client_message(message.as_bytes());
        assert!(passed.to_server().is_none(), "{message}");
        let answer = parsed(std::str::from_utf8(passed.to_client().unwrap()).unwrap());
        assert_eq!(
            (&answer["id"], &answer["result"]["isError"]),
            (&json!(1), &json!(true))
        );
        assert!(answer.to_string().contains("duplicate name"), "{answer}");
        // Nor in a batch, from which the others go on.
        let batch = format!(r#"[{{"id":8,"method":"ping"}},{message}]"#);
        let passed = filter.client_message(batch.as_bytes());
        let sent = r#"[{"id":8,"method":"ping"}]"#;
        assert_eq!(passed.to_server().unwrap(), sent.as_bytes(), "{message}");
    }
    // Elsewhere it is for the receiver to judge.
    for message in [
        r#"{"id":1,"method":"ping","method":"pong","x":1,"x":2}"#.to_owned(),
        with(r#"{"title":"x","Title":"y"}"#),
        plain.replace(r#""params":{"#, r#""params":{"_meta":{"x":1,"x":2},"#),
        plain.replace(r#"{"title":"x"}"#, r#"{"a":"x\":","b":"::"}"#),
    ] {
        assert!(to_server(&filter, &message).is_some(), "{message}");
    }
}

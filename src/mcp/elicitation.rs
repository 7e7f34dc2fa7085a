//! Asking the person for a missing secret.

use std::fmt::Write as _;

use rmcp::model::{
    BooleanSchema, ElicitRequestParams, ElicitationSchema, PrimitiveSchemaDefinition,
};

use crate::{
    check::NeedsSecret,
    error::{Error, FieldError},
};

/// Turning it into a question to the person, by way of an MCP client: an *elicitation*.
///
/// What is typed into an elicitation form goes through the client, which shows it, keeps it, and may give it to the
/// model; so the protocol forbids asking for credentials in one. Neither of these questions does:
///
/// | the client | question |
/// |---|---|
/// | can open a page (`elicitation.url` among its capabilities) | [`elicit_at`](NeedsSecret::elicit_at): a page of the program's own takes the value |
/// | has forms only | [`elicit_done`](NeedsSecret::elicit_done): a form says what to type into a terminal, and asks whether that is done |
///
/// ```
/// use keyward::{UserId, Vault};
/// use serde_json::json;
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// let schema = json!({"type": "object", "properties": {"api_key": {"type": "string"}}, "required": ["api_key"]});
/// let tools = [("linear__search", &schema)];
///
/// let report = user.check(tools)?;
/// let needs = report.needs().next().unwrap();
/// let question = json!(needs.elicit_at("https://agent.example/secrets/new?ask=7f3a", "7f3a")?);
/// assert_eq!(question["mode"], "url");
///
/// // The person opened the page, and this is what the page did:
/// user.create(needs.answer("linear", "lin_api_Zq8wT3vN"))?;
///
/// // Whatever the client answers, only this tells whether the secret is there.
/// assert_eq!(user.check(tools)?.needs().count(), 0);
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Security
///
/// * `accept` says only that the person agreed, or ticked the box: [check](crate::UserVault::check) again. Do not
///   look for a value in the content of an answer, and do not log it: a person may type one there anyway.
/// * The names of the tool and of the argument are chosen by the server's author. They are quoted, so that a line
///   pasted into a shell runs nothing else, and free of control characters, so that a client shows what is there.
/// * The page must know by itself whose secret it takes, from its own session. Having its address must not be enough
///   to get in: the client, and anyone it shows it to, has the address.
impl NeedsSecret {
    /// Asks the person to open this page. `id` distinguishes the elicitation from others; versions of the protocol
    /// since 2026-07-28 have no such id, and do not need one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) unless the address begins with `https://`, or with
    /// `http://` and this machine: `localhost`, `127.0.0.1` or `[::1]`.
    pub fn elicit_at(
        &self,
        url: impl Into<String>,
        id: impl Into<String>,
    ) -> Result<ElicitRequestParams, Error> {
        let url = url.into();
        if !is_confidential(&url) {
            let msg =
                "the page that takes a secret must be at https://, or at http:// on this machine";
            return Err(Error::validation(vec![FieldError::value_error("url", msg)]));
        }
        Ok(ElicitRequestParams::UrlElicitationParams {
            meta: None,
            message: format!(
                "{}. Open the page to add it: it does not pass through this client.",
                self.what()
            ),
            url,
            elicitation_id: id.into(),
        })
    }

    /// Tells the person how to add the secret under this name at the command line, and asks whether that is done.
    /// The only field of the form is a checkbox, `done`.
    pub fn elicit_done(&self, name: &str) -> ElicitRequestParams {
        let mut message = format!("{}. Do not type it here. ", self.what());
        let words = [name, &self.tool, self.location_text()].map(shell_word);
        let _ = if let [Some(name), Some(tool), Some(location)] = words {
            write!(
                message,
                "Add it in a terminal, where it is asked for without being shown:\n\n\
                 keyward add --tool={tool} --arg={location} --default -- {name}"
            )
        } else {
            write!(
                message,
                "Add it with `keyward add`, as the default for this tool and argument."
            )
        };
        let done = BooleanSchema::new()
            .title("The secret is added")
            .with_default(false);
        let schema = ElicitationSchema::new(
            [("done".to_owned(), PrimitiveSchemaDefinition::Boolean(done))].into(),
        );
        ElicitRequestParams::FormElicitationParams {
            meta: None,
            message,
            requested_schema: schema.with_required(vec!["done".to_owned()]),
        }
    }

    fn what(&self) -> String {
        format!(
            "The tool {} needs a secret for its argument {}",
            shown(&self.tool),
            shown(self.location.as_pointer())
        )
    }
}

/// Whether nobody on the way can read what is sent to `url`.
fn is_confidential(url: &str) -> bool {
    // Programs disagree about these.
    if url.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace()) {
        return false;
    }
    let after = |scheme: &str| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let authority = |rest: &str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    if let Some(rest) = after("https://") {
        return !authority(rest).is_empty();
    }
    after("http://").map(authority).is_some_and(|authority| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
            authority
                .strip_prefix(host)
                .is_some_and(|port| match port.strip_prefix(':') {
                    Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()),
                    None => port.is_empty(),
                })
        })
    })
}

/// Quotes a name, so that it cannot be taken for the text around it.
fn shown(name: &str) -> String {
    format!("{name:?}")
}

/// Quotes one word for any shell of the Bourne family; `None` for text that nobody should paste into one.
fn shell_word(text: &str) -> Option<String> {
    if !text
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        return None;
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Some(text.to_owned());
    }
    Some(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::{Value, json};

    use super::*;
    use crate::location::Location;

    fn needs(tool: &str, location: &str) -> NeedsSecret {
        let location = Location::new(location).unwrap();
        NeedsSecret {
            tool: tool.to_owned(),
            location,
        }
    }

    #[test]
    fn a_page_is_asked_for_as_the_protocol_has_it() {
        let needs = needs("linear__search", "api_key");
        let question = needs.elicit_at("https://agent.example/new", "7").unwrap();
        let expected = json!({
            "mode": "url",
            "message": "The tool \"linear__search\" needs a secret for its argument \"/api_key\". Open the page to add it: it \
                        does not pass through this client.",
            "url": "https://agent.example/new",
            "elicitationId": "7",
        });
        assert_eq!(json!(question), expected);
    }

    #[test]
    fn a_form_has_no_field_for_a_value() {
        let question = json!(needs("linear__search", "api_key").elicit_done("linear"));
        assert_eq!(question["mode"], "form");
        let schema = &question["requestedSchema"];
        let fields = schema["properties"].as_object().unwrap();
        let fields: Vec<(&str, &Value)> = fields
            .iter()
            .map(|(name, field)| (&**name, &field["type"]))
            .collect();
        assert_eq!(fields, [("done", &json!("boolean"))]);
        assert_eq!(schema["required"], json!(["done"]));
        let message = question["message"].as_str().unwrap();
        let (_, command) = message.rsplit_once('\n').unwrap();
        assert_eq!(
            command,
            "keyward add --tool=linear__search --arg=/api_key --default -- linear"
        );
    }

    #[test]
    fn only_pages_that_nobody_on_the_way_can_read() {
        for (url, expected) in [
            ("https://agent.example/new?ask=1", true),
            ("HTTPS://agent.example", true),
            ("http://localhost:8080/new", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:3000/?a=b", true),
            ("http://agent.example/new", false),
            ("http://localhost.agent.example/", false),
            ("http://localhost@agent.example/", false),
            ("http://localhost:80@agent.example/", false),
            ("http://127.0.0.1.agent.example/", false),
            (r"http://localhost\@agent.example/", false),
            ("https://", false),
            ("https:///new", false),
            ("https://agent.example/\nnew", false),
            ("javascript:alert(1)", false),
            ("é", false),
            ("", false),
        ] {
            let asked = needs("t", "k").elicit_at(url, "1");
            assert_eq!(asked.is_ok(), expected, "{url:?}");
        }
    }

    /// What a shell makes of the words.
    #[cfg(unix)]
    #[test]
    fn the_line_for_the_terminal_is_one_command_whatever_the_names_are() {
        let awkward = [
            "plain-name_1.x/y",
            "",
            "two words",
            "it's",
            "$(touch here) `id` $HOME",
            "; rm -rf / #",
            "\\",
            "'\\''; echo",
            "*?[a]{b,c}~!",
            "-rf",
        ];
        for text in awkward {
            let word = shell_word(text).unwrap();
            let script = format!("printf '%s|' {word}");
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(printed, format!("{text}|"), "{word}");
        }
    }

    #[test]
    fn names_that_could_hide_something_are_not_put_into_a_command() {
        for tool in ["a\nb", "a\u{1b}[31mb", "a\u{202e}b", "é"] {
            let question = json!(needs(tool, "k").elicit_done("name"));
            let message = question["message"].as_str().unwrap();
            assert!(!message.contains("--tool"), "{message:?}");
            let hidden = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!message.contains(hidden), "{message:?}");
        }
    }
}

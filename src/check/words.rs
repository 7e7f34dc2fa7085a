//! What the name of an argument says about it.
//!
//! This is a heuristic. Names are split into words (at separators, and where a capital follows a small letter); the
//! last word says what the argument is, and those before it of what kind. A name that is missed costs a failed call;
//! one that is wrongly taken for a credential costs the person a look. So the lists hold what real tools use, and
//! `token`, which is also what language models count and what pages of lists are requested with, counts as a
//! credential only if no word for that precedes it.

/// Words that name a credential when they come last.
const CREDENTIALS: [&str; 20] = [
    "apikey",
    "apitoken",
    "authorization",
    "authtoken",
    "accesstoken",
    "bearer",
    "clientsecret",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pat",
    "privatekey",
    "pwd",
    "secret",
    "secretkey",
];

/// Words before `key` that make it a credential.
const KEYS: [&str; 22] = [
    "access",
    "account",
    "admin",
    "api",
    "app",
    "application",
    "auth",
    "client",
    "consumer",
    "developer",
    "encryption",
    "integration",
    "license",
    "master",
    "private",
    "secret",
    "server",
    "service",
    "signing",
    "ssh",
    "storage",
    "subscription",
];

/// Words before `token` that make it something other than a credential.
const COUNTED_OR_PAGED: [&str; 22] = [
    "continuation",
    "cursor",
    "delta",
    "end",
    "eos",
    "input",
    "last",
    "max",
    "min",
    "next",
    "num",
    "number",
    "output",
    "page",
    "pagination",
    "per",
    "prev",
    "previous",
    "start",
    "stop",
    "sync",
    "target",
];

/// Words that, when they come last, name a destination to send something to.
const DESTINATIONS: [&str; 16] = [
    "addr", "baseurl", "domain", "dsn", "endpoint", "fqdn", "host", "hostname", "instance", "ip",
    "origin", "server", "uri", "url", "webhook", "proxy",
];

/// Words before a destination that make it a place to fetch content from, or to mention, rather than to talk to.
const CONTENT: [&str; 14] = [
    "audio",
    "avatar",
    "cover",
    "file",
    "html",
    "icon",
    "image",
    "logo",
    "photo",
    "picture",
    "preview",
    "profile",
    "thumbnail",
    "video",
];

/// Whether an argument of this name is likely to be a credential.
pub(super) fn is_credential(name: &str) -> bool {
    let words = words(name);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        // Attributes of a credential: `access_key_id`, `authorization_header`, `credentials_json`.
        [.., "access", "key", "id"] => true,
        [ref rest @ .., "header" | "value" | "json" | "string"] if !rest.is_empty() => {
            rest.ends_with(&["connection"])
                || rest.ends_with(&["auth"])
                || rest.ends_with(&["service", "account"])
                || names_credential(rest)
        }
        ref words => names_credential(words),
    }
}

fn names_credential(words: &[&str]) -> bool {
    match words {
        ["auth" | "token"] | [.., "basic" | "http" | "proxy", "auth"] => true,
        [.., kind, "key"] => KEYS.contains(kind),
        [.., kind, "token"] => !COUNTED_OR_PAGED.contains(kind),
        [.., last] => CREDENTIALS.contains(last),
        [] => false,
    }
}

/// Whether an argument of this name is likely to say where something is sent.
pub(super) fn is_destination(name: &str) -> bool {
    let words = words(name);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [.., kind, last] => DESTINATIONS.contains(&last) && !CONTENT.contains(&kind),
        [last] => DESTINATIONS.contains(&last),
        [] => false,
    }
}

/// The words of a name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before: Option<char> = None;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let begins = c.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase() || before.is_numeric())
                || (before.is_some_and(char::is_uppercase)
                    && chars.peek().is_some_and(|next| next.is_lowercase())));
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        before = Some(c);
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_where_case_or_punctuation_changes() {
        for (name, expected) in [
            ("api_key", &["api", "key"][..]),
            ("X-API-Key", &["x", "api", "key"]),
            ("openAIApiKey", &["open", "ai", "api", "key"]),
            ("APIKey", &["api", "key"]),
            ("apikey", &["apikey"]),
            ("oauth2Token", &["oauth2", "token"]),
            ("__", &[]),
            ("schlüssel", &["schlüssel"]),
        ] {
            assert_eq!(words(name), expected, "{name}");
        }
    }

    #[test]
    fn names_of_credentials() {
        for name in [
            "api_key",
            "apiKey",
            "APIKEY",
            "x-api-key",
            "token",
            "access_token",
            "bot_token",
            "refreshToken",
            "GITHUB_PERSONAL_ACCESS_TOKEN",
            "password",
            "db_password",
            "Authorization",
            "proxy-authorization",
            "authorization_header",
            "client_secret",
            "secret",
            "aws_secret_access_key",
            "aws_access_key_id",
            "private_key",
            "credentials",
            "credentials_json",
            "service_account_json",
            "connection_string",
            "auth",
            "basic_auth",
            "session_cookie",
            "passphrase",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "",
            "key",
            "issue_key",
            "project_key",
            "unique_key",
            "keyframes",
            "primary_key",
            "author",
            "max_tokens",
            "tokens",
            "token_ttl",
            "token_count",
            "page_token",
            "nextPageToken",
            "continuation_token",
            "include_download_tokens",
            "password_policy",
            "secret_name",
            "secret_id",
            "tokenizer",
            "connection",
            "header",
            "json",
            "id",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn names_of_destinations() {
        for name in [
            "url",
            "base_url",
            "baseUrl",
            "endpoint",
            "host",
            "db_host",
            "server",
            "callback_url",
            "webhook",
            "connect_url",
            "domain",
            "instance",
            "target_uri",
        ] {
            assert!(is_destination(name), "{name}");
        }
        for name in [
            "image_url",
            "preview_url",
            "urls",
            "hosted",
            "title",
            "",
            "avatarUrl",
            "url_path",
            "server_name",
        ] {
            assert!(!is_destination(name), "{name}");
        }
    }
}

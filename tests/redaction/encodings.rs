//! Writers of all the forms in which a value is found.

use std::fmt::Write;

/// Values with everything that some encoding treats specially. The last three are short, just long enough, and
/// short in characters but not in bytes.
pub(crate) const VALUES: [&str; 10] = [
    "lin_api_Zq8wT3vN",
    "pa\"ss\\wo/rd\n\t\r\u{8}\u{c}\u{1} end",
    "鍵-schlüssel-ключ-🔑🗝",
    "aaaaaaaaaaaaaaaaaab",
    // Found only as a whole: its lines are too short, and no line break ends it.
    "-----BEGIN PRIVATE KEY-----\nMIIBVgIBADANBgk\nggE8AgEAAkEAq7\n-----END PRIVATE KEY-----",
    "~50% of a+b=c & d/e??>>~~",
    "???>>>???>>>",
    "\\\\server\\new\\u0041",
    "12345678",
    "🔑🗝鍵é",
];

pub(crate) const SHORT_VALUES: [&str; 5] = ["4711", "p\"\\s", "ab cd", "é-é1", "1234567"];

/// A small generator, so that "freely mixed" is the same mixture in every run.
pub(crate) struct Mix(u64);

impl Mix {
    pub(crate) fn new(seed: u64) -> Mix {
        Mix(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn case(&mut self, digits: &str) -> String {
        let pick = |c: char| {
            if self.below(2) == 0 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        };
        digits.chars().map(pick).collect()
    }
}

/// Every escape that RFC 8259 allows for the character, and the character itself where it needs no escape.
pub(crate) fn json_spellings(character: char) -> Vec<String> {
    let mut spellings = Vec::new();
    let mut units = String::new();
    for unit in character.encode_utf16(&mut [0; 2]) {
        write!(units, "\\u{unit:04x}").expect("a string takes it");
    }
    spellings.push(units.to_uppercase().replace('U', "u"));
    spellings.push(units);
    let short = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '/' => "\\/",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ => "",
    };
    if !short.is_empty() {
        spellings.push(short.to_owned());
    }
    if !matches!(character, '"' | '\\' | '\0'..='\u{1f}') {
        spellings.push(character.to_string());
    }
    spellings
}

pub(crate) fn json_mixed(value: &str, mix: &mut Mix) -> String {
    let spell = |character| {
        let spellings = json_spellings(character);
        spellings[mix.below(spellings.len())].clone()
    };
    value.chars().map(spell).collect()
}

/// The value as `serde_json` writes it.
pub(crate) fn json_minimal(value: &str) -> String {
    let quoted = serde_json::to_string(value).expect("a string is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

pub(crate) fn json_all(value: &str, upper: bool) -> String {
    value
        .chars()
        .map(|c| json_spellings(c)[usize::from(!upper)].clone())
        .collect()
}

/// Percent-encodes the value; `keep` says which bytes may stand for themselves.
pub(crate) fn percent(value: &[u8], upper: bool, keep: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut encoded = Vec::new();
    for &byte in value {
        if keep(byte) && byte != b'%' {
            encoded.push(byte);
        } else if upper {
            encoded.extend(format!("%{byte:02X}").bytes());
        } else {
            encoded.extend(format!("%{byte:02x}").bytes());
        }
    }
    encoded
}

pub(crate) fn form(value: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for &byte in value {
        match byte {
            b' ' => encoded.push(b'+'),
            byte => encoded.extend(percent(&[byte], true, |b| b.is_ascii_alphanumeric())),
        }
    }
    encoded
}

pub(crate) fn percent_mixed(value: &[u8], mix: &mut Mix) -> Vec<u8> {
    let mut encoded = Vec::new();
    for &byte in value {
        match mix.below(3) {
            0 if byte != b'%' => encoded.push(byte),
            0 | 1 => encoded.extend(mix.case(&format!("%{byte:02x}")).bytes()),
            _ if byte == b' ' => encoded.push(b'+'),
            _ => encoded.extend(format!("%{byte:02X}").bytes()),
        }
    }
    encoded
}

pub(crate) fn hex(value: &[u8], upper: bool) -> String {
    let mut digits = String::new();
    for byte in value {
        write!(digits, "{byte:02x}").expect("a string takes it");
    }
    if upper { digits.to_uppercase() } else { digits }
}

pub(crate) fn hex_mixed(value: &[u8], mix: &mut Mix) -> String {
    mix.case(&hex(value, false))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alphabet {
    Standard,
    UrlSafe,
}

pub(crate) fn base64(data: &[u8], alphabet: Alphabet, padded: bool) -> String {
    let mut letters: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').collect();
    letters.extend(match alphabet {
        Alphabet::Standard => ['+', '/'],
        Alphabet::UrlSafe => ['-', '_'],
    });
    let mut encoded = String::new();
    for group in data.chunks(3) {
        let number = group
            .iter()
            .fold(0_usize, |number, &byte| number << 8 | usize::from(byte));
        let number = number << (8 * (3 - group.len()));
        for i in 0..=group.len() {
            encoded.push(letters[number >> (18 - 6 * i) & 63]);
        }
        if padded {
            encoded.extend(std::iter::repeat_n('=', 3 - group.len()));
        }
    }
    encoded
}

/// Cuts into lines of `width` characters.
pub(crate) fn wrapped(encoded: &str, width: usize, line_break: &str) -> String {
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    lines.join(line_break)
}

/// Every listed form of the value on its own, with a label.
pub(crate) fn all(value: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = value.as_bytes();
    let mut forms: Vec<(String, Vec<u8>)> = vec![
        ("raw".into(), bytes.into()),
        ("json, minimal".into(), json_minimal(value).into()),
        ("json, upper".into(), json_all(value, true).into()),
        ("json, lower".into(), json_all(value, false).into()),
        ("percent, all upper".into(), percent(bytes, true, |_| false)),
        (
            "percent, all lower".into(),
            percent(bytes, false, |_| false),
        ),
        (
            "percent, component".into(),
            percent(bytes, true, |b| {
                b.is_ascii_alphanumeric() || b"-._~".contains(&b)
            }),
        ),
        (
            "percent, sloppy".into(),
            percent(bytes, true, |b| b != b' '),
        ),
        ("form".into(), form(bytes)),
        ("hex, lower".into(), hex(bytes, false).into()),
        ("hex, upper".into(), hex(bytes, true).into()),
        (
            "hex, wrapped".into(),
            wrapped(&hex(bytes, false), 6, "\n").into(),
        ),
        (
            "hex, wrapped, json".into(),
            wrapped(&hex(bytes, false), 10, "\\r\\n").into(),
        ),
    ];
    for seed in 0..4 {
        let mix = &mut Mix::new(seed);
        forms.push((format!("json, mixed {seed}"), json_mixed(value, mix).into()));
        forms.push((format!("percent, mixed {seed}"), percent_mixed(bytes, mix)));
        forms.push((format!("hex, mixed {seed}"), hex_mixed(bytes, mix).into()));
    }
    for alphabet in [Alphabet::Standard, Alphabet::UrlSafe] {
        for padded in [true, false] {
            let encoded = base64(bytes, alphabet, padded);
            let label = format!("base64, {alphabet:?}, padded: {padded}");
            forms.push((
                format!("{label}, wrapped"),
                wrapped(&encoded, 8, "\r\n").into(),
            ));
            forms.push((
                format!("{label}, wrapped, json"),
                wrapped(&encoded, 12, "\\n").into(),
            ));
            forms.push((
                format!("{label}, wrapped, percent"),
                wrapped(&encoded, 4, "%0D%0A").into(),
            ));
            forms.push((
                format!("{label}, percent"),
                percent(encoded.as_bytes(), true, |b| {
                    b.is_ascii_alphanumeric() || b"-_".contains(&b)
                }),
            ));
            forms.push((format!("{label}, json"), encoded.replace('/', "\\/").into()));
            forms.push((
                format!("{label}, html-safe json"),
                encoded
                    .replace('+', "\\u002B")
                    .replace('/', "\\u002f")
                    .replace('=', "\\u003d")
                    .into(),
            ));
            forms.push((label, encoded.into()));
        }
    }
    forms
}

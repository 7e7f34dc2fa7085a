//! JSON text by position: where values begin and end, and what the strings in it stand for (RFC 8259).
//!
//! Several modules read text in place, since a parsed form would lose what they must keep, or leave copies of values
//! behind. Text that is not JSON is accepted here, too: a caller that needs JSON checks the grammar first.

use memchr::memchr2;
use zeroize::Zeroizing;

/// Returns the byte at a place, if the text goes that far.
pub(crate) fn byte(text: &str, at: usize) -> Option<u8> {
    text.as_bytes().get(at).copied()
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a byte outside of strings belongs to no number and no literal.
pub(crate) fn is_structure(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':') || is_space(byte)
}

/// Returns the text without the whitespace around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c| u8::try_from(c).is_ok_and(is_space))
}

pub(crate) fn skip_space(text: &str, start: usize) -> usize {
    let rest = &text.as_bytes()[start.min(text.len())..];
    let length = rest.iter().position(|&byte| !is_space(byte));
    start + length.unwrap_or(rest.len())
}

/// Returns the end of the value that begins here; `None` if none does, or it does not end. Does not recurse: the value
/// may be nested to any depth.
pub(crate) fn value_end(text: &str, start: usize) -> Option<usize> {
    match byte(text, start)? {
        b'"' => string_end(text, start),
        b'{' | b'[' => container_end(text, start),
        _ => Some(scalar_end(text, start)).filter(|end| *end > start),
    }
}

fn container_end(text: &str, start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        match byte(text, at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Returns the position behind the closing quote of the string that begins here.
pub(crate) fn string_end(text: &str, start: usize) -> Option<usize> {
    if byte(text, start) != Some(b'"') {
        return None;
    }
    let mut at = start + 1;
    loop {
        at += memchr2(b'"', b'\\', text.as_bytes().get(at..)?)?;
        if text.as_bytes()[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Returns the end of a number, a literal, or whatever is there.
pub(crate) fn scalar_end(text: &str, start: usize) -> usize {
    let rest = &text.as_bytes()[start..];
    let ends = |byte: &u8| *byte == b'"' || is_structure(*byte);
    start + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Appends what the content of a string literal stands for, and returns whether all of it is Unicode text: half of a
/// surrogate pair is not, and becomes U+FFFD, as does `\u` without four digits; nor is a `\` at the end, which is left
/// out.
///
/// What is text has no more bytes than the content, and anything else at most half as many more. So a buffer of that
/// size does not move, which would leave a copy of a value behind.
pub(crate) fn unescape(content: &str, text: &mut String) -> bool {
    let mut is_text = true;
    let mut rest = content;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let mut chars = rest[at + 1..].chars();
        let escape = chars.next();
        rest = chars.as_str();
        match escape {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (c, length) = units(rest);
                is_text &= c.is_some();
                text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = &rest[length..];
            }
            Some(c) => text.push(c),
            None => is_text = false,
        }
    }
    text.push_str(rest);
    is_text
}

/// Returns what the content of a string literal stands for, where the grammar was checked; `None` if it is not Unicode
/// text.
pub(crate) fn unescaped(content: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(content.len()));
    unescape(content, &mut text).then_some(text)
}

/// The character that a `\u` and what follows it stand for, and how many bytes follow: four, or ten if it takes another
/// `\u`, or none if there are no digits.
fn units(rest: &str) -> (Option<char>, usize) {
    let unit = |text: &str| {
        let digits = text.get(..4)?;
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        are_digits.then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let Some(first) = unit(rest) else {
        return (None, 0);
    };
    if let Some(c) = char::from_u32(first.into()) {
        return (Some(c), 4);
    }
    let second = rest[4..].strip_prefix("\\u").and_then(unit);
    match second.and_then(|second| char::decode_utf16([first, second]).next()?.ok()) {
        Some(pair) => (Some(pair), 10),
        None => (None, 4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for (text, ends) in [
            (r#""a\"b" "#, Some(6)),
            (r#""\\", 1"#, Some(4)),
            (r#"{"}": [1, {"]": "\"}"}]}, 2"#, Some(24)),
            ("-1.5e3]", Some(6)),
            ("true", Some(4)),
            ("null\n", Some(4)),
            ("[[[]]]]", Some(6)),
            (", 1", None),
            ("", None),
            (r#""a"#, None),
            (r#""a\"#, None),
            ("[1, [2]", None),
        ] {
            assert_eq!(value_end(text, 0), ends, "{text}");
            let within = format!("é{text}");
            assert_eq!(value_end(&within, 2), ends.map(|end| end + 2), "{text}");
        }
    }

    #[test]
    fn strings_that_are_no_text_are_told() {
        for (content, expected, is_text) in [
            (r"a\u0041\n\/\\", "aA\n/\\", true),
            (r"\ud83d\ude00", "😀", true),
            (r"\ufffd", "\u{fffd}", true),
            (r"\ud800", "\u{fffd}", false),
            (r"\udc00", "\u{fffd}", false),
            (r"\ud800x", "\u{fffd}x", false),
            (r"\ud800\u0041", "\u{fffd}A", false),
            (r"\ud83d\ud83d", "\u{fffd}\u{fffd}", false),
            (r"\u00", "\u{fffd}00", false),
            (r"\u+041", "\u{fffd}+041", false),
            (r"\ué", "\u{fffd}é", false),
            (r"a\", "a", false),
        ] {
            let mut text = String::new();
            assert_eq!(unescape(content, &mut text), is_text, "{content}");
            assert_eq!(text, expected, "{content}");
        }
    }

    proptest! {
        #[test]
        fn a_buffer_need_not_be_larger_than_stated(content in r"(\\u|\\|[0-9a-f]|d8|dc|\\uffff|é|😀){0,20}") {
            let mut text = String::new();
            let more = if unescape(&content, &mut text) { 0 } else { content.len() / 2 };
            prop_assert!(text.len() <= content.len() + more, "{} bytes", text.len());
        }
    }
}

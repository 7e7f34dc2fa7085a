//! Where a text stops being JSON.
//!
//! The position is counted as Python's `json` module (up to 3.12) counts it, since the REST contract's
//! `json_invalid` gives the position that module found: in characters, and for an unterminated string, where it
//! begins. `serde_json` gives a line, and a column in bytes, which is often at the other end of the token.

/// The number of characters before the place where `text` stops being JSON; `None` if it is JSON.
pub(super) fn of_error(text: &str) -> Option<usize> {
    let at = Scan::new(text).run().err()?;
    // Every such position is before an ASCII character or at the end.
    let before = text.get(..at).unwrap_or(text);
    Some(before.chars().count())
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    /// The open containers, innermost last. On the heap: a body can be nested as deeply as it is long.
    open: Vec<Open>,
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    Object,
    Array,
}

/// The error is the position, in bytes, where it was found.
type Found = Result<(), usize>;

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Scan<'a> {
        Scan {
            text: text.as_bytes(),
            at: 0,
            open: Vec::new(),
        }
    }

    fn run(mut self) -> Found {
        self.whitespace();
        loop {
            self.value()?;
            if !self.next_value()? {
                break;
            }
        }
        self.whitespace();
        if self.at < self.text.len() {
            return Err(self.at);
        }
        Ok(())
    }

    /// Passes a scalar or an empty container, or, of any other container, everything before its first value.
    fn value(&mut self) -> Found {
        loop {
            let open = match self.peek() {
                Some(b'{') => Open::Object,
                Some(b'[') => Open::Array,
                Some(b'"') => return self.string(),
                _ => return self.word_or_number(),
            };
            self.at += 1;
            self.whitespace();
            if self.peek() == Some(open.end()) {
                self.at += 1;
                return Ok(());
            }
            self.open.push(open);
            if open == Open::Object {
                self.member_name()?;
            }
        }
    }

    /// Goes on after a value: past the ends of containers, to the next value of the innermost one that has more.
    /// Returns whether there is such a value.
    fn next_value(&mut self) -> Result<bool, usize> {
        while let Some(&open) = self.open.last() {
            self.whitespace();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.whitespace();
                    if open == Open::Object {
                        self.member_name()?;
                    }
                    return Ok(true);
                }
                Some(end) if end == open.end() => {
                    self.at += 1;
                    self.open.pop();
                }
                _ => return Err(self.at),
            }
        }
        Ok(false)
    }

    /// Passes the name of a member, its colon, and the space after it.
    fn member_name(&mut self) -> Found {
        if self.peek() != Some(b'"') {
            return Err(self.at);
        }
        self.string()?;
        self.whitespace();
        if self.peek() != Some(b':') {
            return Err(self.at);
        }
        self.at += 1;
        self.whitespace();
        Ok(())
    }

    fn string(&mut self) -> Found {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(start),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(start)?,
                Some(..0x20) => return Err(self.at),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self, start: usize) -> Found {
        let escape = self.at;
        match self.text.get(escape + 1) {
            None => Err(start),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let digits = self.text.get(escape + 2..escape + 6);
                let follows = self.text.len() > escape + 6;
                if !follows
                    || !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                {
                    return Err(escape + 1);
                }
                self.at += 6;
                Ok(())
            }
            Some(_) => Err(escape),
        }
    }

    fn word_or_number(&mut self) -> Found {
        for word in ["null", "true", "false"] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(start),
        }
        if self.peek() == Some(b'.') && self.is_digit(self.at + 1) {
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.text.get(self.at + 1), Some(b'+' | b'-')));
            if self.is_digit(self.at + 1 + sign) {
                self.at += 1 + sign;
                self.digits();
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.is_digit(self.at) {
            self.at += 1;
        }
    }

    fn whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn is_digit(&self, at: usize) -> bool {
        self.text.get(at).is_some_and(u8::is_ascii_digit)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

impl Open {
    fn end(self) -> u8 {
        match self {
            Open::Object => b'}',
            Open::Array => b']',
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    /// The positions that `json.loads` of Python 3.11 reports.
    #[test]
    fn the_places_are_those_of_python() {
        for (text, at) in [
            ("", 0),
            (" ", 1),
            ("x", 0),
            ("{", 1),
            ("{ ", 2),
            ("[", 1),
            ("[1", 2),
            ("[1,]", 3),
            (r#"{"a""#, 4),
            (r#"{"a":"#, 5),
            (r#"{"a":}"#, 5),
            (r#"{"a" 1}"#, 5),
            (r#"{"a":1,}"#, 7),
            (r#"{"a":1 "b":2}"#, 7),
            (r#"{"a":[1}"#, 7),
            ("{} {}", 3),
            ("{}]", 2),
            (r#"{"é": "ü" x}"#, 10),
            (r#"{"é": x}"#, 6),
            (r#""abc"#, 0),
            (r#"["abc\"#, 1),
            ("\"a\nb\"", 2),
            (r#""\x""#, 1),
            (r#""\u12""#, 2),
            (r#""\u12G4""#, 2),
            (r#""\u1234"#, 2),
            (r#""\ud83d\u00"#, 8),
            ("-", 0),
            ("01", 1),
            ("1.", 1),
            ("1.e5", 1),
            ("1e", 1),
            ("1e+", 1),
            ("1.25x", 4),
            ("-0.5e-10]", 8),
            ("10E3 x", 5),
            (r#"[[1], {"a":2}] x"#, 15),
            (r#""ab\n\"" x"#, 9),
            (r#""ab\u00e9" x"#, 11),
            ("[-1] x", 5),
            ("[-Infinity]", 1),
            ("NaN", 0),
            ("nul", 0),
            ("truex", 4),
            ("\u{feff}{}", 0),
        ] {
            assert_eq!(of_error(text), Some(at), "{text}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(of_error(&deep), Some(1_000_000));
        assert_eq!(of_error(&(deep + &"]".repeat(1_000_000))), None);
    }

    proptest! {
        #[test]
        fn a_place_is_found_exactly_if_the_parser_refuses(
            text in r#"([\[\]{},:" ]|"a"|\\u|\\n|\\|[0-2]|[-+.eE]|true|null|é|\n){0,14}"#,
        ) {
            let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(of_error(&text).is_none(), is_json, "{}", text);
        }
    }
}

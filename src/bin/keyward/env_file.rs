//! Files of environment variables: `.env`.
//!
//! | line | meaning |
//! |---|---|
//! | `NAME=text` | up to the end of the line, or to a `#` after a space; space at both ends does not count |
//! | `NAME='text'` | up to the next `'`, even across lines |
//! | `NAME="text"` | up to the next `"`, even across lines; `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are escapes |
//! | `export NAME=…` | the same as without `export` |
//! | `# …`, nothing | a comment |
//!
//! `$` is a character like any other. If a name occurs twice, the last line counts, as when a shell reads the file.

use std::{collections::HashSet, fmt, iter::Peekable, str::CharIndices};

use keyward::SecretValue;
use zeroize::Zeroizing;

/// A variable and its value.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: SecretValue,
}

/// The error of a line that does not belong in a `.env` file. Does not repeat the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAnEnvFile {
    line: usize,
    message: &'static str,
}

impl fmt::Display for NotAnEnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

pub(crate) fn parse(text: &str) -> Result<Vec<Variable>, NotAnEnvFile> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables: Vec<Variable> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(last_of_each(variables));
        }
        let before = &text[..text.len() - rest.len()];
        let refuse = |message| NotAnEnvFile {
            line: 1 + before.matches('\n').count(),
            message,
        };
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let (name, after) = rest
            .split_once('=')
            .filter(|(name, _)| !name.contains('\n'))
            .ok_or_else(|| refuse("this is not NAME=value"))?;
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim);
        if !is_name(name) {
            return Err(refuse("a name can only have letters, digits and _"));
        }
        let after = after.trim_start_matches([' ', '\t']);
        let (value, after) =
            match after.chars().next() {
                Some('\'') => single_quoted(&after[1..])
                    .ok_or_else(|| refuse("the value has no closing '"))?,
                Some('"') => double_quoted(&after[1..])
                    .ok_or_else(|| refuse("the value has no closing \""))?,
                _ => bare(after),
            };
        let (tail, after) = after.split_once('\n').unwrap_or((after, ""));
        if !tail.trim().is_empty() && !tail.trim_start().starts_with('#') {
            return Err(refuse("there is text after the value"));
        }
        rest = after;
        variables.push(Variable {
            name: name.to_owned(),
            value: value.into(),
        });
    }
}

/// Of several variables with the same name, keeps the last.
fn last_of_each(variables: Vec<Variable>) -> Vec<Variable> {
    let mut names = HashSet::new();
    let is_last = |variable: &Variable| names.insert(variable.name.clone());
    let mut last: Vec<Variable> = variables.into_iter().rev().filter(is_last).collect();
    last.reverse();
    last
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value, and the text behind it.
type Quoted<'a> = (Zeroizing<String>, &'a str);

fn bare(text: &str) -> Quoted<'_> {
    let end = text.find('\n').unwrap_or(text.len());
    let line = &text[..end];
    let mut comment = line.match_indices('#').map(|(at, _)| at);
    let value = match comment.find(|&at| at == 0 || line[..at].ends_with([' ', '\t'])) {
        Some(at) => &line[..at],
        None => line,
    };
    (Zeroizing::new(value.trim().to_owned()), &text[end..])
}

fn single_quoted(text: &str) -> Option<Quoted<'_>> {
    let (value, rest) = text.split_once('\'')?;
    Some((Zeroizing::new(value.to_owned()), rest))
}

fn double_quoted(text: &str) -> Option<Quoted<'_>> {
    // No escape is shorter than what it stands for.
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars: Peekable<CharIndices<'_>> = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.peek().map(|&(_, next)| next) {
                Some(next @ ('n' | 'r' | 't' | '"' | '\\' | '$')) => {
                    chars.next();
                    value.push(match next {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => other,
                    });
                }
                _ => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let variables = parse(text).unwrap();
        let pair = |variable: Variable| (variable.name, variable.value.expose_secret().to_owned());
        variables.into_iter().map(pair).collect()
    }

    #[test]
    fn each_line_means_what_the_table_says() {
        let cases = [
            ("A=plain", "plain"),
            ("export A=plain\r\n", "plain"),
            (" A = spaced \t", "spaced"),
            ("A=a#b # comment", "a#b"),
            ("A=# comment", ""),
            ("A='raw $x \\n # \"'", "raw $x \\n # \""),
            ("A=\"two\\nlines\" # comment", "two\nlines"),
            ("A=\"a \\\"q\\\" \\\\ \\$ \\x\"", "a \"q\" \\ $ \\x"),
            (
                "A=\"-----BEGIN\nabc\n-----END\"",
                "-----BEGIN\nabc\n-----END",
            ),
            ("A=ab=cd==", "ab=cd=="),
            ("A=first\nA=last", "last"),
            ("\u{feff}# é\n\nA=é", "é"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                read(text),
                [("A".to_owned(), expected.to_owned())],
                "{text:?}"
            );
        }
        assert_eq!(read("# nothing\n\n"), []);
        assert_eq!(read("A='1\n2'\nB=3").len(), 2);
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number_only() {
        let cases = [
            ("A=1\nhunter2", 2),
            ("A=1\n\nB C=2", 3),
            ("A='x\n", 1),
            ("A=\"x\\\"", 1),
            ("A='x' y", 1),
            ("=x", 1),
        ];
        for (text, line) in cases {
            let error = parse(text).err().unwrap();
            assert_eq!(error.line, line, "{text:?}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    /// If for each variable the lines before it were counted, and the variables before it compared, this would take
    /// minutes.
    #[test]
    fn a_long_file_is_read_in_time_that_is_linear_in_its_length() {
        let lines: Vec<String> = (0..300_000).map(|n| format!("NAME_{n}=value")).collect();
        assert_eq!(parse(&lines.join("\n")).unwrap().len(), lines.len());
    }
}

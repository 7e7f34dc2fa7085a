//! Values and passphrases: from a prompt without echo, or from standard input.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
};

use keyward::{Bounds, SecretValue};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{buffer, failure::Failure};
#[cfg(unix)]
use crate::{signals, terminal::Quiet};

/// Where secrets are read from.
pub(crate) struct Input {
    /// Whether passphrases are lines of standard input.
    passphrase_lines: bool,
    may_prompt: bool,
}

impl Input {
    pub(crate) fn new(passphrase_lines: bool) -> Input {
        Input {
            passphrase_lines,
            may_prompt: true,
        }
    }

    /// For a program whose standard input does not come from a person.
    pub(crate) fn without_prompt(mut self) -> Input {
        self.may_prompt = false;
        self
    }

    /// Whether standard input is for something else.
    pub(crate) fn is_taken(&self) -> bool {
        !self.may_prompt
    }

    /// Reads the next line of standard input, if passphrases come from there.
    pub(crate) fn passphrase_line(&mut self) -> Result<Option<SecretValue>, Failure> {
        if !self.passphrase_lines {
            return Ok(None);
        }
        let line = read_line()?;
        line.map(Some)
            .ok_or_else(|| Failure::no_key("standard input has no further passphrase"))
    }

    /// Reads a line that is typed at the terminal; `None` if there is no terminal.
    pub(crate) fn prompt(&mut self, prompt: &str) -> Result<Option<SecretValue>, Failure> {
        if !self.may_prompt || self.passphrase_lines {
            return Ok(None);
        }
        #[cfg(unix)]
        let _quiet = Quiet::new();
        typed(prompt)
    }

    /// Reads a passphrase other than the vault's.
    pub(crate) fn passphrase(&mut self) -> Result<SecretValue, Failure> {
        if let Some(line) = self.passphrase_line()? {
            return Ok(line);
        }
        let typed = self.prompt("The other passphrase: ")?;
        typed.ok_or_else(|| {
            Failure::no_key(
                "the other passphrase cannot be asked for without a terminal: give --passphrase-stdin",
            )
        })
    }

    /// Reads the value of a secret: typed, or all of standard input except for one trailing line end.
    pub(crate) fn value(&mut self) -> Result<SecretValue, Failure> {
        if value_is_typed() {
            return self.typed_value();
        }
        let most = format!(
            "{MOST_MIB} MiB: it may have at most {} characters",
            Bounds::MAX_VALUE_CHARS.end()
        );
        let mut text = read_text(&mut io::stdin().lock(), "the value", &most)?;
        strip_line_end(&mut text);
        Ok(text.into())
    }

    /// Reads a value that is typed or pasted. Of several lines only the first would be read, and the others would be
    /// commands for the shell.
    fn typed_value(&mut self) -> Result<SecretValue, Failure> {
        let elsewhere = || Failure::usage("pass the value on standard input");
        if !self.may_prompt || self.passphrase_lines {
            return Err(elsewhere());
        }
        #[cfg(unix)]
        let quiet = Quiet::new();
        let value = typed("Value: ");
        // Even if the first line is none: the others must not reach the shell.
        #[cfg(unix)]
        let has_more = quiet.is_some_and(|quiet| quiet.drop_the_rest());
        let value = value?.ok_or_else(elsewhere)?;
        #[cfg(unix)]
        if has_more {
            return Err(Failure::invalid(
                "more than one line was pasted, and nothing is stored: pass a value of several lines on standard input",
            ));
        }
        Ok(value)
    }
}

/// Reads a line from the terminal; `None` if there is none.
fn typed(prompt: &str) -> Result<Option<SecretValue>, Failure> {
    match rpassword::prompt_password(prompt) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            // What `rpassword` puts in the place of bytes that are none.
            if text.contains(char::REPLACEMENT_CHARACTER) {
                return Err(Failure::invalid(
                    "what was typed is not valid UTF-8: use a terminal that sends it",
                ));
            }
            Ok(Some(text.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Failure::usage("nothing was typed"))
        }
        #[cfg(unix)]
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            // By Ctrl-C, which was also raised as a signal: that ends the program, unless it is ignored.
            while !signals::is_ignored(signals::SIGINT) {
                std::thread::park();
            }
            Err(Failure::usage("nothing was typed"))
        }
        Err(_) => Ok(None),
    }
}

/// Whether a value is asked for, and is not read from standard input.
pub(crate) fn value_is_typed() -> bool {
    io::stdin().is_terminal()
}

/// Reads the text of a file; `-` is standard input.
pub(crate) fn read_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let of_file = |failure: Failure| failure.of_file(path);
    let most = format!("{MOST_MIB} MiB");
    if path.as_os_str() == "-" {
        return read_text(&mut io::stdin().lock(), "this", &most).map_err(of_file);
    }
    let mut file = fs::File::open(path).map_err(|error| Failure::file(path, &error))?;
    read_text(&mut file, "this", &most).map_err(of_file)
}

/// Reads the JSON in a file; `-` is standard input.
pub(crate) fn read_json(path: &Path) -> Result<Value, Failure> {
    let text = read_file(path)?;
    serde_json::from_str(&text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Failure::invalid(format!("{}: not valid JSON: {place}", path.display()))
    })
}

/// More than a passphrase or a value that is typed has, in bytes.
const LONGEST_LINE: usize = MIB;

/// More than any value may have, in bytes.
const MOST: usize = MOST_MIB * MIB;

const MOST_MIB: usize = 16;

const MIB: usize = 1024 * 1024;

/// Reads all that there is of `what`, which may have at most `most`, as a message calls them.
fn read_text(from: &mut impl Read, what: &str, most: &str) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let mut buffer = Zeroizing::new([0; 8192]);
    loop {
        let length = from.read(&mut *buffer)?;
        if length == 0 {
            break;
        }
        if bytes.len() + length > MOST {
            return Err(too_long(what, most));
        }
        buffer::append(&mut bytes, &buffer[..length]);
    }
    text_of(&bytes, what)
}

fn text_of(bytes: &[u8], what: &str) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Failure::invalid(format!("{what} is not valid UTF-8")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn too_long(what: &str, most: &str) -> Failure {
    Failure::invalid(format!("{what} is longer than {most}"))
}

/// What is read as a line.
const LINE: &str = "the line with the passphrase";

/// Reads a line of standard input, and nothing after it, since that may be meant for a command that this program
/// starts.
fn read_line() -> Result<Option<SecretValue>, Failure> {
    let mut from = unbuffered_input()?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let mut byte = Zeroizing::new([0]);
    while !bytes.ends_with(b"\n") {
        match from.read(&mut *byte) {
            Ok(0) => break,
            Ok(_) if bytes.len() == LONGEST_LINE => {
                return Err(too_long(LINE, "1 MiB"));
            }
            Ok(_) => buffer::append(&mut bytes, &*byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut line = text_of(&bytes, LINE)?;
    strip_line_end(&mut line);
    Ok(Some(line.into()))
}

#[cfg(unix)]
fn unbuffered_input() -> io::Result<impl Read> {
    use std::os::fd::AsFd as _;

    io::stdin().as_fd().try_clone_to_owned().map(fs::File::from)
}

#[cfg(not(unix))]
fn unbuffered_input() -> io::Result<impl Read> {
    Ok(io::stdin().lock())
}

fn strip_line_end(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

//! Answers: tables for people, JSON for programs.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Read, Write},
    iter,
};

use keyward::{SecretInfo, Usage};
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

/// Writes to standard output in the requested form.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Writes a value of the REST contract, or its table.
    pub(crate) fn answer(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = if self.json {
            format!("{}\n", json!(value))
        } else {
            text()
        };
        write(text.as_bytes())
    }

    /// Says that something was done: a line for people, which may have names and paths, or the details for programs.
    pub(crate) fn done(
        self,
        value: &impl Serialize,
        text: impl Into<String>,
    ) -> Result<(), Failure> {
        let answered = self.answer(value, || printable(&text.into()) + "\n");
        answered.map_err(Failure::after_success)
    }
}

/// A reader or a writer that waits where its file has nothing, or takes no more, for now and says so instead of
/// waiting. A command that this program runs can bring that about: its standard input may be the same open file as this
/// standard output.
pub(crate) struct Patient<F>(pub(crate) F);

#[cfg(unix)]
impl<F: std::os::fd::AsFd> Patient<F> {
    fn retry<T>(
        &mut self,
        ready: rustix::event::PollFlags,
        mut attempt: impl FnMut(&mut F) -> io::Result<T>,
    ) -> io::Result<T> {
        use rustix::{
            event::{PollFd, poll},
            io::retry_on_intr,
        };

        loop {
            match attempt(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut file = [PollFd::new(&self.0, ready)];
                    retry_on_intr(|| poll(&mut file, None))?;
                }
                done => return done,
            }
        }
    }
}

#[cfg(unix)]
impl<W: Write + std::os::fd::AsFd> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry(rustix::event::PollFlags::OUT, |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.retry(rustix::event::PollFlags::OUT, W::flush)
    }
}

#[cfg(unix)]
impl<R: Read + std::os::fd::AsFd> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(rustix::event::PollFlags::IN, |from| from.read(buffer))
    }
}

#[cfg(not(unix))]
impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(not(unix))]
impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// Writes to standard output. If its reader has gone away, that is no error: what was to be done is done anyway.
pub(crate) fn write(text: &[u8]) -> Result<(), Failure> {
    match Patient(io::stdout().lock()).write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Writes a line to standard error, even if nobody reads it.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

pub(crate) fn secrets_table(secrets: &[SecretInfo]) -> String {
    let mut rows =
        vec![["NAME", "VALUE", "TOOLS", "ARGUMENT", "DEFAULT", "UPDATED"].map(String::from)];
    for info in secrets {
        rows.push([
            info.secret_name.clone(),
            info.display.clone().unwrap_or_default(),
            info.tool_name.clone().unwrap_or_default(),
            info.tool_arg.clone().unwrap_or_default(),
            yes_or_no(info.is_default_for_tool).to_owned(),
            info.updated_at.format("%Y-%m-%d %H:%M").to_string(),
        ]);
    }
    table(&rows)
}

pub(crate) fn secret_card(info: &SecretInfo) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut fields = vec![
        ("name", info.secret_name.clone()),
        ("id", info.secret_id.to_string()),
        ("value", or_none(&info.display)),
        ("tools", or_none(&info.tool_name)),
        ("argument", or_none(&info.tool_arg)),
        ("default", yes_or_no(info.is_default_for_tool).to_owned()),
    ];
    if let Some(format) = &info.format {
        fields.push(("format", format.clone()));
    }
    let time =
        |time: &chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    fields.extend([
        ("created", time(&info.created_at)),
        ("updated", time(&info.updated_at)),
        ("revision", info.revision.to_string()),
    ]);
    let rows: Vec<[String; 2]> = fields
        .into_iter()
        .map(|(name, value)| [name.to_owned(), value])
        .collect();
    columns(&rows)
}

pub(crate) fn usage_text(usage: Usage) -> String {
    let (secrets, bytes) = (
        counted(usage.secrets, "secret"),
        counted(usage.bytes, "byte"),
    );
    format!("{secrets}, {bytes}\n")
}

/// `1 tool`, `2 tools`.
pub(crate) fn counted(count: impl TryInto<u64> + Display, what: &str) -> String {
    let text = format!("{count} {what}");
    let is_one = count.try_into().is_ok_and(|count| count == 1);
    if is_one { text } else { text + "s" }
}

/// Columns with a heading, which is bold on a terminal that has colors.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let text = columns(rows);
    let bold =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    match text.split_once('\n') {
        Some((heading, rest)) if bold => format!("\x1b[1m{heading}\x1b[0m\n{rest}"),
        _ => text,
    }
}

/// The widest column, in characters. Only the rows with longer cells are longer: names come from servers and files, and
/// one long one must not make every row as long.
const WIDEST: usize = 100;

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| printable(cell)))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().min(WIDEST).max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let missing = width.saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.extend(iter::repeat_n(' ', missing + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Escapes a name, so that it cannot control the terminal, and hides no characters that other names do not have.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control() || is_invisible(c);
            let plain = (!escaped).then_some(c);
            let escape = escaped.then(|| c.escape_unicode());
            plain.into_iter().chain(escape.into_iter().flatten())
        })
        .collect()
}

/// Whether a character has no width, and is not a part of any word: marks of direction, separators of lines, tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

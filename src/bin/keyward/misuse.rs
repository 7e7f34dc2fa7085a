//! A command line that cannot be understood, said without repeating what may be a value.

use clap::{
    ArgMatches, CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{args::Cli, failure::Failure};

/// Parses the command line.
pub(crate) fn read() -> Result<Cli, Misunderstood> {
    Cli::parse_typed().map_err(Misunderstood::new)
}

/// A command line that cannot be understood, or one that asks for help.
pub(crate) struct Misunderstood {
    error: clap::Error,
    pub(crate) json: bool,
    /// Whether it is for a command that exits with the exit code of the program that it runs.
    pub(crate) exits_as_its_command: bool,
    has_dashes: bool,
}

impl Misunderstood {
    fn new(error: clap::Error) -> Misunderstood {
        // What can be understood of it.
        let matches = Cli::command().ignore_errors(true).try_get_matches().ok();
        let command = matches.as_ref().and_then(ArgMatches::subcommand_name);
        let has = |wanted: &[&str]| {
            let mut words = std::env::args_os().take_while(|word| word != "--");
            words.any(|word| wanted.iter().any(|wanted| word == *wanted))
        };
        Misunderstood {
            error: without_values(error, matches.as_ref()),
            json: has(&["--json"]),
            exits_as_its_command: command.map_or_else(
                || has(&["run", "mcp"]),
                |command| matches!(command, "run" | "mcp"),
            ),
            has_dashes: std::env::args_os().any(|word| word == "--"),
        }
    }

    pub(crate) fn asks_for_help(&self) -> bool {
        !self.error.use_stderr()
    }

    /// Prints it with all that clap says about it.
    pub(crate) fn print(&self) {
        let _ = self.error.print();
    }

    /// The same in one line.
    pub(crate) fn failure(&self) -> Failure {
        let text = self.error.render().to_string();
        let lines = text.lines().take_while(|line| !line.is_empty());
        let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        let line = line.strip_prefix("error: ").unwrap_or(&line);
        if self.exits_as_its_command
            && self.error.kind() == ErrorKind::UnknownArgument
            && !self.has_dashes
        {
            return Failure::usage(format!(
                "{line}: give the command and its arguments after `--`"
            ));
        }
        Failure::usage(line)
    }
}

/// What stands for a word that is not repeated.
const HIDDEN: &str = "…";

/// Hides the words of the command line that were not expected: a person may have typed a value or a passphrase there
/// by mistake. They are hidden even if they resemble a word that would be possible. That word is still suggested, so
/// that a person sees what was mistyped.
fn without_values(mut error: clap::Error, matches: Option<&ArgMatches>) -> clap::Error {
    let hidden = || ContextValue::String(HIDDEN.to_owned());
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && !is_option(argument)
    {
        error.insert(ContextKind::InvalidArg, hidden());
        error.remove(ContextKind::Suggested);
    }
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(command @ ("add" | "update")) = matches.and_then(ArgMatches::subcommand_name)
        && is_meant_as_value(&error)
    {
        let mut cli = Cli::command();
        cli.build();
        let usage = cli
            .find_subcommand_mut(command)
            .map(clap::Command::render_usage);
        let tip = "a secret's value is no argument: it is asked for, or read from standard input";
        error.remove(ContextKind::SuggestedArg);
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
        if let Some(usage) = usage {
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
        }
    }
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && !value.is_empty()
    {
        error.insert(ContextKind::InvalidValue, hidden());
    }
    if error.kind() == ErrorKind::InvalidSubcommand {
        error.insert(ContextKind::InvalidSubcommand, hidden());
        if error.get(ContextKind::SuggestedSubcommand).is_none() {
            let possible = format!("possible subcommands: {}", subcommands(matches).join(", "));
            error.insert(
                ContextKind::Suggested,
                ContextValue::StyledStrs(vec![possible.into()]),
            );
        }
    }
    error
}

/// Whether an argument that was not expected may be a value, and no option that was mistyped.
fn is_meant_as_value(error: &clap::Error) -> bool {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return false;
    };
    argument == "--value" || error.get(ContextKind::SuggestedArg).is_none()
}

/// The subcommands of the command that was understood.
fn subcommands(mut matches: Option<&ArgMatches>) -> Vec<String> {
    let cli = Cli::command();
    let mut command = &cli;
    while let Some((name, of_subcommand)) = matches.and_then(ArgMatches::subcommand)
        && let Some(subcommand) = command.find_subcommand(name)
    {
        (command, matches) = (subcommand, Some(of_subcommand));
    }
    let names = command.get_subcommands().map(clap::Command::get_name);
    names.map(str::to_owned).collect()
}

/// Whether a word is an option, if not of this command. Any other word may be a passphrase that begins with a hyphen.
fn is_option(word: &str) -> bool {
    fn has(command: &clap::Command, name: &str) -> bool {
        let mut options = command.get_arguments();
        options.any(|option| option.get_long() == Some(name))
            || command.get_subcommands().any(|command| has(command, name))
    }
    let name = word.strip_prefix("--");
    name.is_some_and(|name| has(&Cli::command(), name))
}

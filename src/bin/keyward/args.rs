//! The words of the command line.

use std::{path::PathBuf, str::FromStr};

use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::Resettable, parser::ValueSource,
};
use clap_complete::Shell;
use keyward::{Anchor, Error, FieldError, UserId, audit::AuditHead};

/// Secrets for an agent's tools, each bound to a tool and an argument.
///
/// A value or a passphrase is never an argument: it is asked for without echo, or read from standard input.
#[derive(Parser)]
#[command(name = "keyward", version, after_help = MORE)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What was typed; an error also if it asks for help. A variable that is empty counts as one that is not set:
    /// configurations of containers and clients often set variables to nothing.
    pub(crate) fn parse_typed() -> Result<Cli, clap::Error> {
        let command = Cli::command().mut_args(|arg| {
            let value = arg.get_env().and_then(std::env::var_os);
            if value.is_some_and(|value| value.is_empty()) {
                arg.env(Resettable::Reset)
            } else {
                arg
            }
        });
        let matches = command.try_get_matches()?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.globals.prefer_typed(&matches);
        Ok(cli)
    }
}

const MORE: &str = "\
To begin:
  keyward init                                                   creates a vault, and asks for its passphrase
  keyward add linear --tool 'linear__*' --arg api_key --default  adds a secret, and asks for its value
  keyward mcp --server linear -- COMMAND                         runs an MCP server that gets it at each call

Exit codes:
   0  done
   1  there is no vault; a file cannot be read or written; the store, the operating system or an MCP server failed
   2  the command line cannot be understood
   3  there is no such secret or user
   4  a name or a default is taken, a secret or a vault already exists, or the secret was changed meanwhile
   5  a field is not valid
   6  a limit would be exceeded
   7  no key was given, or it is not the right one
   8  another process has the vault open
   9  the vault is damaged, older than it should be, or of a later version; the audit log was changed
  10  a reference is not granted
  11  `check` found something
 126  the command that `run`, `mcp` or `check` starts cannot be run
 127  that command is not found
`run` and `mcp` exit with their command's exit code. If keyward itself fails, they exit with 125 (and one line on
standard error), or with 126 or 127 as above.";

const ENDS_AS_ITS_COMMAND: &str = "\
Exits with COMMAND's exit code. If keyward itself fails, it reports that in one line on standard error and exits with
125; with 126 if COMMAND cannot be run, and 127 if it is not found.";

const FINDS_SOMETHING: &str = "\
Exits with 11 if it finds something; with 126 if COMMAND cannot be run, and 127 if it is not found.";

/// Where the vault is, what opens it, and how to answer.
#[derive(Args)]
#[command(next_help_heading = "Vault, key and output")]
pub(crate) struct GlobalArgs {
    /// The vault's file [default: keyward/vault.keyward in the user's data folder].
    #[arg(long, global = true, env = "KEYWARD_VAULT", value_name = "FILE")]
    pub(crate) vault: Option<PathBuf>,

    /// A file with the key: 32 bytes, or 64 hexadecimal digits. Without it, the key is the passphrase in
    /// `KEYWARD_PASSPHRASE`; if that is not set, a passphrase is asked for.
    #[arg(long, global = true, env = "KEYWARD_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// The key is in the operating system's keyring. The variable says so with `1` or `true`.
    #[cfg(feature = "keyring")]
    #[arg(long, global = true, env = "KEYWARD_KEYRING", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) keyring: bool,

    /// Passphrases are the first lines of standard input, in the order in which they are needed. The first is the
    /// vault's, whatever key the environment has, unless another option here names its key.
    #[arg(long, global = true)]
    pub(crate) passphrase_stdin: bool,

    /// The user's UUID [default: 00000000-0000-0000-0000-000000000000, for a vault that one person uses].
    #[arg(long, global = true, env = "KEYWARD_USER", value_name = "UUID", value_parser = parsed::<UserId>)]
    pub(crate) user: Option<UserId>,

    /// A log of what is done, without values, whose lines form a chain. Created if missing; several processes can write
    /// to it.
    #[arg(long, global = true, env = "KEYWARD_AUDIT_LOG", value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,

    /// How many seconds to wait for a vault that another process has open.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) wait: u64,

    /// Answers in JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl GlobalArgs {
    /// Drops the keys that the environment names, if the command line names one.
    fn prefer_typed(&mut self, matches: &ArgMatches) {
        let is_typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let key_file = is_typed("key_file");
        let keyring = cfg!(feature = "keyring") && is_typed("keyring");
        if !(key_file || keyring || self.passphrase_stdin) {
            return;
        }
        if !key_file {
            self.key_file = None;
        }
        #[cfg(feature = "keyring")]
        if !keyring {
            self.keyring = false;
        }
    }

    /// What is wrong with the combination of keys that are named for this command.
    pub(crate) fn contradiction(&self, command: &Command) -> Option<&'static str> {
        let key_file = self.key_file.is_some();
        #[cfg(feature = "keyring")]
        if key_file && self.keyring {
            return Some("the vault's key is either in a file or in the keyring: name one of them");
        }
        #[cfg(feature = "keyring")]
        let key_file = key_file || self.keyring;
        (key_file && self.passphrase_stdin && !command.takes_another_passphrase()).then_some(
            "the vault's key is not a passphrase, and nothing else needs one: drop --passphrase-stdin or the other key",
        )
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Creates a vault and asks for its passphrase; with `--key-file`, that file is the key, and is created if missing.
    Init,
    /// Adds a secret. Its value is asked for, or read from standard input.
    Add(Add),
    /// Lists the secrets, oldest first.
    List,
    /// Shows a secret, without its value.
    Show {
        /// The secret's name or id.
        secret: String,
    },
    /// Changes a secret.
    Update(Update),
    /// Removes a secret.
    Remove {
        /// The secret's name or id.
        secret: String,
    },
    /// Shows how many secrets there are, and how many bytes they count for.
    Usage,
    /// Shows what a call of a tool would get, and why.
    Explain(Explain),
    /// Compares the secrets with the tools: which are missing, match no tool, or have wider patterns than they need.
    #[command(after_help = FINDS_SOMETHING)]
    Check(Check),
    /// Changes the passphrase: the present one no longer opens the vault.
    Passphrase,
    /// Lists, adds and removes the keys that open the vault: passphrases, key files, keyrings.
    #[command(subcommand)]
    Slots(Slots),
    /// Lists the users of the vault, and removes all that one of them has.
    #[command(subcommand)]
    Users(Users),
    /// Makes new keys inside the vault. Earlier copies of its file can still be read with the old ones.
    #[command(subcommand)]
    Rotate(Rotate),
    /// Checks that everything stored is what keyward wrote and that every value opens.
    Verify {
        /// The anchor that an earlier check printed: the vault must be in that state or a later one. Without this, an
        /// older copy of the vault in its place is not noticed.
        #[arg(long, value_parser = parsed::<Anchor>)]
        anchor: Option<Anchor>,
    },
    /// Copies the vault to a file that the same keys open.
    Backup {
        /// The copy, which must not exist yet.
        file: PathBuf,
    },
    /// Copies all secrets, of all users, to a vault that has a key of its own.
    Export {
        /// The new vault, which must not exist yet.
        file: PathBuf,
        #[command(flatten)]
        key: NewKey,
    },
    /// Adds all secrets of an exported vault to this one: all or none.
    Import {
        /// The vault that was exported.
        file: PathBuf,
        /// A file with the exported vault's key; without it, its passphrase is asked for.
        #[arg(long, value_name = "FILE")]
        from_key_file: Option<PathBuf>,
    },
    /// Shrinks the vault's file and removes what was deleted.
    Compact,
    /// Runs a command with secrets in its environment, and redacts them from its output.
    ///
    /// What may be the beginning of a value is held back until more output comes. One or two characters, such as the
    /// end of a line, are held back only until the output pauses. Ends once the command has ended and nothing that it
    /// left behind can write to its output any more.
    #[command(after_help = ENDS_AS_ITS_COMMAND)]
    Run(Run),
    /// Runs as a proxy between an MCP client and the MCP server COMMAND.
    ///
    /// Arguments that defaults fill are hidden from the list of tools and filled in at each call; what the server says,
    /// also on standard error, comes back without the values. Everything else is passed through unchanged. A client
    /// starts this in place of COMMAND. It cannot ask for a passphrase: give the key with `--key-file` or in
    /// `KEYWARD_PASSPHRASE`.
    #[command(after_help = ENDS_AS_ITS_COMMAND)]
    Mcp(Mcp),
    /// Checks the log that `--audit-log` writes.
    #[command(subcommand)]
    Audit(Audit),
    /// Writes a script that completes this command line in a shell.
    ///
    /// For bash: `keyward completions bash > ~/.local/share/bash-completion/completions/keyward`.
    Completions {
        /// The shell that the script is for.
        shell: Shell,
    },
}

impl Command {
    /// Whether it needs a passphrase besides the vault's key.
    fn takes_another_passphrase(&self) -> bool {
        match self {
            Command::Slots(Slots::Add { key }) | Command::Export { key, .. } => key.is_passphrase(),
            Command::Rotate(Rotate::Master {
                keep_passphrase, ..
            }) => *keep_passphrase,
            Command::Import { from_key_file, .. } => from_key_file.is_none(),
            _ => false,
        }
    }
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["name", "from_env_file"])))]
pub(crate) struct Add {
    /// The secret's name.
    pub(crate) name: Option<String>,

    /// Adds every variable of a .env file, under its own name: all or none.
    #[arg(long, value_name = "FILE", conflicts_with = "binding")]
    pub(crate) from_env_file: Option<PathBuf>,

    /// Adds only these variables of the .env file: `A,B`.
    #[arg(
        long,
        value_name = "VAR",
        value_delimiter = ',',
        requires = "from_env_file"
    )]
    pub(crate) only: Vec<String>,

    #[command(flatten)]
    pub(crate) binding: Binding,
}

/// Where a secret may go.
#[derive(Args)]
#[group(id = "binding", multiple = true)]
pub(crate) struct Binding {
    /// The tools that may get it: a name, or a pattern in which `*` is any text and `?` any character.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) tool: Option<String>,

    /// The argument that it goes to: a name, or a JSON Pointer such as `/headers/Authorization`.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) arg: Option<String>,

    /// Fills it in automatically where a call has no value; needs a tool pattern and an argument.
    #[arg(long)]
    pub(crate) default: bool,

    /// The text around the value, with `{}` in its place: `Bearer {}`. `{}` alone is no text around it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) format: Option<String>,
}

#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Update {
    /// The secret's name or id.
    pub(crate) secret: String,

    /// Replaces the value: it is asked for, or read from standard input.
    #[arg(long)]
    pub(crate) value: bool,

    /// Gives it another name.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) binding: Binding,

    /// Removes the tool pattern.
    #[arg(long, conflicts_with = "tool")]
    pub(crate) no_tool: bool,

    /// Removes the argument.
    #[arg(long, conflicts_with = "arg")]
    pub(crate) no_arg: bool,

    /// No longer fills it in automatically.
    #[arg(long, conflicts_with = "default")]
    pub(crate) no_default: bool,

    /// Updates only if the secret is at this revision, which counts how often it was written; otherwise changes
    /// nothing.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) if_revision: Option<u64>,
}

impl Update {
    pub(crate) fn changes_nothing(&self) -> bool {
        let Binding {
            tool,
            arg,
            default,
            format,
        } = &self.binding;
        let texts = [&self.name, tool, arg, format];
        let flags = [
            self.value,
            *default,
            self.no_tool,
            self.no_arg,
            self.no_default,
        ];
        texts.iter().all(|text| text.is_none()) && !flags.contains(&true)
    }
}

#[derive(Args)]
pub(crate) struct Explain {
    /// The tool's whole name.
    pub(crate) tool: String,

    /// A file with the call's arguments, a JSON object; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) args: Option<PathBuf>,

    /// A file with the tool's input schema.
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,

    /// Treats the arguments as written by you, not by a model: a reference may then name a secret that is bound to
    /// nothing.
    #[arg(long)]
    pub(crate) workflow: bool,

    /// What happens to a value that the model supplies where a default is bound.
    #[arg(long, value_enum, default_value_t = Supplied::Replace)]
    pub(crate) supplied: Supplied,
}

#[derive(Args)]
#[command(
    override_usage = "keyward check [OPTIONS] <FILE>\n       keyward check [OPTIONS] -- <COMMAND>..."
)]
#[command(group(clap::ArgGroup::new("tools").required(true).args(["file", "command"])))]
pub(crate) struct Check {
    /// A file with the tools: what an MCP server answers to `tools/list`, or an array of tools, each with its name and
    /// its input schema; `-` is standard input.
    pub(crate) file: Option<PathBuf>,

    /// The server's name: the tool `create_issue` is matched as `NAME__create_issue`. Secrets for other servers are
    /// not checked.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,

    /// What happens to a value that the model supplies where a default is bound.
    #[arg(long, value_enum, default_value_t = Supplied::Replace)]
    pub(crate) supplied: Supplied,

    /// Gives the command a secret in its environment, as `mcp` does; can be repeated.
    #[arg(long, value_name = "VAR=secret://NAME", conflicts_with = "file")]
    pub(crate) env: Vec<String>,

    /// How many seconds the command may take to list its tools.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        requires = "command"
    )]
    pub(crate) timeout: u64,

    /// The MCP server, which is started and asked for its tools.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Checks that no line was changed, removed or inserted.
    Verify {
        /// The log.
        file: PathBuf,

        /// The head that an earlier check printed: the log must contain it. Without this, lines missing at the end are
        /// not noticed, nor is a rewritten log.
        #[arg(long, value_name = "HEAD", value_parser = parsed::<AuditHead>)]
        head: Option<AuditHead>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Slots {
    /// Lists them, without the keys themselves.
    List,
    /// Adds a passphrase, which is asked for, or another key.
    Add {
        #[command(flatten)]
        key: NewKey,
    },
    /// Removes one. The last one cannot be removed.
    Remove {
        /// Its id, as `slots list` shows it.
        id: u32,
    },
}

#[derive(Subcommand)]
pub(crate) enum Users {
    /// Lists everyone who has a secret, and how much they have.
    List,
    /// Removes all secrets of a user, damaged ones as well.
    Remove {
        /// The user's UUID, as `users list` shows it.
        #[arg(id = "who", value_name = "UUID", value_parser = parsed::<UserId>)]
        user: UserId,
    },
}

#[derive(Args)]
pub(crate) struct NewKey {
    /// A file with the new key, created if missing; without it, a new passphrase is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key_file: Option<PathBuf>,

    /// Puts the new key into the operating system's keyring.
    #[cfg(feature = "keyring")]
    #[arg(long, conflicts_with = "new_key_file")]
    pub(crate) new_keyring: bool,
}

impl NewKey {
    fn is_passphrase(&self) -> bool {
        #[cfg(feature = "keyring")]
        if self.new_keyring {
            return false;
        }
        self.new_key_file.is_none()
    }
}

#[derive(Subcommand)]
pub(crate) enum Rotate {
    /// Reseals every secret under a new data key. After an interruption it continues where it stopped.
    Data,
    /// Makes a new master key, for the key in use and those that are named here; all others are removed.
    Master {
        /// A file with another key to keep.
        #[arg(long, value_name = "FILE")]
        keep_key_file: Vec<PathBuf>,

        /// Also keeps a passphrase, which is asked for.
        #[arg(long)]
        keep_passphrase: bool,

        /// Removes the keys that are not named.
        #[arg(long)]
        drop_others: bool,
    },
}

/// A command and its secrets.
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) program: Program,

    /// Passes the command's output through unchanged, secrets included.
    #[arg(long)]
    pub(crate) no_redact: bool,
}

#[derive(Args)]
pub(crate) struct Mcp {
    /// The server's name: the tool `create_issue` is matched as `NAME__create_issue`.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,

    /// What happens to a value that the model supplies where a default is bound.
    #[arg(long, value_enum, default_value_t = Supplied::Replace)]
    pub(crate) supplied: Supplied,

    #[command(flatten)]
    pub(crate) program: Program,
}

#[derive(Args)]
pub(crate) struct Program {
    /// Gives the command a secret in its environment; can be repeated. If the secret has a tool pattern, it must
    /// match the command's file name, or NAME with `mcp --server NAME`; if it has an argument, that must be this
    /// variable.
    #[arg(long, value_name = "VAR=secret://NAME")]
    pub(crate) env: Vec<String>,

    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Supplied {
    /// Keep it.
    Keep,
    /// Put the secret in its place.
    Replace,
    /// Refuse the call.
    Refuse,
}

/// Reads an argument, of which an error says only what is wrong.
fn parsed<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Error| {
        let reasons: Vec<&str> = error
            .field_errors()
            .iter()
            .map(FieldError::reason)
            .collect();
        reasons.join("; ")
    })
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    /// Every command below this one, as it is typed.
    fn commands<'c>(command: &'c Command, words: &str, all: &mut Vec<(String, &'c Command)>) {
        let words = format!("{words} {}", command.get_name());
        for subcommand in command.get_subcommands() {
            commands(subcommand, &words, all);
        }
        all.push((words, command));
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is() {
        let root = Cli::command();
        let mut all = Vec::new();
        commands(&root, "", &mut all);
        assert!(all.len() > 25, "{}", all.len());
        for (words, command) in all {
            assert!(command.get_about().is_some(), "{words}");
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{words}: {id}");
            }
        }
    }

    #[test]
    fn the_default_user_is_the_one_that_the_help_names() {
        let root = Cli::command();
        let user = root
            .get_arguments()
            .find(|argument| argument.get_id() == "user");
        let help = user.and_then(|user| user.get_help()).unwrap().to_string();
        assert!(
            help.contains(&format!("[default: {},", UserId::LOCAL)),
            "{help}"
        );
    }

    #[test]
    fn the_words_of_the_command_line_fit_together() {
        Cli::command().debug_assert();
    }
}

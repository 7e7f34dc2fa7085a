//! Keyward's command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::CommandFactory;

mod args;
mod audit;
// The library's: see there.
#[path = "../../wiping/buffer.rs"]
mod buffer;
mod check;
mod copies;
mod env_file;
mod failure;
// The library's: see there.
#[path = "../../folder.rs"]
mod folder;
mod input;
mod key;
// The library's: see there.
#[path = "../../crypto/key_file.rs"]
mod key_file;
mod keys;
mod listing;
mod misuse;
mod opener;
mod output;
mod paths;
mod program;
mod progress;
mod proxy;
mod relay;
mod secrets;
mod server;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod terminal;
mod users;
mod watch;

use crate::{
    args::{Audit, Cli, Command, GlobalArgs},
    failure::Failure,
    input::Input,
    misuse::Misunderstood,
    opener::Opener,
    output::Output,
};

fn main() -> ExitCode {
    close_to_other_processes();
    let Cli { globals, command } = match misuse::read() {
        Ok(cli) => cli,
        Err(misunderstood) => return explain(&misunderstood),
    };
    let json = globals.json;
    let exits_as_its_command = matches!(command, Command::Run(_) | Command::Mcp(_));
    match run(globals, command) {
        Ok(code) => code,
        Err(failure) => report(failure, json, exits_as_its_command),
    }
}

/// Keeps processes of the same user, such as a command that this one runs, from reading the memory of this one and the
/// variables that it was started with. There may be a passphrase among these. It also turns core dumps off.
fn close_to_other_processes() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        // A system that refuses this leaves things as they would be without it.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Says what is wrong with the command line, or prints the help that it asks for.
fn explain(misunderstood: &Misunderstood) -> ExitCode {
    if misunderstood.asks_for_help() {
        misunderstood.print();
        return ExitCode::SUCCESS;
    }
    let failure = misunderstood.failure();
    if misunderstood.json || misunderstood.exits_as_its_command {
        return report(
            failure,
            misunderstood.json,
            misunderstood.exits_as_its_command,
        );
    }
    misunderstood.print();
    ExitCode::from(failure.code())
}

/// Says why a command was not done.
fn report(failure: Failure, json: bool, exits_as_its_command: bool) -> ExitCode {
    let failure = if exits_as_its_command {
        failure.with_own_code()
    } else {
        failure
    };
    if json {
        output::complain(failure.to_json());
    } else {
        let message = output::printable(&failure.to_string());
        output::complain(format_args!("keyward: {message}"));
    }
    ExitCode::from(failure.code())
}

fn run(globals: GlobalArgs, command: Command) -> Result<ExitCode, Failure> {
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "keyward", &mut script);
        output::write(&script)?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = Output { json: globals.json };
    if let Command::Audit(Audit::Verify { file, head }) = command {
        audit::verify(output, &file, head.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut input = Input::new(globals.passphrase_stdin);
    if let Command::Mcp(_) = command {
        if globals.passphrase_stdin {
            return Err(Failure::usage(
                "standard input belongs to the client: give the key in another way",
            ));
        }
        input = input.without_prompt();
    }
    if let Some(contradiction) = globals.contradiction(&command) {
        return Err(Failure::usage(contradiction));
    }
    let opener = Opener::new(globals, input)?;
    match command {
        Command::Run(run) => return program::run(opener, &run),
        Command::Mcp(mcp) => return proxy::proxy(opener.supplied(mcp.supplied), &mcp),
        Command::Check(check) => {
            return check::check(opener.supplied(check.supplied), output, check);
        }
        Command::Init => keys::init(opener, output),
        Command::Add(add) => secrets::add(opener, output, add),
        Command::List => secrets::list(opener, output),
        Command::Show { secret } => secrets::show(opener, output, secret),
        Command::Update(update) => secrets::update(opener, output, update),
        Command::Remove { secret } => secrets::remove(opener, output, secret),
        Command::Usage => secrets::usage(opener, output),
        Command::Explain(explain) => {
            secrets::explain(opener.supplied(explain.supplied), output, &explain)
        }
        Command::Passphrase => keys::passphrase(opener, output),
        Command::Slots(slots) => keys::slots(opener, output, slots),
        Command::Users(users) => users::users(opener, output, &users),
        Command::Rotate(rotate) => keys::rotate(opener, output, rotate),
        Command::Verify { anchor } => copies::verify(opener, output, anchor),
        Command::Backup { file } => copies::backup(opener, output, &file),
        Command::Export { file, key } => copies::export(opener, output, &file, &key),
        Command::Import {
            file,
            from_key_file,
        } => copies::import(opener, output, &file, from_key_file.as_deref()),
        Command::Compact => copies::compact(opener, output),
        Command::Audit(_) | Command::Completions { .. } => Ok(()),
    }?;
    Ok(ExitCode::SUCCESS)
}

//! Running another program with secrets in its environment.

use std::{
    io,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::Arc,
    thread,
};

use keyward::{Origin, Redactor, ToolCall, UserVault};
use serde_json::{Map, Value, json};

use crate::{
    args::{Program, Run},
    failure::Failure,
    key::VARIABLES,
    opener::Opener,
    relay,
};

/// A command that is ready to run, and a redactor for the secrets that it gets.
pub(crate) struct Prepared {
    pub(crate) command: Command,
    pub(crate) redactor: Redactor,
}

/// Runs a command; returns its exit code.
pub(crate) fn run(mut opener: Opener, run: &Run) -> Result<ExitCode, Failure> {
    let user = opener.read_user()?;
    let Prepared {
        mut command,
        redactor,
    } = prepare(&run.program, None, &user)?;
    // Nothing of the vault is needed any more.
    drop((opener, user));
    if !run.no_redact {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = spawn(&mut command)?;
    forward_signals(&child)?;
    drop(command);
    let redactor = Arc::new(redactor);
    let outputs = [
        child.stdout.take().map(|from| {
            let redactor = Arc::clone(&redactor);
            thread::spawn(move || relay::copy(from, io::stdout(), || Arc::clone(&redactor)))
        }),
        child.stderr.take().map(|from| {
            thread::spawn(move || relay::copy(from, io::stderr(), || Arc::clone(&redactor)))
        }),
    ];
    let status = child.wait()?;
    // What it left behind may still write.
    end_by_signals()?;
    let mut passed_on = Ok(());
    for output in outputs.into_iter().flatten() {
        // If the reader of the output has gone away, the command notices by itself, or goes on.
        if let Ok(Err(error)) = output.join()
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            passed_on = passed_on.and(Err(Failure::output(&error)));
        }
    }
    passed_on?;
    end_alike(status);
    Ok(exit_code(status))
}

/// Prepares the command with its secrets. They are matched like references that the program's owner wrote, to a tool
/// with the `server`'s name, or otherwise that of the command's file, and to an argument with the variable's name.
pub(crate) fn prepare(
    program: &Program,
    server: Option<&str>,
    user: &UserVault,
) -> Result<Prepared, Failure> {
    let (path, args) = program
        .command
        .split_first()
        .ok_or_else(|| Failure::usage("there is no command to run"))?;
    let mut command = Command::new(path);
    command.args(args);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    let file = std::path::Path::new(path).file_name().unwrap_or_default();
    let tool = server.map_or_else(|| file.to_string_lossy(), Into::into);
    // Defaults are for tools: without a declared property, none goes in.
    let schema = json!({"properties": {}, "additionalProperties": false});
    let call = ToolCall::new(tool)
        .with_schema(&schema)
        .with_origin(Origin::Workflow);
    let mut args = Map::new();
    for env in &program.env {
        match env.split_once('=') {
            Some((name, reference)) if !name.is_empty() && reference.starts_with("secret://") => {
                if args
                    .insert(name.to_owned(), Value::from(reference))
                    .is_some()
                {
                    return Err(Failure::usage(format!(
                        "--env names {name} more than once: a variable has one value"
                    )));
                }
            }
            _ => {
                return Err(Failure::usage(
                    "--env takes VAR=secret://NAME; set other variables in the environment as usual",
                ));
            }
        }
    }
    let injection = match user.inject(&call, &mut args) {
        Ok(injection) => injection,
        Err(error) => {
            let explanation = user.explain(&call, &args)?;
            let denied = explanation
                .references
                .iter()
                .find(|reference| reference.verdict != keyward::Verdict::Granted);
            return Err(match denied {
                Some(denied) => {
                    let variable = denied.location.as_pointer().trim_start_matches('/');
                    Failure::denied(format!("{variable}: {}", denied.verdict))
                }
                None => error.into(),
            });
        }
    };
    for (name, value) in &args {
        command.env(name, value.as_str().unwrap_or_default());
    }
    injection.wipe(&mut args);
    Ok(Prepared {
        command,
        redactor: injection.into_redactor(),
    })
}

pub(crate) fn spawn(command: &mut Command) -> Result<Child, Failure> {
    command.spawn().map_err(|error| {
        let name = command.get_program().to_string_lossy();
        let message = format!("{name}: {error}");
        match error.kind() {
            io::ErrorKind::NotFound => Failure::command_not_found(message),
            _ => Failure::command_not_run(message),
        }
    })
}

/// The exit code, by a shell's convention.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX));
    }
    let code = status.code().unwrap_or(1);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}

/// Forwards signals that are meant for the command. Those of a terminal's keys reach it anyway. The command has been
/// started, since it inherits which signals are ignored, and none is any more once this receives it.
#[cfg(unix)]
fn forward_signals(child: &Child) -> Result<(), Failure> {
    use rustix::process::{Pid, Signal, kill_process};

    use crate::signals::{self, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

    let child = Pid::from_child(child);
    let forwarded = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
    signals::receive(&forwarded, move |received| {
        let signal = match received.signal {
            SIGINT | SIGQUIT if !received.was_sent => return,
            SIGINT => Signal::INT,
            SIGQUIT => Signal::QUIT,
            SIGHUP => Signal::HUP,
            SIGUSR1 => Signal::USR1,
            SIGUSR2 => Signal::USR2,
            _ => Signal::TERM,
        };
        let _ = kill_process(child, signal);
    })?;
    Ok(())
}

/// From now on signals end this program.
#[cfg(unix)]
fn end_by_signals() -> Result<(), Failure> {
    Ok(crate::signals::end_by_all()?)
}

/// Ends this program by SIGINT if that ended the command. A shell tells by this that its script is to end as well,
/// and an exit code would not do.
#[cfg(unix)]
fn end_alike(status: ExitStatus) {
    use crate::signals::{self, SIGINT};

    if std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGINT) {
        signals::end_by(SIGINT);
    }
}

#[cfg(not(unix))]
fn forward_signals(_: &Child) -> Result<(), Failure> {
    Ok(())
}

#[cfg(not(unix))]
fn end_alike(_: ExitStatus) {}

#[cfg(not(unix))]
fn end_by_signals() -> Result<(), Failure> {
    Ok(())
}

//! Running another program with secrets in its environment.

use std::{
    io,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::Arc,
    thread,
};

use keyward::{Origin, Redactor, ToolCall, UserVault, inject::Verdict};
use serde_json::{Map, Value, json};

use crate::{
    args::{Program, Run},
    failure::Failure,
    key::VARIABLES,
    opener::Opener,
    output::Patient,
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
            thread::spawn(move || {
                relay::copy(from, Patient(io::stdout()), || Arc::clone(&redactor))
            })
        }),
        child.stderr.take().map(|from| {
            thread::spawn(move || {
                relay::copy(from, Patient(io::stderr()), || Arc::clone(&redactor))
            })
        }),
    ];
    let status = child.wait()?;
    // What the command left behind may still write, and is waited for below.
    stop_forwarding_signals()?;
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
    end_by_the_same_signal(status);
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
    let mut variables = references(&program.env)?;
    let injection = match user.inject(&call, &mut variables) {
        Ok(injection) => injection,
        Err(error) => return Err(denial(user, &call, &variables)?.unwrap_or_else(|| error.into())),
    };
    let is_whole = |value: &Value| value.as_str().is_none_or(|text| !text.contains('\0'));
    let cut = variables.iter().find(|(_, value)| !is_whole(value));
    let cut = cut.map(|(name, _)| name.clone());
    if cut.is_none() {
        for (name, value) in &variables {
            command.env(name, value.as_str().unwrap_or_default());
        }
    }
    injection.wipe(&mut variables);
    if let Some(name) = cut {
        return Err(Failure::invalid(format!(
            "{name}: the secret has a NUL character, which no variable can hold: update its value"
        )));
    }
    Ok(Prepared {
        command,
        redactor: injection.into_redactor(),
    })
}

/// The variables of `--env`, each with its reference.
fn references(env: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut variables = Map::new();
    for text in env {
        let Some((name, reference)) = text
            .split_once('=')
            .filter(|(name, reference)| !name.is_empty() && reference.starts_with("secret://"))
        else {
            return Err(Failure::usage(
                "--env takes VAR=secret://NAME; set other variables in the environment as usual",
            ));
        };
        let earlier = variables.insert(name.to_owned(), Value::from(reference));
        if earlier.is_some() {
            return Err(Failure::usage(format!(
                "--env names {name} more than once: a variable has one value"
            )));
        }
    }
    Ok(variables)
}

/// Says why a variable does not get its secret, if that is what is wrong. The person here is the owner of the secrets,
/// and may learn which of them exist.
fn denial(
    user: &UserVault,
    call: &ToolCall<'_>,
    variables: &Map<String, Value>,
) -> Result<Option<Failure>, Failure> {
    let explanation = user.explain(call, variables)?;
    let mut references = explanation.references.iter();
    let denied = references.find(|reference| reference.verdict != Verdict::Granted);
    Ok(denied.map(|denied| {
        let (variable, verdict) = (&denied.location.tokens()[0], denied.verdict);
        let here = match verdict {
            Verdict::OtherTool => format!("; this command is the tool {}", call.tool()),
            Verdict::OtherLocation => format!("; this variable is the argument {variable}"),
            _ => String::new(),
        };
        Failure::denied(format!("{variable}: {verdict}{here}"))
    }))
}

pub(crate) fn spawn(command: &mut Command) -> Result<Child, Failure> {
    #[cfg(unix)]
    crate::signals::wait_for_children()?;
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
fn stop_forwarding_signals() -> Result<(), Failure> {
    Ok(crate::signals::end_by_any()?)
}

/// Ends this program by SIGINT if that ended the command. A shell tells by this that its script is to end as well,
/// and an exit code would not do.
#[cfg(unix)]
fn end_by_the_same_signal(status: ExitStatus) {
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
fn end_by_the_same_signal(_: ExitStatus) {}

#[cfg(not(unix))]
fn stop_forwarding_signals() -> Result<(), Failure> {
    Ok(())
}

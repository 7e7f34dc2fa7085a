//! Signals that tell the program to end.
//!
//! One thread receives them all. What it does with them depends on what the program is doing: at a prompt it ends the
//! program, once a command was started it tells the command.

use std::{
    io,
    sync::{Mutex, PoisonError},
    thread,
};

use signal_hook::{
    iterator::{Handle, SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Origin,
};

pub(crate) use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// A signal that was received.
#[derive(Clone, Copy)]
pub(crate) struct Received {
    pub(crate) signal: i32,
    /// Whether a process sent it. Otherwise it comes from the kernel, such as that of a terminal's key, which goes to
    /// all processes of a job.
    pub(crate) was_sent: bool,
}

impl From<Origin> for Received {
    fn from(origin: Origin) -> Received {
        Received {
            signal: origin.signal,
            was_sent: origin.process.is_some(),
        }
    }
}

struct Receiver {
    handle: Handle,
    action: Box<dyn FnMut(Received) + Send>,
}

static RECEIVER: Mutex<Option<Receiver>> = Mutex::new(None);

/// From now on these signals, and those of earlier calls, lead to this action.
pub(crate) fn receive(
    signals: &[i32],
    action: impl FnMut(Received) + Send + 'static,
) -> io::Result<()> {
    let action = Box::new(action);
    let mut receiver = RECEIVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(receiver) = &mut *receiver {
        receiver.action = action;
        return signals
            .iter()
            .try_for_each(|signal| receiver.handle.add_signal(*signal));
    }
    let mut incoming = SignalsInfo::<WithOrigin>::new(signals)?;
    let handle = incoming.handle();
    *receiver = Some(Receiver { handle, action });
    thread::spawn(move || {
        for origin in incoming.forever() {
            let mut receiver = RECEIVER.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(receiver) = &mut *receiver {
                (receiver.action)(origin.into());
            }
        }
    });
    Ok(())
}

/// From now on each of these signals ends this program.
pub(crate) fn end_by_all() -> io::Result<()> {
    receive(&[], |received| end_by(received.signal))
}

/// Ends this program as the signal would have.
pub(crate) fn end_by(signal: i32) {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

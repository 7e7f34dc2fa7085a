//! Signals that tell the program to end.
//!
//! One thread receives them all. What it does with them depends on what the program is doing: at a prompt it ends the
//! program, once a command was started it tells the command.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
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

/// Makes the end of a process that this program starts something that it can wait for. A program may have been started
/// with SIGCHLD ignored, and then the system forgets how such a process ended.
pub(crate) fn wait_for_children() -> io::Result<()> {
    // That it has a handler is enough.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::default()).map(drop)
}

/// From now on this action is taken for each of these signals, and for those of earlier calls.
pub(crate) fn receive(
    signals: &[i32],
    action: impl FnMut(Received) + Send + 'static,
) -> io::Result<()> {
    // Before the first of them is no longer ignored.
    ignored();
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

/// Like [`receive`], but leaves those signals ignored that were ignored when the program started, as `nohup` wants it.
/// A command that is started later inherits that.
pub(crate) fn receive_unless_ignored(
    signals: &[i32],
    action: impl FnMut(Received) + Send + 'static,
) -> io::Result<()> {
    let not_ignored: Vec<i32> = signals
        .iter()
        .copied()
        .filter(|signal| !is_ignored(*signal))
        .collect();
    receive(&not_ignored, action)
}

/// From now on any of the signals that are received ends this program, unless it was ignored when the program started.
pub(crate) fn end_by_any() -> io::Result<()> {
    receive(&[], |received| {
        if !is_ignored(received.signal) {
            end_by(received.signal);
        }
    })
}

/// Ends this program as the signal would have.
pub(crate) fn end_by(signal: i32) {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Whether the program was started with this signal ignored.
pub(crate) fn is_ignored(signal: i32) -> bool {
    ignored() >> (signal - 1) & 1 == 1
}

/// The signals that were ignored when the program started, as bits.
fn ignored() -> u64 {
    static IGNORED: OnceLock<u64> = OnceLock::new();

    *IGNORED.get_or_init(|| {
        // Only Linux tells without being asked for each signal, which takes unsafe code.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut lines = status.lines();
        let signals = lines.find_map(|line| line.strip_prefix("SigIgn:"));
        signals.map_or(0, |signals| {
            u64::from_str_radix(signals.trim(), 16).unwrap_or(0)
        })
    })
}

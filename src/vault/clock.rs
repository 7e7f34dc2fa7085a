//! The clock: the system's time, as far as it can be stored and written.

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, SubsecRound, Utc};

/// Returns the system's time, which may be wrong.
fn system_time() -> DateTime<Utc> {
    storable(SystemTime::now())
}

/// The end of the year 9999, the last one that RFC 3339 can write, in seconds.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// Returns the time, or if it is too early for an id or too late to be written, the nearest that is not.
fn storable(time: SystemTime) -> DateTime<Utc> {
    let latest = SystemTime::UNIX_EPOCH + LATEST;
    time.clamp(SystemTime::UNIX_EPOCH, latest).into()
}

/// Returns whether this could be a time of this clock, whatever the system's time was.
#[cfg(feature = "file")]
pub(super) fn is_storable(time: DateTime<Utc>) -> bool {
    u64::try_from(time.timestamp()).is_ok_and(|seconds| seconds <= LATEST.as_secs())
}

/// The source of the current time.
#[derive(Clone)]
pub(super) struct Clock(Arc<Now>);

type Now = dyn Fn() -> DateTime<Utc> + Send + Sync + UnwindSafe + RefUnwindSafe;

impl Clock {
    pub(super) fn system() -> Clock {
        Clock::new(system_time)
    }

    pub(super) fn new(
        now: impl Fn() -> DateTime<Utc> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    ) -> Clock {
        Clock(Arc::new(now))
    }

    /// Returns the time to the microsecond, the precision that is stored.
    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(6)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_gives_a_time_that_can_be_written() {
        let epoch = SystemTime::UNIX_EPOCH;
        let seconds = Duration::from_secs;
        for (time, written) in [
            (epoch - seconds(1), "1970-01-01T00:00:00+00:00"),
            (epoch + seconds(1_700_000_000), "2023-11-14T22:13:20+00:00"),
            (epoch + LATEST, "9999-12-31T23:59:59+00:00"),
            (epoch + LATEST + seconds(1), "9999-12-31T23:59:59+00:00"),
            // Beyond what a date can hold.
            (
                epoch + seconds(100_000_000_000_000),
                "9999-12-31T23:59:59+00:00",
            ),
        ] {
            assert_eq!(storable(time).to_rfc3339(), written);
        }
    }
}

//! The progress of long work: shown on a terminal while it goes on, and cleared when it ends.

use std::{env, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use keyward::Progress;

use crate::output::Output;

/// How often the display is redrawn for work that reports no progress.
const TICK: Duration = Duration::from_millis(100);

impl Output {
    /// Shows a bar for work that reports how much of it is done.
    pub(crate) fn bar(self, what: &'static str) -> impl FnMut(Progress) {
        let bar = self.shown(what, "{msg} [{bar:32}] {human_pos} of {human_len}");
        move |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    }

    /// Shows that work goes on that reports no progress, because it is one transaction.
    pub(crate) fn busy<T>(self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let bar = self.shown(what, "{msg} {spinner} {elapsed}");
        bar.tick();
        bar.enable_steady_tick(TICK);
        let done = work();
        bar.finish_and_clear();
        done
    }

    fn shown(self, what: &'static str, template: &str) -> ProgressBar {
        let can_move_its_cursor = env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
        let target = if !self.json && can_move_its_cursor {
            // Draws nothing if standard error is not a terminal.
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template(template).expect("the template is one");
        ProgressBar::with_draw_target(Some(0), target)
            .with_style(style.progress_chars("=> ").tick_chars("|/-\\ "))
            .with_message(what)
            .with_finish(ProgressFinish::AndClear)
    }
}

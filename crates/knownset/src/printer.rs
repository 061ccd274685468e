//! stdout is data, stderr is talk.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where results and remarks go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// One JSON document instead of tables.
    pub(crate) json: bool,
    /// No remarks.
    pub(crate) quiet: bool,
}

impl Printer {
    /// Prints `value` as one JSON document, or `text` for people.
    pub(crate) fn result<T: serde::Serialize>(self, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string_pretty(value)? } else { text() };
        Ok(data(&text)?)
    }

    /// Prints a remark on stderr.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Progress over `total` images or texts: a bar with rate and remaining time on a terminal, a line every ten seconds
    /// elsewhere.
    pub(crate) fn progress(self, what: &str, total: usize) -> Progress {
        let bar = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let style = ProgressStyle::with_template("{prefix:>18} {wide_bar} {pos}/{len} {per_sec} {eta} left");
            ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        };
        bar.set_length(total as u64);
        bar.set_prefix(what.to_owned());
        let spoken = Mutex::default();
        Progress { printer: self, bar, what: what.into(), total, before: 0, started: Instant::now(), spoken }
    }
}

/// Prints data on stdout. A reader that went away, as `head` does, is no error.
pub(crate) fn data(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Seconds between two plain progress lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A running progress bar; gone when dropped.
pub(crate) struct Progress {
    printer: Printer,
    bar: ProgressBar,
    what: String,
    total: usize,
    /// What an earlier run had finished: no part of the rate.
    before: usize,
    started: Instant,
    spoken: Mutex<Spoken>,
}

/// What the plain lines have said.
#[derive(Default)]
struct Spoken {
    done: usize,
    last: Duration,
}

impl Progress {
    /// The same of a run that goes on behind so many.
    pub(crate) fn behind(mut self, before: usize) -> Self {
        self.bar.set_position(before as u64);
        self.bar.reset_eta();
        if let Ok(mut spoken) = self.spoken.lock() {
            spoken.done = before;
        }
        self.before = before;
        self
    }

    /// Counts what is finished.
    pub(crate) fn advance(&self, count: usize) {
        self.bar.inc(count as u64);
        let Ok(mut spoken) = self.spoken.lock() else { return };
        spoken.done += count;
        let elapsed = self.started.elapsed();
        let news = spoken.done > self.before && elapsed.saturating_sub(spoken.last) >= PLAIN_INTERVAL;
        if self.bar.is_hidden() && news {
            spoken.last = elapsed;
            let rate = spoken.done.saturating_sub(self.before) as f64 / elapsed.as_secs_f64();
            let left = self.total.saturating_sub(spoken.done) as f64 / rate;
            let (what, done, total) = (&self.what, spoken.done, self.total);
            let digits = if rate < 10.0 { 2 } else { 0 };
            self.printer.note(format!("{what}: {done}/{total}, {rate:.digits$}/s, {left:.0} s left"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

//! How far a long work is: its rate, and the rest of its time.

use std::time::Duration;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are done.
    pub done: u64,
    /// All bytes.
    pub all: u64,
    /// How long it took so far.
    pub took: Duration,
}

impl Progress {
    /// Bytes in a second, if enough time went by to say so.
    pub fn rate(&self) -> Option<u64> {
        let ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        if ms < 10 { None } else { self.done.saturating_mul(1000).checked_div(ms) }
    }

    /// How long the rest takes at the same rate.
    pub fn rest(&self) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate > 0)?;
        Some(Duration::from_secs(self.all.saturating_sub(self.done).div_ceil(rate)))
    }

    /// It as a line of text.
    pub fn line(&self, doing: &str) -> String {
        let percent = self.done.saturating_mul(100).checked_div(self.all).unwrap_or(100);
        let rate = self.rate().map_or(String::new(), |rate| format!(", {}/s", size(rate)));
        let rest = self.rest().map_or(String::new(), |rest| format!(", {} s left", rest.as_secs()));
        format!("{doing} {percent} % ({} of {}){rate}{rest}", size(self.done), size(self.all))
    }
}

/// A length for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(unit, name)| {
            let tenths = bytes.saturating_mul(10) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    )
}

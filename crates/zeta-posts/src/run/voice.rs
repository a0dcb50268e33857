//! What a person is to know of a post, said on a thread of its own: a reader of this process's
//! stderr that does not read holds up no renewal of a lease, and no signal.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use zeta_os::error::Error;

/// Most lines that wait for the reader.
const WAITING_MAX: usize = 1_000;
/// How long the last ones are waited for.
const REST_LIMIT: Duration = Duration::from_secs(1);

/// Something that a person is to know.
pub enum Said {
    /// A line about what is done.
    Note(String),
    /// Something that is not as it should be, while the post goes on.
    Warning(Error),
}

/// Prints what a person is to know. It may take for ever.
pub type Say = Box<dyn Fn(Said) + Send>;

/// How the parts of a post say it.
pub(super) struct Log<'o> {
    /// A line about what is done.
    pub(super) note: &'o dyn Fn(&str),
    /// Something that is not as it should be, while the post goes on.
    pub(super) warn: &'o dyn Fn(&Error),
}

/// Keeps what is to be said until it is.
pub(super) struct Voice {
    waiting: SyncSender<Said>,
    done: Receiver<()>,
    /// How many lines were lost, because too many waited.
    lost: Cell<u64>,
}

impl Voice {
    /// Begins to listen.
    pub(super) fn start(say: Say) -> Voice {
        let (waiting, heard) = sync_channel(WAITING_MAX);
        let (ends, done) = channel::<()>();
        std::thread::spawn(move || {
            let _ends = ends;
            heard.into_iter().for_each(say);
        });
        Voice { waiting, done, lost: Cell::new(0) }
    }

    pub(super) fn say(&self, said: Said) {
        let lost = self.lost.get();
        let told = || Said::Note(format!("{lost} lines are lost: nobody read them"));
        if lost > 0 && self.waiting.try_send(told()).is_ok() {
            self.lost.set(0);
        }
        if self.waiting.try_send(said).is_err() {
            self.lost.set(self.lost.get().saturating_add(1));
        }
    }

    /// Waits until the last line is said, or nobody reads it.
    pub(super) fn end(self) {
        drop(self.waiting);
        let _ = self.done.recv_timeout(REST_LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_reads_hold_up_nothing_and_are_counted() {
        let (out, printed) = channel();
        let (open, gate) = channel::<()>();
        let voice = Voice::start(Box::new(move |said| {
            let _ = gate.recv();
            let Said::Note(line) = said else { panic!("a warning") };
            out.send(line).unwrap();
        }));
        for number in 0..WAITING_MAX + 10 {
            voice.say(Said::Note(number.to_string()));
        }
        drop(open);
        let first: Vec<String> = printed.iter().take(WAITING_MAX).collect();
        assert_eq!(first.first().map(String::as_str), Some("0"));
        voice.say(Said::Note("last".to_owned()));
        voice.end();
        let rest: Vec<String> = printed.iter().collect();
        let lost = rest.iter().find(|line| line.ends_with("lines are lost: nobody read them"));
        assert!(lost.is_some(), "{rest:?}");
        assert_eq!(rest.last().map(String::as_str), Some("last"));
    }
}

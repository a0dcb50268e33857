//! The terminal of a session's command, between it and the person's: sizes, stops and the end.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::Supervisor;
use zeta_os::inotify::poll_readable;
use zeta_os::relay::Relay;
use zeta_os::signal::{CHILD_ENDED, CONTINUED, RESIZED, STOP, Signals};
use zeta_os::spawn::{Child, ExitOutcome};

impl Supervisor<'_> {
    /// Sleeps until one of `fds` is readable or `limit` is over, and says which are readable. Until
    /// then, keys and screen are copied.
    pub(super) fn sleep(&mut self, fds: &[BorrowedFd<'_>], limit: Duration) -> Vec<bool> {
        match &mut self.console {
            Some(console) => console.wait(fds, limit),
            None => poll_readable(fds, limit),
        }
    }

    /// Does what the signals about the terminal ask for.
    pub(super) fn attend_terminal(
        &mut self,
        relay: &mut Relay<'_>,
        child: &Child,
        signals: &Signals,
    ) {
        let kept = relay.take_kept();
        let Some(console) = &mut self.console else { return };
        for signal in kept {
            match signal {
                RESIZED => console.resize(),
                // The command stops, and this process after it.
                STOP => child.signal_group(STOP),
                CONTINUED => {
                    console.resume();
                    child.signal_group(CONTINUED);
                }
                CHILD_ENDED if child.was_stopped() && console.has_person() => {
                    console.pause();
                    signals.stop_group();
                    console.resume();
                    child.signal_group(CONTINUED);
                }
                _ => {}
            }
        }
    }

    /// Shows the last of the output, and gives the terminal of the person back.
    pub(super) fn finish_terminal(&mut self, ended: ExitOutcome) {
        if let Some(console) = &mut self.console {
            console.finish(matches!(ended, ExitOutcome::Signaled(_)));
        }
    }
}

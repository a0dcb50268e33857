//! The terminal of a session's command, between it and the person's: sizes, stops and the end.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::Supervisor;
use super::wake::Wake;
use zeta_os::inotify::{Watch, poll_readable};
use zeta_os::relay::Relay;
use zeta_os::signal::{CHILD_ENDED, CONTINUED, RESIZED, STOP, Signals};
use zeta_os::spawn::{Child, ExitOutcome};

/// What ended a sleep.
pub(super) struct Happened {
    /// The command has ended.
    pub(super) child: bool,
    /// Something changed in the directory of the node.
    pub(super) watch: bool,
}

impl Supervisor<'_> {
    /// Sleeps until one of `fds` is readable or `limit` is over, and says which are readable. Until
    /// then, keys and screen are copied.
    pub(super) fn sleep(&mut self, fds: &[BorrowedFd<'_>], limit: Duration) -> Vec<bool> {
        match &mut self.console {
            Some(console) => console.wait(fds, limit),
            None => poll_readable(fds, limit),
        }
    }

    /// Sleeps until something happens or `limit` is over, and says what happened.
    pub(super) fn sleep_until(
        &mut self,
        relay: &Relay<'_>,
        watch: &Watch,
        limit: Duration,
    ) -> Happened {
        let mut wake = self.wake.take();
        let mut fds = relay.fds().to_vec();
        fds.extend(watch.fd());
        let mail_at = fds.len();
        fds.extend(wake.as_ref().and_then(Wake::fd));
        let ready = self.sleep(&fds, limit);
        let at = |index: usize| ready.get(index) == Some(&true);
        if let Some(wake) = wake.as_mut().filter(|_| at(mail_at)) {
            wake.mail_arrived();
        }
        self.wake = wake;
        Happened { child: at(0), watch: watch.sees() && at(2) }
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
        if console.is_gone() {
            // In this order, as the kernel does it.
            relay.hang_up();
            console.close();
        }
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

//! Relays the signals of a wrapper to its command, each one once.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use zeta_core::signal::{Arrival, decide_pass_on};

use crate::error::Result;
use crate::inotify::poll_readable;
use crate::signal::{
    CHILD_ENDED, CONTINUED, END, HANGUP, QUIT, RESIZED, STOP, Signals, leads_session,
};
use crate::spawn::{Child, ExitOutcome};
use crate::witness::Witness;

/// How long a signal that is sent to each process of a service takes to reach the last of them, on
/// a busy machine too. One that is sent to the wrapper alone is passed on only after this time.
const ALL_SENT: Duration = Duration::from_millis(100);

/// A command, and the signals that its wrapper takes over for it.
pub struct Relay<'a> {
    child: &'a Child,
    signals: &'a Signals,
    witness: Option<Witness>,
    /// What the command does not get: about its terminal, and that a child stopped or ended.
    kept: Vec<i32>,
    /// The command got the signal that its terminal is gone.
    hung_up: bool,
    /// It gets none of them any more.
    terminal_gone: bool,
    /// It gets no signal that asks it to end.
    keeps_end: bool,
    /// Its whole session got the signal that ends it nevertheless.
    quit: bool,
}

impl<'a> Relay<'a> {
    /// Relays signals to a command that is in the process group of this process. `signals` should
    /// have those of children, too.
    pub fn new(child: &'a Child, signals: &'a Signals) -> Relay<'a> {
        Relay {
            child,
            signals,
            witness: None,
            kept: Vec::new(),
            hung_up: false,
            terminal_gone: false,
            keeps_end: false,
            quit: false,
        }
    }

    /// Keeps the signals that ask for an end from the command: it works to its own end.
    pub fn keep_end(self) -> Relay<'a> {
        Relay { keeps_end: true, ..self }
    }

    /// Takes the number of a signal that asked for an end and that the command did not get.
    pub fn asked_to_end(&mut self) -> Option<i32> {
        self.take_kept().into_iter().find(|number| END.contains(number))
    }

    /// The descriptors that are readable when the command has ended, and when a signal arrived.
    pub fn fds(&self) -> [BorrowedFd<'a>; 2] {
        [self.child.fd(), self.signals.fd()]
    }

    /// Notices from now on which signals are sent to all processes, the command among them, and
    /// collects the children that had ended before. It costs a process, so a command that ends at
    /// once should not get it. Called again, it forgets what it noticed before.
    pub fn watch_group(&mut self) {
        self.child.reap_others();
        if !self.child.is_in_own_group() {
            return;
        }
        let clean = self.witness.as_ref().is_some_and(|witness| witness.pending() == Some(0));
        if !clean {
            self.pass_on();
            self.renew_witness();
            self.pass_on_what_came(false);
        }
    }

    /// Says to the command that its terminal is gone, unless another process did.
    pub fn hang_up(&mut self) {
        if !self.terminal_gone && !self.hung_up {
            self.child.signal(HANGUP);
        }
        self.terminal_gone = true;
    }

    /// Takes the signals that arrived and that no command is passed.
    pub fn take_kept(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.kept)
    }

    /// Passes on what arrived, except what the command has got already; collects ended children.
    pub fn pass_on(&mut self) {
        self.pass_on_what_came(true);
    }

    /// `seen` says that the witness was there when the signals came.
    fn pass_on_what_came(&mut self, mut seen: bool) {
        let mut had = None;
        while let Some(signal) = self.signals.next() {
            if signal.number == CHILD_ENDED {
                self.child.reap_others();
            }
            if [CHILD_ENDED, RESIZED, STOP, CONTINUED].contains(&signal.number)
                || self.keeps_end && END.contains(&signal.number)
            {
                self.kept.push(signal.number);
                continue;
            }
            if had == Some(signal.number) {
                // `timeout` signals its child first, then the group: this is the second of the two.
                continue;
            }
            let arrival = Arrival {
                from_kernel: signal.from_kernel,
                to_session_leader: signal.number == HANGUP && leads_session(),
                command_in_group: self.child.is_in_own_group(),
                sent_to_all: self.was_sent_to_all(signal.number).filter(|sent| seen || *sent),
            };
            if arrival.sent_to_all == Some(true) {
                // The same signal may come again, and to this process alone.
                self.renew_witness();
                seen = false;
                had = Some(signal.number);
            }
            if signal.number == HANGUP && self.terminal_gone {
                continue;
            }
            if decide_pass_on(&arrival) {
                self.hung_up |= signal.number == HANGUP;
                self.send(signal.number);
            }
        }
    }

    /// A terminal would send its signal to the whole session; one of its own it does not reach.
    fn send(&mut self, number: i32) {
        match number == QUIT && self.keeps_end && !self.child.is_in_own_group() {
            true => {
                self.quit = true;
                self.child.signal_session(number);
            }
            false => self.child.signal(number),
        }
    }

    /// Waits for the end of a command that has ended: if its session was ended in the middle, no
    /// process of that works on.
    pub fn wait(&self) -> Result<ExitOutcome> {
        if self.quit {
            self.child.end_session();
        }
        self.child.wait()
    }

    fn renew_witness(&mut self) {
        // The old one ends first.
        self.witness = None;
        self.witness = Witness::start();
    }

    /// Returns whether a signal was sent to the whole group or service; `None` if nothing shows it.
    fn was_sent_to_all(&self, number: i32) -> Option<bool> {
        let witness = self.witness.as_ref()?;
        let until = Instant::now() + ALL_SENT;
        loop {
            if witness.has(number)? {
                return Some(true);
            }
            let ended = poll_readable(&[self.child.fd()], Duration::from_millis(1));
            if ended.first() == Some(&true) || Instant::now() >= until {
                return Some(false);
            }
        }
    }
}

//! Wakes an agent that waits for a prompt: types one line on its terminal when mail arrives.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use zeta_core::evidence::{ProcessState, Processes};
use zeta_core::hook::session::hooked_tool_of;
use zeta_core::hook::turn::{self, Turn};
use zeta_core::hook::waiting::WAITS_FOR;
use zeta_core::terminal::wake::{
    Attempt, ENTER_AFTER_MS, Seen, Step, decide_wake, judge_row, line,
};

use super::{Event, Supervisor};
use crate::context::Context;
use crate::presence::tool_session::fields_of;
use std::os::fd::BorrowedFd;
use zeta_core::time::Host;
use zeta_os::console::Console;
use zeta_os::error::Result;
use zeta_os::process;

/// How often the mail is looked at, at most, while the bus changes.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// So many times as long as a look took, there is none: the keys of the person wait for it.
const LOOK_SHARE: u32 = 20;
/// How long the mail is not looked at after a fault.
const FAULT_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is looked at where nothing says that the bus changes.
const BLIND_INTERVAL: Duration = Duration::from_secs(2);

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its id.
    pub id: String,
    /// The sender, as it calls itself.
    pub from: String,
}

/// The mail of the agent of a session, which lies above this crate.
pub trait Mail {
    /// A descriptor that is readable when there may be other mail; `None` if nothing says so.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// Reads which messages wait.
    fn look(&mut self) -> Result<Vec<Letter>>;
    /// Takes the right to wake the agent; false if another means has it now.
    fn arm(&mut self) -> Result<bool>;
    /// Records that the agent was woken for these messages.
    fn woken(&mut self, ids: &[&str]) -> Result<()>;
    /// Gives the right back.
    fn disarm(&mut self);
}

/// The state of the wake of a session.
pub(super) struct Wake {
    mail: Box<dyn Mail>,
    /// The messages that wait and that the agent was not woken for.
    letters: Vec<Letter>,
    woken: HashSet<String>,
    /// When the mail is looked at again, at the earliest.
    look_from: Instant,
    /// The last look failed.
    faulty: bool,
    /// The mail, or the record of the session, is to be read again.
    mail_changed: bool,
    pub(super) record_changed: bool,
    turn: Option<Turn>,
    turns: u64,
    /// The process of the tool whose hooks write the record.
    tool: Option<Processes>,
    /// How often the agent was woken in this row, and when it was last.
    wakes: u32,
    woken_at: Option<Instant>,
    attempt: Option<Typed>,
    /// The prompt did not take a line in this turn.
    refused_in: Option<u64>,
    next: Option<Instant>,
}

/// A line that was typed, and the messages that it was typed for.
struct Typed {
    turns: u64,
    enters: u32,
    at: Instant,
    letters: Vec<Letter>,
}

impl Wake {
    pub(super) fn new(mail: Box<dyn Mail>) -> Wake {
        Wake {
            mail,
            letters: Vec::new(),
            woken: HashSet::new(),
            look_from: Instant::now(),
            faulty: false,
            mail_changed: true,
            record_changed: true,
            turn: None,
            turns: 0,
            tool: None,
            wakes: 0,
            woken_at: None,
            attempt: None,
            refused_in: None,
            next: None,
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.mail.fd().filter(|_| !self.mail_changed)
    }

    pub(super) fn mail_arrived(&mut self) {
        self.mail_changed = true;
    }

    /// Returns whether it makes a difference which messages wait. That some do is known; and a
    /// line is typed only once they were read again.
    fn wants_look(&self) -> bool {
        let changes = self.mail_changed || self.mail.fd().is_none();
        changes && self.turn == Some(Turn::Over) && self.letters.is_empty()
    }

    /// Reads which messages wait.
    fn look(&mut self, now: Instant) -> Result<()> {
        self.mail_changed = false;
        let all = self.mail.look();
        let took = Instant::now().saturating_duration_since(now);
        let pause = match (&all, self.mail.fd()) {
            (Err(_), _) => FAULT_INTERVAL,
            (Ok(_), None) => BLIND_INTERVAL,
            (Ok(_), Some(_)) => LOOK_INTERVAL,
        };
        self.look_from = now + pause.max(took * LOOK_SHARE);
        self.mail_changed = all.is_err();
        let known = std::mem::replace(&mut self.faulty, all.is_err());
        let all = match all {
            Ok(all) => all,
            Err(error) => {
                self.letters.clear();
                // Said once, and not with each attempt.
                return if known { Ok(()) } else { Err(error) };
            }
        };
        self.woken.retain(|id| all.iter().any(|letter| letter.id == *id));
        self.letters = all;
        self.letters.retain(|letter| !self.woken.contains(&letter.id));
        Ok(())
    }

    /// Decides the next step, and does it.
    fn step(&mut self, console: &mut Console, ctx: &Context, now: Instant) -> Result<()> {
        let since_wake_ms = self.woken_at.map_or(u64::MAX, |at| ms_between(at, now));
        if self.wants_look() && now >= self.look_from {
            self.look(now)?;
            let mail_is_new = !self.letters.is_empty();
            self.wakes = judge_row(self.wakes, false, mail_is_new, since_wake_ms);
        }
        let key_since = console.last_key.is_some_and(|at| self.woken_at.is_some_and(|w| at > w));
        self.wakes = judge_row(self.wakes, key_since, false, since_wake_ms);
        let attempt = self.attempt.as_ref().map(|typed| Attempt {
            turns: typed.turns,
            enters: typed.enters,
            since_ms: ms_between(typed.at, now),
        });
        let mut seen = Seen {
            has_mail: !self.letters.is_empty() && self.refused_in != Some(self.turns),
            turn: self.turn,
            tool_is_there: false,
            turns: self.turns,
            line_is_empty: console.line.is_empty(),
            since_key_ms: console.last_key.map_or(u64::MAX, |at| ms_between(at, now)),
            since_output_ms: ms_between(console.last_output, now),
            wakes: self.wakes,
            since_wake_ms,
        };
        seen.tool_is_there =
            (seen.waits() || attempt.is_some()) && self.tool_is_there(console, &ctx.host);
        self.next = None;
        match decide_wake(attempt.as_ref(), &seen) {
            Step::Nothing => {}
            Step::Later(ms) => self.next = Some(now + Duration::from_millis(ms)),
            Step::Type => return self.type_line(console, ctx.agent.as_str(), now),
            Step::Enter => {
                console.type_keys(b"\r");
                console.holds_keys = false;
                if let Some(typed) = &mut self.attempt {
                    (typed.enters, typed.at) = (typed.enters + 1, now);
                }
                self.next = Some(now);
            }
            Step::Woken => {
                console.holds_keys = false;
                return self.was_woken(now);
            }
            Step::GiveUp => {
                console.holds_keys = false;
                self.attempt = None;
                self.refused_in = Some(self.turns);
                self.mail.disarm();
            }
        }
        Ok(())
    }

    /// Returns whether the tool of the record lives and has the terminal: another program may have
    /// it, if the tool was killed or stopped.
    fn tool_is_there(&self, console: &Console, host: &Host) -> bool {
        let Some(tool) = &self.tool else { return false };
        let lives = process::life(tool, host) == ProcessState::Alive;
        lives && tool.own.is_some_and(|own| console.is_in_front(own.pid))
    }

    fn type_line(&mut self, console: &mut Console, agent: &str, now: Instant) -> Result<()> {
        if !self.mail.arm()? {
            // The other means wakes the agent for this mail.
            self.next = Some(now + BLIND_INTERVAL);
            return Ok(());
        }
        // It may have been read a moment ago.
        let looked = self.look(now);
        if looked.is_err() || self.letters.is_empty() {
            self.mail.disarm();
            return looked;
        }
        let senders: Vec<&str> = self.letters.iter().map(|letter| letter.from.as_str()).collect();
        console.holds_keys = true;
        console.type_keys(line(agent, &senders).as_bytes());
        let letters = std::mem::take(&mut self.letters);
        self.attempt = Some(Typed { turns: self.turns, enters: 0, at: now, letters });
        self.next = Some(now + Duration::from_millis(ENTER_AFTER_MS));
        Ok(())
    }

    fn was_woken(&mut self, now: Instant) -> Result<()> {
        let letters = self.attempt.take().map(|typed| typed.letters).unwrap_or_default();
        let ids: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
        let recorded = self.mail.woken(&ids);
        self.mail.disarm();
        self.letters.retain(|letter| !ids.contains(&letter.id.as_str()));
        self.woken.extend(ids.into_iter().map(str::to_owned));
        (self.wakes, self.woken_at) = (self.wakes.saturating_add(1), Some(now));
        self.next = Some(now);
        recorded
    }

    /// When there is something to do although nothing happens.
    fn deadline(&self) -> Option<Instant> {
        // What changed before the first sleep, no watch has seen.
        if self.record_changed {
            return Some(Instant::now());
        }
        let look = self.wants_look().then_some(self.look_from);
        [look, self.next].into_iter().flatten().min()
    }
}

impl Supervisor<'_> {
    /// Shortens a sleep to the time of the next step.
    pub(super) fn until_wake(&self, limit: Duration) -> Duration {
        let deadline = self.wake.as_ref().and_then(Wake::deadline);
        deadline.map_or(limit, |at| limit.min(at.saturating_duration_since(Instant::now())))
    }

    /// Notes that the record of the session may have changed.
    pub(super) fn record_changed(&mut self) {
        if let Some(wake) = &mut self.wake {
            wake.record_changed = true;
        }
    }

    /// Does what is due for the wake of the agent.
    pub(super) fn attend_wake(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        let (Some(wake), Some(console)) = (&mut self.wake, &mut self.console) else { return };
        if std::mem::take(&mut wake.record_changed)
            && let Some(fields) = fields_of(&self.handle, &self.handle.ctx.agent)
        {
            let turns = turn::count(&fields);
            if turns > wake.turns {
                console.line.turn_began();
            }
            // While the agent asks its person something, keys are an answer, and no prompt.
            console.answers = fields.raw(WAITS_FOR).is_some();
            wake.tool = hooked_tool_of(&fields);
            let turn = turn::of(&fields);
            (wake.turn, wake.turns) = match console.answers {
                true => (turn.and(Some(Turn::Running)), turns),
                false => (turn, turns),
            };
        }
        let done = wake.step(console, self.handle.ctx, Instant::now());
        self.report_error(done, on_event);
    }
}

fn ms_between(since: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
}

//! The steps of a call: read, decide, write, and what each answer leads to.
//!
//! A write may be lost, may be accepted while its answer is lost, and may arrive long after its
//! sender stopped waiting. So a call never concludes from silence. It reads, decides anew and
//! writes again under the same id, until an accepted write says that it is done, or a newer
//! revision says that no write of it can arrive any more.

use super::decide::{
    Acquired, Observed, Terms, deadline_ns, decide_acquire, decide_end, decide_pass_on,
    decide_release, decide_renew, end_of,
};
use super::{Entry, How};
use crate::lease::{
    AcquireRequest, Cause, FencingToken, Held, Lost, Reassigned, Record, Released, Renewed,
    Successor,
};
use crate::time::Now;

/// What a call wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// To hold the lease.
    Acquire(Box<AcquireRequest>),
    /// To hold it on.
    Renew {
        /// The token of the grant.
        token: FencingToken,
        /// A new TTL, in ms.
        ttl_ms: Option<u64>,
    },
    /// To pass it on to another holder of this node.
    PassOn {
        /// The token of the grant.
        token: FencingToken,
        /// The new holder.
        successor: Box<Successor>,
    },
    /// To give it back.
    Release {
        /// The token of the grant.
        token: FencingToken,
    },
    /// To end it for a holder that is dead or late, if it is.
    End,
}

/// A write that counts only if `expected` is still the last revision of all subjects of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The revision that was read; 0 if there was none.
    pub expected: u64,
    /// What is written.
    pub entry: Entry,
}

/// The answer of the store to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was written.
    Accepted {
        /// Its revision.
        revision: u64,
    },
    /// It was not written: another revision was the last one (errors 10071 and 10164).
    Refused,
    /// No answer came, or one that does not say whether it was written.
    Unknown,
}

/// A grant that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its record.
    pub record: Box<Record>,
    /// Its revision, which the next write expects.
    pub revision: u64,
    /// The holder's boot clock at which it must have stopped.
    pub deadline_ns: u64,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The lease was granted.
    Granted(Grant, Cause),
    /// It had been granted to this very attempt, and stands.
    Again(Grant),
    /// It was renewed or passed on. `gap_ms` says how long it had been expired, unnoticed by
    /// others.
    Renewed {
        /// The renewed grant.
        grant: Grant,
        /// Time between the end of the TTL and now.
        gap_ms: Option<u64>,
    },
    /// It was released, now or before.
    Released,
    /// It was ended for its holder.
    Ended(How),
    /// There is nothing to end.
    Stands,
    /// Another one holds it.
    Held(Held),
    /// Nobody is granted a lease before this time of the server, in µs.
    Quarantine {
        /// The server's clock.
        until_us: i64,
    },
    /// The TTL is longer than the cluster allows.
    TtlTooLong {
        /// The longest, in ms.
        max_ms: u64,
    },
    /// A lease of the cluster has one holder, and the policy `reclaim`.
    Unsupported,
    /// The token range is used up.
    NoTokenLeft,
    /// The lease is not the caller's, or it could not be renewed before the deadline.
    Lost(Lost),
    /// A write of this call may stand, or may still arrive: repeat the call under the same id.
    Unknown,
    /// Nothing was decided in time, and no write of this call can stand.
    TimedOut,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the last value of all subjects of the lease, after a pause, then [`Call::observe`].
    Read,
    /// Send this, then [`Call::answer`].
    Write(Write),
    /// Stop.
    Done(Outcome),
}

/// A call on one lease. The caller gives up when its time is over, and at the deadline of the grant
/// that it renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    op: Op,
    /// The newest epoch and revision that this call has seen.
    known: (u64, u64),
    /// The newest revision that a write expects whose fate is not known.
    open: Option<(u64, u64)>,
    /// The write that was sent last, and what its acceptance means.
    sent: Option<(Write, Outcome)>,
}

impl Call {
    /// A call that has done nothing yet. It begins with [`Call::observe`] and what the caller
    /// knows: a copy, its own last grant, or [`Observed::nothing`].
    pub fn new(op: Op) -> Call {
        Call { op, known: (0, 0), open: None, sent: None }
    }

    /// Takes what was read, and says what to do.
    pub fn observe(&mut self, observed: &Observed, terms: &Terms, now: &Now) -> Step {
        let seen = (observed.epoch, observed.revision);
        // An old reading, as a server that is cut off gives it, or a revision of a former epoch,
        // which may be the number of another value now.
        // But that nothing stands there is no old reading, if what was known may have been removed.
        let was_removed = observed.revision == 0 && self.known.1 <= terms.removed_up_to;
        if observed.epoch != terms.epoch || seen < self.known && !was_removed {
            return Step::Read;
        }
        self.known = seen;
        if self.open.is_some_and(|open| seen > open) {
            self.open = None;
        }
        match self.decide(observed, terms, now) {
            Step::Done(_) if self.open.is_some() => Step::Read,
            step => step,
        }
    }

    fn decide(&mut self, observed: &Observed, terms: &Terms, now: &Now) -> Step {
        let expected = observed.revision;
        match self.op.clone() {
            Op::Acquire(ask) => match decide_acquire(observed, &ask, terms, now) {
                Acquired::Grant(record, cause) => {
                    let accepted = |grant| Outcome::Granted(grant, cause);
                    self.send_grant(expected, record, terms, accepted)
                }
                Acquired::Again(record) => self.send_grant(expected, record, terms, Outcome::Again),
                Acquired::Held(held) => Step::Done(Outcome::Held(held)),
                Acquired::Quarantine { until_us } => Step::Done(Outcome::Quarantine { until_us }),
                Acquired::TtlTooLong { max_ms } => Step::Done(Outcome::TtlTooLong { max_ms }),
                Acquired::Unsupported => Step::Done(Outcome::Unsupported),
                Acquired::NoTokenLeft => Step::Done(Outcome::NoTokenLeft),
            },
            Op::Renew { token, ttl_ms } => {
                match decide_renew(observed, token, ttl_ms, terms, now) {
                    Renewed::Write { record, gap_ms } => {
                        let accepted = |grant| Outcome::Renewed { grant, gap_ms };
                        self.send_grant(expected, record, terms, accepted)
                    }
                    Renewed::Lost(lost) => Step::Done(Outcome::Lost(lost)),
                }
            }
            Op::PassOn { token, successor } => {
                match decide_pass_on(observed, token, &successor, terms, now) {
                    Reassigned::Write(record) => {
                        let accepted = |grant| Outcome::Renewed { grant, gap_ms: None };
                        self.send_grant(expected, record, terms, accepted)
                    }
                    Reassigned::Lost(lost) => Step::Done(Outcome::Lost(lost)),
                    Reassigned::NoTokenLeft => Step::Done(Outcome::NoTokenLeft),
                }
            }
            Op::Release { token } => match decide_release(observed, token) {
                Released::Remove => {
                    self.send_end(observed, How::Released, Outcome::Released, terms)
                }
                Released::Already => Step::Done(Outcome::Released),
                Released::Lost(lost) => Step::Done(Outcome::Lost(lost)),
            },
            Op::End => match decide_end(observed, terms, now) {
                Some(how) => self.send_end(observed, how, Outcome::Ended(how), terms),
                None => Step::Done(Outcome::Stands),
            },
        }
    }

    fn send_grant(
        &mut self,
        expected: u64,
        record: Box<Record>,
        terms: &Terms,
        accepted: impl FnOnce(Grant) -> Outcome,
    ) -> Step {
        let scope = terms.scope();
        let deadline_ns = deadline_ns(&record);
        let grant = Grant { record: record.clone(), revision: 0, deadline_ns };
        self.send(Write { expected, entry: Entry::Grant(record, scope) }, accepted(grant))
    }

    fn send_end(
        &mut self,
        observed: &Observed,
        how: How,
        accepted: Outcome,
        terms: &Terms,
    ) -> Step {
        let Entry::Grant(record, _) = &observed.entry else { return Step::Done(accepted) };
        let entry = Entry::End(Box::new(end_of(record, how, terms)));
        self.send(Write { expected: observed.revision, entry }, accepted)
    }

    fn send(&mut self, write: Write, accepted: Outcome) -> Step {
        self.sent = Some((write.clone(), accepted));
        Step::Write(write)
    }

    /// Takes the answer to the write that was sent last, and says what to do.
    pub fn answer(&mut self, answer: Answer, terms: &Terms, now: &Now) -> Step {
        let Some((write, mut outcome)) = self.sent.take() else { return Step::Read };
        let epoch = self.known.0;
        match answer {
            Answer::Refused => Step::Read,
            Answer::Unknown => {
                self.open = self.open.max(Some((epoch, write.expected)));
                Step::Read
            }
            Answer::Accepted { revision } => {
                // Every write that is still on its way expects an older revision.
                self.open = None;
                self.known = self.known.max((epoch, revision));
                if let Outcome::Granted(grant, _)
                | Outcome::Again(grant)
                | Outcome::Renewed { grant, .. } = &mut outcome
                {
                    grant.revision = revision;
                    // It stands, and came too late to act on; or it was accepted by a store that
                    // has lost values, of which another holder may know.
                    if now.reading.boot_ns >= grant.deadline_ns || epoch != terms.epoch {
                        self.open = Some((epoch, write.expected));
                        return Step::Read;
                    }
                }
                Step::Done(outcome)
            }
        }
    }

    /// Ends a call whose time is over.
    pub fn give_up(&self) -> Outcome {
        match self.op {
            Op::Renew { .. } => Outcome::Lost(Lost { by: None }),
            _ if self.open.is_some() || self.sent.is_some() => Outcome::Unknown,
            _ => Outcome::TimedOut,
        }
    }
}

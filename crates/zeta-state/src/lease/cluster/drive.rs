//! Carries out a call of the core: reads, writes and pauses, until it is decided or its time is
//! over.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zeta_core::cluster::copy::Moment;
use zeta_core::cluster::lease::{
    Answer, Call, Entry, Observed, Op, Outcome, Step, Terms, Write, judge,
};
use zeta_core::evidence::{Age, ProcessState};
use zeta_core::lease::{Record, Standing};
use zeta_core::name::{Label, RecordName};
use zeta_core::time::Now;

use super::{Cluster, Store, copy_of};
use crate::context::Context;
use crate::directory::tree::Node;
use crate::directory::trusted_dir::TrustedDir;
use zeta_os::error::{Error, Kind, Result};

/// Longest pause before a lease is read again.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// For so long a store that could not be opened is not tried again.
const SHUT: Duration = Duration::from_secs(1);
/// A process remembers the revisions of so many leases.
const KNOWN_MAX: usize = 1024;

/// One call on a lease of the cluster.
pub struct Ask<'a> {
    /// The caller.
    pub ctx: &'a Context,
    /// The node whose record it is.
    pub node: &'a Node,
    /// The tree, with the copies that the bridge has written.
    pub base: &'a TrustedDir,
    /// The lease.
    pub lease: &'a RecordName,
    /// What is wanted.
    pub op: Op,
    /// What stands in the store, as far as the caller knows it by itself.
    pub known: Option<Observed>,
    /// Each new token is greater.
    pub floor: u64,
    /// The state of the processes of a grant of this node.
    pub life: &'a dyn Fn(&Record) -> ProcessState,
    /// How long the call may take.
    pub limit: Duration,
}

/// How a call ended.
#[derive(Debug)]
pub struct Answered {
    /// What was decided; what is known at the end of the time, if nothing was.
    pub outcome: Outcome,
    /// Whether it was decided.
    pub decided: bool,
    /// What was read last before that.
    pub entry: Entry,
    /// Its revision.
    pub revision: u64,
    /// Why nothing was decided, if so.
    pub trouble: Option<Error>,
}

/// A revision that this process has seen.
#[derive(Debug, Clone)]
struct Known {
    epoch: u64,
    revision: u64,
    entry: Entry,
    first: Moment,
}

/// The open store, and what was seen in it.
#[derive(Debug, Default)]
pub(super) struct State {
    store: Option<Box<dyn Store>>,
    shut: Option<(Instant, Error)>,
    known: BTreeMap<RecordName, Known>,
}

impl Cluster {
    /// Makes the leases of a cluster; nothing is opened yet.
    pub fn new(
        open: impl Fn(Duration) -> Result<Box<dyn Store>> + Send + Sync + 'static,
    ) -> Cluster {
        Cluster { open: Arc::new(open), state: std::sync::Mutex::default() }
    }

    /// Makes one for a thread that waits for long: another call would wait for it.
    pub fn apart(&self) -> Cluster {
        Cluster { open: self.open.clone(), state: std::sync::Mutex::default() }
    }

    /// Carries out a call.
    ///
    /// # Errors
    /// The store is not reached, or refuses; nothing was written then.
    pub fn call(&self, ask: Ask<'_>) -> Result<Answered> {
        let until = Instant::now() + ask.limit;
        let (state, call) = (self.state(), Call::new(ask.op.clone()));
        let mut run = Run::begin(self, state, call, ask)?;
        let mut step = run.call.observe(&run.seen, &run.terms, &run.ask.ctx.now());
        // Only a reading is a reason to stop: what is known may be old.
        if matches!(step, Step::Done(_)) {
            step = Step::Read;
        }
        let mut trouble = None;
        for reads in 0_u32.. {
            let rest = until.saturating_duration_since(Instant::now());
            let next = match step {
                Step::Done(outcome) => return Ok(run.answered(outcome, true, None)),
                _ if rest.is_zero() => break,
                Step::Write(write) => run.write(write, rest),
                Step::Read => {
                    pause(reads, rest);
                    run.look(rest)
                }
            };
            step = match next {
                Ok(step) => step,
                Err(error) => {
                    trouble = Some(run.state.note(error));
                    if !run.is_open() {
                        break;
                    }
                    Step::Read
                }
            };
        }
        match (trouble, run.call.give_up()) {
            (Some(error), Outcome::TimedOut) => Err(error),
            (trouble, outcome) => Ok(run.answered(outcome, false, trouble)),
        }
    }

    /// Looks at a lease without a change.
    ///
    /// # Errors
    /// The store is not reached.
    pub fn look(&self, ask: Ask<'_>) -> Result<(Observed, Standing)> {
        let limit = ask.limit;
        let mut run = Run::begin(self, self.state(), Call::new(Op::End), ask)?;
        let looked = run.look(limit);
        looked.map_err(|error| run.state.note(error))?;
        let standing = judge(&run.seen, &run.terms, &run.ask.ctx.now());
        Ok((run.seen, standing))
    }

    /// Waits until another revision of a lease than this one is seen; false if the limit was over
    /// before.
    ///
    /// # Errors
    /// The store is not reached.
    pub fn wait(&self, lease: &RecordName, revision: u64, limit: Duration) -> Result<bool> {
        let mut state = self.state();
        let waited = state.store(self, limit).and_then(|store| store.wait(lease, revision, limit));
        waited.map_err(|error| state.note(error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits a moment before a lease is read once more: the first reading is due at once.
fn pause(reads: u32, rest: Duration) {
    if reads > 1 {
        let pause = Duration::from_millis(5).saturating_mul(1 << reads.min(6));
        std::thread::sleep(pause.min(PAUSE_MAX).min(rest));
    }
}

fn other_node(here: &Label, there: &Label) -> Error {
    Error::new(
        Kind::Unsafe,
        format!("this is the node {here}, and its identity in the cluster is the node {there}"),
    )
    .hint("each node has a directory of its own: cluster_dir in the configuration")
}

struct Run<'a> {
    cluster: &'a Cluster,
    state: MutexGuard<'a, State>,
    call: Call,
    ask: Ask<'a>,
    terms: Terms,
    /// What was seen last.
    seen: Observed,
}

impl<'a> Run<'a> {
    fn begin(
        cluster: &'a Cluster,
        mut state: MutexGuard<'a, State>,
        call: Call,
        ask: Ask<'a>,
    ) -> Result<Run<'a>> {
        let terms = state.terms(cluster, &ask, ask.limit);
        let terms = terms.map_err(|error| state.note(error))?;
        let seen = Observed::nothing(terms.epoch);
        let mut run = Run { cluster, state, call, ask, terms, seen };
        run.guess();
        Ok(run)
    }

    fn answered(self, outcome: Outcome, decided: bool, trouble: Option<Error>) -> Answered {
        let Observed { entry, revision, .. } = self.seen;
        Answered { outcome, decided, entry, revision, trouble }
    }

    fn write(&mut self, write: Write, limit: Duration) -> Result<Step> {
        let lease = self.ask.lease;
        let store = self.state.store(self.cluster, limit);
        let answer = store.and_then(|store| store.write(lease, &write, limit));
        let now = self.ask.ctx.now();
        // An error says that it was not written.
        let known = *answer.as_ref().unwrap_or(&Answer::Refused);
        match known {
            Answer::Accepted { revision } => {
                self.state.learn(lease, (self.terms.epoch, revision), write.entry, &now);
            }
            Answer::Refused => {}
            Answer::Unknown => self.state.store = None,
        }
        let step = self.call.answer(known, &self.terms, &now);
        answer.map(|_| step)
    }

    fn look(&mut self, limit: Duration) -> Result<Step> {
        self.terms = self.state.terms(self.cluster, &self.ask, limit)?;
        let lease = self.ask.lease;
        let (revision, entry) = self.state.store(self.cluster, limit)?.read(lease, limit)?;
        self.seen = self.observed(self.terms.epoch, revision, entry);
        Ok(self.call.observe(&self.seen, &self.terms, &self.ask.ctx.now()))
    }

    /// A write of this call may stand.
    fn is_open(&self) -> bool {
        self.call.give_up() == Outcome::Unknown
    }

    /// Takes what the caller knows, or this process, or the bridge of this node.
    fn guess(&mut self) {
        if let Some(known) = self.ask.known.take() {
            self.seen = known;
            return;
        }
        let lease = self.ask.lease;
        let known = self.state.known.get(lease);
        let known = known.map(|known| (known.epoch, known.revision, known.entry.clone()));
        let copied = || {
            let (about, entry) = copy_of(self.ask.base, lease)?;
            Some((about.epoch, about.sequence, entry))
        };
        if let Some((epoch, revision, entry)) = known.or_else(copied) {
            self.seen = self.observed(epoch, revision, entry);
        }
    }

    /// Adds for how long this node has seen a revision, and the evidence of its own kernel.
    fn observed(&mut self, epoch: u64, revision: u64, entry: Entry) -> Observed {
        let Ask { ctx, base, lease, .. } = self.ask;
        let now = ctx.now();
        let is_new = |known: &Known| (known.epoch, known.revision) != (epoch, revision);
        if self.state.known.get(lease).is_none_or(is_new) {
            let copy = copy_of(base, lease).map(|(about, _)| about);
            let copy = copy.filter(|about| (about.epoch, about.sequence) == (epoch, revision));
            let seen = copy.map(|about| about.observed).filter(|at| at.age(&now) != Age::Unclear);
            self.state.learn(lease, (epoch, revision), entry.clone(), &now);
            if let (Some(seen), Some(known)) = (seen, self.state.known.get_mut(lease)) {
                known.first = seen;
            }
        }
        let known = self.state.known.get(lease);
        let unchanged = known.map_or(Age::Unclear, |known| known.first.age(&now));
        let life = match &entry {
            Entry::Grant(record, _) => (self.ask.life)(record),
            _ => ProcessState::Unknown,
        };
        Observed { epoch, revision, entry, unchanged, life }
    }
}

impl State {
    fn store(&mut self, cluster: &Cluster, limit: Duration) -> Result<&mut Box<dyn Store>> {
        if self.store.is_none() {
            if let Some((at, error)) = &self.shut
                && at.elapsed() < SHUT
            {
                return Err(error.clone());
            }
            self.shut = None;
            match (cluster.open)(limit) {
                Ok(store) => self.store = Some(store),
                Err(error) => {
                    self.shut = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            }
        }
        self.store.as_mut().ok_or_else(|| Error::new(Kind::Fault, "the store is closed"))
    }

    fn terms(&mut self, cluster: &Cluster, ask: &Ask<'_>, limit: Duration) -> Result<Terms> {
        let terms = self.store(cluster, limit)?.terms(limit)?;
        if terms.node != ask.node.name {
            return Err(other_node(&ask.node.name, &terms.node));
        }
        Ok(Terms { tree: ask.node.mark()?, floor: terms.floor.max(ask.floor), ..terms })
    }

    /// A store that is not reached is opened anew by the next call.
    fn note(&mut self, error: Error) -> Error {
        if error.kind == Kind::Busy {
            self.store = None;
        }
        error
    }

    fn learn(&mut self, lease: &RecordName, revision: (u64, u64), entry: Entry, now: &Now) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(lease) {
            self.known.clear();
        }
        let (epoch, revision) = revision;
        let known = Known { epoch, revision, entry, first: Moment::at(now) };
        self.known.insert(lease.clone(), known);
    }
}

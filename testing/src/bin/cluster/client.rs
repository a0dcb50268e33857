//! A client: it takes leases with the steps of the core, writes to what they protect, and logs what
//! it did and believed.
//!
//! `ask ID AT PID`, `sent ID TOKEN AT` before each write that may become the grant and `refused ID
//! TOKEN` when it is surely none, then one of `granted ID TOKEN ASKED GOT DEADLINE EPOCH CAUSE PID`
//! and `done ID ASKED GOT WHY`; `unknown ID ASKED GOT` when the call does not know, after which it
//! is made again. Then `renewed TOKEN ASKED
//! GOT DEADLINE`, `lost TOKEN ASKED GOT`, `late TOKEN ASKED GOT` for a renewal that nothing was
//! known of before the deadline, `release TOKEN AT`, `released TOKEN ASKED GOT`, `unfreed TOKEN
//! ASKED GOT`. Times are ns of CLOCK_BOOTTIME.

use std::time::Duration;

use rustix::process::getuid;
use zeta_core::cluster::lease::{
    Answer, Call, Entry, Grant, Observed, Op, Outcome, Step, Terms, Write,
};
use zeta_core::evidence::{Age, ProcessState, Processes};
use zeta_core::lease::{AcquireRequest, FencingToken, Policy};
use zeta_core::name::{Label, RecordName};
use zeta_core::time::{Host, Now};
use zeta_os::host;
use zeta_os::process::{identify_self, life};

use super::Outcomes;
use super::arena::{Arena, CLIENTS, LEASES, lease_name, now_ns};
use super::link::Link;
use super::register::{Highest, Register};
use super::story::Story;

const NS_PER_S: u64 = 1_000_000_000;
/// How long one call tries, and how long a call that does not know is made again.
const PATIENCE_NS: u64 = 15 * NS_PER_S;
/// The longest TTL.
pub const TTL_MAX_MS: u64 = 5_000;
/// The pause before a value is read again.
const LOOK: Duration = Duration::from_millis(5);

/// What this process knows of a lease.
struct Known {
    name: RecordName,
    story: Story,
    register: Register,
    epoch: u64,
    revision: u64,
    entry: Entry,
    /// When it saw this revision first.
    seen_ns: u64,
}

/// A client of a node.
pub struct Client {
    node: Label,
    host: Host,
    dice: fastrand::Rng,
    link: Link,
    leases: Vec<Known>,
    highest: Highest,
    rereads_meta: bool,
}

/// Takes leases until the run is over.
pub fn work(arena: &Arena, number: usize, seed: u64) -> Outcomes<()> {
    let at = number / CLIENTS;
    let mut client = Client::new(arena, at, seed)?;
    while !arena.over() {
        let lease = client.dice.usize(..LEASES);
        client.round(lease)?;
        let rest = client.dice.u64(..4000);
        std::thread::sleep(Duration::from_micros(rest));
    }
    Ok(())
}

/// The name of a node.
pub fn node_name(at: usize) -> Outcomes<Label> {
    Ok(Label::new("node", &format!("node-{at}"))?)
}

impl Client {
    fn new(arena: &Arena, at: usize, seed: u64) -> Outcomes<Client> {
        let known = |lease: usize| -> Outcomes<Known> {
            let name = lease_name(lease);
            Ok(Known {
                story: Story::open(&arena.dir, &name)?,
                register: Register::open(&arena.dir, &name)?,
                name: RecordName::new("lease", &name)?,
                epoch: 0,
                revision: 0,
                entry: Entry::Absent,
                seen_ns: 0,
            })
        };
        Ok(Client {
            node: node_name(at)?,
            host: host::host()?,
            dice: fastrand::Rng::with_seed(seed),
            link: Link::new(arena, at),
            leases: (0..LEASES).map(known).collect::<Outcomes<_>>()?,
            highest: Highest::open(&arena.dir, at)?,
            rereads_meta: arena.loss,
        })
    }

    /// Takes a lease once, or is refused.
    fn round(&mut self, at: usize) -> Outcomes<()> {
        let (id, asked_ns) = (host::random_hex()?, now_ns());
        self.say(at, &format!("ask {id} {asked_ns} {}", std::process::id()))?;
        let ask = self.ask(at, &id);
        let mut again_until = None;
        let outcome = loop {
            if self.rereads_meta {
                self.link.read_meta();
            }
            let first = self.first(at);
            let mut call = Call::new(Op::Acquire(Box::new(ask.clone())));
            let until_ns = now_ns() + PATIENCE_NS;
            let outcome = self.drive(at, &mut call, first, until_ns)?;
            if outcome != Outcome::Unknown {
                break outcome;
            }
            let now = now_ns();
            self.say(at, &format!("unknown {id} {asked_ns} {now}"))?;
            if now >= *again_until.get_or_insert(now + 2 * PATIENCE_NS) {
                return self.say(at, &format!("done {id} {asked_ns} {now} unknown"));
            }
        };
        let got_ns = now_ns();
        let (grant, cause) = match outcome {
            Outcome::Granted(grant, cause) => (grant, format!("{cause:?}")),
            Outcome::Again(grant) => (grant, "again".to_owned()),
            other => {
                let text = format!("{other:?}");
                let word = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("none");
                self.say(at, &format!("done {id} {asked_ns} {got_ns} {word}"))?;
                std::thread::sleep(Duration::from_millis(self.dice.u64(3..25)));
                return Ok(());
            }
        };
        let (token, deadline_ns) = (grant.record.fencing_token, grant.deadline_ns);
        let (epoch, pid) = (self.leases[at].epoch, std::process::id());
        let times = format!("{asked_ns} {got_ns} {deadline_ns}");
        self.say(at, &format!("granted {id} {token} {times} {epoch} {cause} {pid}"))?;
        self.hold(at, grant)
    }

    fn ask(&mut self, at: usize, id: &str) -> AcquireRequest {
        let own = Some(identify_self());
        AcquireRequest {
            lease: self.leases[at].name.clone(),
            lease_id: id.to_owned(),
            agent: self.node.clone(),
            session: None,
            processes: Processes { own, pid_ns: self.host.pid_ns, ..Processes::default() },
            pr: None,
            uid: getuid().as_raw(),
            ttl_ms: self.dice.u64(2_000..=TTL_MAX_MS),
            grace_ms: None,
            policy: Policy::Reclaim,
            purpose: None,
            joint: None,
            in_cluster: false,
        }
    }

    /// What a call begins with: a guess, or nothing, so that it reads first.
    fn first(&mut self, at: usize) -> Option<Observed> {
        let guess = self.dice.u32(..10) < 7 && !matches!(self.leases[at].entry, Entry::Grant(..));
        guess.then(|| self.observed(at))
    }

    fn observed(&self, at: usize) -> Observed {
        let known = &self.leases[at];
        let own = match &known.entry {
            Entry::Grant(record, scope) if scope.node == self.node => {
                life(&record.processes, &self.host)
            }
            _ => ProcessState::Unknown,
        };
        Observed {
            epoch: known.epoch,
            revision: known.revision,
            entry: known.entry.clone(),
            unchanged: match known.seen_ns {
                0 => Age::Unclear,
                seen_ns => Age::Ms(now_ns().saturating_sub(seen_ns) / 1_000_000),
            },
            life: own,
        }
    }

    /// Remembers what stands in the store, and when it was first seen.
    fn learn(&mut self, at: usize, (epoch, revision): (u64, u64), entry: Entry) -> Outcomes<()> {
        if let Some(token) = entry.fencing_token() {
            self.highest.raise(token.get())?;
        }
        let known = &mut self.leases[at];
        // Older than what is known: a server that was cut off.
        if (epoch, revision) < (known.epoch, known.revision) {
            return Ok(());
        }
        if (epoch, revision) != (known.epoch, known.revision) || known.seen_ns == 0 {
            known.seen_ns = now_ns();
        }
        (known.epoch, known.revision, known.entry) = (epoch, revision, entry);
        Ok(())
    }

    fn terms(&mut self) -> Outcomes<Option<Terms>> {
        let Some(meta) = self.link.meta.clone() else { return Ok(None) };
        Ok(Some(Terms {
            node: self.node.clone(),
            tree: "one".to_owned(),
            epoch: meta.epoch,
            floor: meta.floor.max(self.highest.raise(0)?),
            no_grant_before_us: meta.no_grant_before_us,
            max_ttl_ms: meta.max_ttl_ms,
            removed_up_to: 0,
            server_us: host::wall_us(),
        }))
    }

    /// Carries a call out until it is done, or its time is over.
    fn drive(
        &mut self,
        at: usize,
        call: &mut Call,
        first: Option<Observed>,
        until_ns: u64,
    ) -> Outcomes<Outcome> {
        let mut step = match first {
            Some(observed) => self.take(&observed, call)?,
            None => Step::Read,
        };
        let mut refused = 0;
        while now_ns() < until_ns {
            step = match step {
                Step::Done(outcome) => return Ok(outcome),
                Step::Read => {
                    // The epoch is the one that was known before.
                    let observed = match self.terms()? {
                        Some(terms) => self.read(at, terms.epoch)?,
                        None => self.link.member().and(None),
                    };
                    let next = match observed {
                        Some(observed) => self.take(&observed, call)?,
                        None => Step::Read,
                    };
                    if next == Step::Read {
                        std::thread::sleep(LOOK);
                    }
                    next
                }
                Step::Write(write) => {
                    let next = self.write(at, call, write)?;
                    // A leader that was cut off refuses at once, again and again, what its own
                    // reading allows.
                    if next == Step::Read {
                        std::thread::sleep(LOOK * refused);
                        refused = (refused + 1).min(20);
                    }
                    next
                }
            };
        }
        Ok(match step {
            Step::Done(outcome) => outcome,
            _ => call.give_up(),
        })
    }

    /// Has the call decide on what was read.
    fn take(&mut self, observed: &Observed, call: &mut Call) -> Outcomes<Step> {
        let Some(terms) = self.terms()? else { return Ok(Step::Read) };
        let now = Now { reading: host::reading(), host: &self.host };
        Ok(call.observe(observed, &terms, &now))
    }

    /// Sends a write, and gives the call its answer.
    fn write(&mut self, at: usize, call: &mut Call, write: Write) -> Outcomes<Step> {
        let sent = match &write.entry {
            Entry::Grant(record, _) => {
                Some(format!("{} {}", record.lease_id, record.fencing_token))
            }
            _ => None,
        };
        if let Some(sent) = &sent {
            self.say(at, &format!("sent {sent} {}", now_ns()))?;
        }
        let lease = self.leases[at].name.clone();
        let epoch = self.link.meta.as_ref().map_or(0, |meta| meta.epoch);
        let answer = self.link.write(&lease, write.expected, &write.entry);
        match (answer, sent) {
            (Answer::Accepted { revision }, _) => {
                self.learn(at, (epoch, revision), write.entry)?;
            }
            (Answer::Refused, Some(sent)) => self.say(at, &format!("refused {sent}"))?,
            _ => {}
        }
        let Some(terms) = self.terms()? else { return Ok(Step::Read) };
        let now = Now { reading: host::reading(), host: &self.host };
        Ok(call.answer(answer, &terms, &now))
    }

    /// Reads a lease. The epoch is the one that was known before.
    fn read(&mut self, at: usize, epoch: u64) -> Outcomes<Option<Observed>> {
        let lease = self.leases[at].name.clone();
        let Some((revision, entry)) = self.link.read(&lease) else { return Ok(None) };
        self.learn(at, (epoch, revision), entry.clone())?;
        let observed = self.observed(at);
        if observed.revision == revision && observed.epoch == epoch {
            return Ok(Some(observed));
        }
        // The call itself judges a reading that is older than another.
        let (unchanged, life) = (Age::Unclear, ProcessState::Unknown);
        Ok(Some(Observed { epoch, revision, entry, unchanged, life }))
    }

    /// Holds a grant: writes to what it protects, renews it, and most often gives it back.
    fn hold(&mut self, at: usize, grant: Grant) -> Outcomes<()> {
        let token = grant.record.fencing_token;
        let mut deadline_ns = grant.deadline_ns;
        let how = self.dice.u32(..1000);
        // A holder that asks before each write, or one that trusts in the fence.
        let word = if how.is_multiple_of(2) { "checked" } else { "blind" };
        let pieces = if how < 200 { self.dice.u32(2..6) } else { 1 };
        for piece in 0..pieces {
            let stay = match how {
                0..10 => Duration::from_millis(self.dice.u64(100..900)),
                10..200 => Duration::from_millis(self.dice.u64(..20)),
                _ => Duration::from_micros(self.dice.u64(..2000)),
            };
            std::thread::sleep(stay);
            if word == "blind" || now_ns() < deadline_ns {
                self.leases[at].register.write(token.get(), word)?;
            }
            if piece + 1 < pieces {
                match self.renew(at, token, deadline_ns)? {
                    Some(renewed_ns) => deadline_ns = renewed_ns,
                    None => return Ok(()),
                }
            }
        }
        // Now and then a holder forgets its lease, and only time ends it.
        if how == 999 {
            return Ok(());
        }
        self.release(at, token)
    }

    /// Renews; returns the new deadline, or `None` if the lease is lost.
    fn renew(&mut self, at: usize, token: FencingToken, deadline_ns: u64) -> Outcomes<Option<u64>> {
        let asked_ns = now_ns();
        let mut call = Call::new(Op::Renew { token, ttl_ms: None });
        let first = Some(self.observed(at));
        let outcome = self.drive(at, &mut call, first, deadline_ns)?;
        let got_ns = now_ns();
        let (line, kept) = match outcome {
            Outcome::Renewed { grant, .. } => {
                let until = grant.deadline_ns;
                (format!("renewed {token} {asked_ns} {got_ns} {until}"), Some(until))
            }
            _ if got_ns >= deadline_ns => (format!("late {token} {asked_ns} {got_ns}"), None),
            _ => (format!("lost {token} {asked_ns} {got_ns}"), None),
        };
        self.say(at, &line)?;
        Ok(kept)
    }

    fn release(&mut self, at: usize, token: FencingToken) -> Outcomes<()> {
        let asked_ns = now_ns();
        self.say(at, &format!("release {token} {asked_ns}"))?;
        let mut call = Call::new(Op::Release { token });
        let first = Some(self.observed(at));
        let outcome = self.drive(at, &mut call, first, asked_ns + PATIENCE_NS)?;
        let word = match outcome {
            Outcome::Released => "released",
            Outcome::Lost(_) => "lost",
            _ => "unfreed",
        };
        self.say(at, &format!("{word} {token} {asked_ns} {}", now_ns()))
    }

    fn say(&mut self, at: usize, line: &str) -> Outcomes<()> {
        self.leases[at].story.say(line)
    }
}

//! An attempt at a lease that several holders have side by side, or that stands so already.

use zeta_core::lease::joint::Joint;
use zeta_core::lease::joint::decide::{
    Joined, Member, decide_join, has_room, holding, is_in_the_way, may_stay, refuses,
};
use zeta_core::lease::{Cause, FencingToken, Held, Observed, Record};
use zeta_core::time::Now;

use super::{Attempt, Attempted, Outcome, Refusal, holder_fds, no_token_left};
use crate::directory::guard::Section;
use crate::history;
use crate::history::entry;
use crate::lease::joint::index::excluded_by;
use crate::lease::joint::{Grant, Grants, standing_of};
use crate::lease::queue::Queue;
use crate::lease::{BeforeCommit, RENEWAL_RESERVE, observe, publish};
use zeta_os::error::{Error, Result};

/// A waiter watches the processes of so many holders; the check once a second finds the rest.
const WATCHED_MAX: usize = 64;

/// A refusal of a claim on paths names so many holders; there may be more.
pub const NAMED_MAX: usize = 16;

/// What stands beside a request: the record of the lease, and the grants of a joint one.
struct Beside {
    record: Observed,
    grants: Option<Grants>,
    /// The grants, or the record of a lease that is not joint.
    held: Vec<Grant>,
}

impl Beside {
    fn read(
        attempt: &Attempt<'_, '_>,
        section: &Section<'_>,
        record: Observed,
        now: &Now,
    ) -> Result<Beside> {
        let lease = &attempt.request.lease;
        let grants = Grants::open(section.base(), section.node(), lease)?;
        let host = &attempt.handle.at.ctx.host;
        let held = match (&record, &grants, &attempt.request.joint) {
            (record, Some(grants), Some(Joint::Paths(claim))) if standing_of(record).is_some() => {
                let files = excluded_by(section, grants, lease, host, claim)?;
                let look = |bytes| observe(bytes, lease, host);
                let mut refusing = 0;
                let enough = |observed: &Observed| {
                    refusing += usize::from(refuses(attempt.request, observed, now));
                    refusing == NAMED_MAX
                };
                grants.read_until(section.base(), files, look, enough)?
            }
            (record, Some(grants), _) if standing_of(record).is_some() => {
                grants.read_all(section.base(), |bytes| observe(bytes, lease, host))?
            }
            (Observed::Absent, ..) => Vec::new(),
            (record, ..) if standing_of(record).is_some() => Vec::new(),
            (record, ..) => vec![Grant { file: None, observed: record.clone() }],
        };
        Ok(Beside { record, grants, held })
    }

    fn observed(&self, at: usize) -> Observed {
        self.held.get(at).map_or(Observed::Absent, |grant| grant.observed.clone())
    }

    /// The first of some grants, and the others.
    fn first_and_others(&self, of: impl Iterator<Item = usize>) -> (Observed, Vec<Observed>) {
        let mut of = of.map(|at| self.observed(at));
        (of.next().unwrap_or(Observed::Absent), of.collect())
    }
}

impl Attempt<'_, '_> {
    /// How many holders the caller can stand beside, itself included.
    pub(super) fn slots(&self) -> u32 {
        match &self.request.joint {
            Some(Joint::Slots(slots)) => *slots,
            _ => 1,
        }
    }

    /// Claims on paths have no line: most of them are not in each other's way.
    pub(super) fn is_for_paths(&self) -> bool {
        matches!(self.request.joint, Some(Joint::Paths(_)))
    }

    /// As [`Attempt::step`], for a request of a joint lease, or beside one.
    pub(super) fn step_joint(
        &mut self,
        section: &Section<'_>,
        record: Observed,
        highest: u64,
        killed: bool,
        now: &Now,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Attempted> {
        let beside = Beside::read(self, section, record, now)?;
        let members: Vec<Member<'_>> = beside
            .held
            .iter()
            .map(|grant| {
                let in_the_way = is_in_the_way(self.request, &grant.observed);
                Member { observed: &grant.observed, in_the_way }
            })
            .collect();
        let stay = match self.is_for_paths() {
            true => 0,
            false => may_stay(&members, self.slots(), now),
        };
        match decide_join(&members, self.request, stay, highest, killed, now) {
            Joined::Again(at) => match beside.observed(at) {
                Observed::Ours(record, ..) => {
                    Ok(Attempted::Done(Outcome::Granted { record, cause: None, from: None }))
                }
                _ => Err(no_token_left(&self.request.lease)),
            },
            Joined::Other(_) => Err(self.granted_something_else()),
            Joined::Grant { mut record, cause, void } => {
                let has_room = |slots| has_room(&members, slots, now);
                let holder = match standing_of(&beside.record) {
                    Some(_) => None,
                    None => super::holder(&beside.record),
                };
                if self.must_queue(section, holder, &has_room, now)? {
                    let holding = holding(&members, now);
                    let (observed, others) = beside.first_and_others(holding.into_iter());
                    return Ok(Attempted::behind(observed, others));
                }
                if self.request.in_cluster {
                    record = match self.ask_cluster(section, &Observed::Absent, now)? {
                        Ok((record, ..)) => record,
                        Err(attempted) => return Ok(attempted),
                    };
                }
                self.join(section, beside, (record, cause), &void, now, before_commit)
            }
            Joined::Held { held, by } => self.joint_held(section, &beside, held, &by, now),
            Joined::MustKill(at, processes) => {
                self.kill(section, &processes, beside.observed(at), now)
            }
            Joined::NoTokenLeft => Err(no_token_left(&self.request.lease)),
        }
    }

    fn joint_held(
        &mut self,
        section: &Section<'_>,
        beside: &Beside,
        held: Held,
        by: &[usize],
        now: &Now,
    ) -> Result<Attempted> {
        let (observed, others) = beside.first_and_others(by.iter().copied());
        if self.limit_ms.is_none() {
            let refusal = Refusal { others, ..self.refusal(Some(held), observed) };
            return Ok(Attempted::Done(Outcome::Refused(refusal)));
        }
        let joint = standing_of(&beside.record).is_some();
        let holder = if joint { None } else { super::holder(&observed) };
        let grants = beside.grants.as_ref().filter(|_| joint).map(Grants::fd);
        let first = self.queue_up(section, holder, grants, now)?;
        let watched = by.iter().take(if first { WATCHED_MAX } else { 0 });
        let holders = watched.map(|at| holder_fds(&beside.observed(*at))).collect();
        Ok(Attempted::Sleep { held: Some(held), observed, others, holders })
    }

    /// Carries out a grant: the void ones go first, and the new one comes last.
    fn join(
        &mut self,
        section: &Section<'_>,
        beside: Beside,
        (mut record, cause): (Box<Record>, Cause),
        void: &[usize],
        now: &Now,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Attempted> {
        let standing = standing_of(&beside.record);
        let mut of_standing = record.fencing_token;
        if self.request.joint.is_some() && standing.is_none() {
            // The record that stands for the grants has a token that no grant has.
            let next = FencingToken::new(of_standing.get() + 1);
            record.fencing_token = next.ok_or_else(|| no_token_left(&self.request.lease))?;
        } else if let Some(standing) = standing {
            of_standing = standing.fencing_token;
        }
        section.remember(record.fencing_token.get())?;
        let (ctx, lease) = (self.handle.at.ctx, &self.request.lease);
        for grant in void.iter().filter_map(|at| beside.held.get(*at)) {
            // Before the new grant is announced: it may be the same agent's.
            let cause = entry::cause_of(&grant.observed, now);
            let end = |grants: &Grants| grants.end(section, ctx, lease, grant, cause);
            beside.grants.iter().try_for_each(end)?;
        }
        let ready = before_commit(&mut record);
        ready.inspect_err(|_| self.undo_in_cluster(section, &record))?;
        let replaces = beside.record != Observed::Absent;
        match &self.request.joint {
            None => {
                publish(section, &record, replaces, RENEWAL_RESERVE)?;
                beside.grants.iter().for_each(|grants| {
                    grants.remove_empty(section);
                });
            }
            Some(_) => {
                let grants = match beside.grants {
                    Some(grants) => {
                        if standing.is_none() {
                            grants.remove_all(section, ctx, &self.request.lease)?;
                        }
                        grants
                    }
                    None => Grants::open_or_create(section, &self.request.lease)?,
                };
                grants.add(section, standing, (of_standing, &record), replaces, now)?;
            }
        }
        // A record that was not that of a joint lease stood there until now.
        let replaced = void.iter().filter_map(|at| beside.held.get(*at)).find(|g| g.file.is_none());
        let before = replaced.map_or(&Observed::Absent, |grant| &grant.observed);
        history::append(section, &entry::of_grant(section, &record, cause, before));
        let mut from = None;
        for grant in void.iter().filter_map(|at| beside.held.get(*at)) {
            if let Observed::Ours(record, ..) = &grant.observed {
                Queue::remove_tickets_of(section, &record.processes);
                from = from.or_else(|| Some(record.clone()));
            }
        }
        // The next waiter may be granted another place at once.
        if self.request.joint.is_some()
            && let Some(mut position) = self.handle.position.take()
        {
            position.give_back(section);
        }
        Ok(Attempted::Done(Outcome::Granted { record, cause: Some(cause), from }))
    }

    pub(super) fn granted_something_else(&self) -> Error {
        let lease = &self.request.lease;
        let id = &self.request.lease_id;
        Error::usage(format!("lease {lease}: the attempt {id:?} was granted something else before"))
            .hint("give every attempt its own --lease-id, or release the grant first")
    }
}

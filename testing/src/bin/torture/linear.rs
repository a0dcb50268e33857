//! The second check, which does not use the order of the tokens. It searches for any order of the
//! calls, each at one moment between its call and its return, in which one lease would answer so.
//!
//! The search walks through calls and returns in the order of time, with all the states that the
//! lease may be in (just-in-time linearization: Wing and Gong's search, in the form of Lowe). A
//! call is given its moment no earlier than a return needs it, but answers that change nothing get
//! theirs as soon as they are true: a later moment could not be better for any other call.
//!
//! The model of the lease has a holder or none, and remembers the highest token. A grant needs no
//! holder and a higher token. A renewal needs the holder's token. A release needs it as well, or a
//! free lease whose last token this was. *Lost* needs another holder than that; *held*, any holder.
//! A stay that is not released ends by itself at any moment of a span that `judge` computes.

use std::collections::HashSet;

/// One call, or the end of a stay.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub what: What,
    /// When the call was made, or the end could happen.
    pub from: u64,
    /// When the call had returned, or the end must have happened; `u64::MAX` if that is not known.
    pub to: u64,
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Grant(u64),
    Renewed(u64),
    Released(u64),
    /// The token is not the holder's.
    Lost(u64),
    /// A single try: the lease is held.
    Held,
    /// The stay with this token ended by itself, unless a call ended it before.
    End(u64),
}

/// The model of the lease: the token of the holder or 0, and the highest token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Lease {
    holder: u64,
    highest: u64,
}

impl Lease {
    /// Returns the lease after an answer, if the answer is possible.
    fn after(self, what: What) -> Option<Lease> {
        let free = Lease { holder: 0, ..self };
        let is = |token| self.holder == token;
        match what {
            What::Grant(token) => {
                (is(0) && token > self.highest).then_some(Lease { holder: token, highest: token })
            }
            What::Renewed(token) => is(token).then_some(self),
            What::Released(token) => (is(token) || is(0) && self.highest == token).then_some(free),
            What::Lost(token) => (!is(token)).then_some(self),
            What::Held => (!is(0)).then_some(self),
            What::End(token) => is(token).then_some(free),
        }
    }
}

impl What {
    fn changes_nothing(self) -> bool {
        matches!(self, What::Renewed(_) | What::Lost(_) | What::Held)
    }
}

/// One possible history so far: the lease, and which open calls had their moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Way {
    lease: Lease,
    done: u64,
}

/// The number of calls that can be open at a time: a bit each.
const OPEN_MAX: usize = 64;
/// The number of open calls from which on impossible ends are removed.
const OPEN_MANY: usize = 8;

#[derive(Default)]
struct Search {
    open: Vec<Option<What>>,
    /// The open calls whose return is not known, a bit each.
    endless: u64,
    ways: Vec<Way>,
}

/// Searches for an order; the error names the call at whose return no order was left.
pub fn search(ops: &[Op]) -> Result<(), String> {
    let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(ops.len() * 2);
    for (at, op) in ops.iter().enumerate() {
        events.push((op.from, false, at));
        if op.to < u64::MAX {
            events.push((op.to.max(op.from), true, at));
        }
    }
    // Events at the same moment may have been in either order: calls come first.
    events.sort_unstable();
    let mut search = Search { ways: vec![Way::default()], ..Search::default() };
    let mut places = vec![None; ops.len()];
    for (moment, returns, at) in events {
        let Some(op) = ops.get(at) else { continue };
        let Some(place) = places.get_mut(at) else { continue };
        if !returns {
            let called = search.call(op.what, op.to == u64::MAX);
            *place = Some(called.ok_or("too many calls are open at a time")?);
        } else if let Some(place) = place.take() {
            search.returned(place, op.what);
            if search.ways.is_empty() {
                return Err(format!("no order explains {:?} until {moment}", op.what));
            }
        }
    }
    Ok(())
}

impl Search {
    /// Begins a call; returns its slot among the open ones.
    fn call(&mut self, what: What, endless: bool) -> Option<usize> {
        if self.open.iter().flatten().count() >= OPEN_MANY {
            self.forget();
        }
        let free = self.open.iter().position(Option::is_none);
        let place = free.unwrap_or(self.open.len());
        if place >= OPEN_MAX {
            return None;
        }
        match self.open.get_mut(place) {
            Some(open) => *open = Some(what),
            None => self.open.push(Some(what)),
        }
        self.endless = self.endless & !(1 << place) | u64::from(endless) << place;
        if what.changes_nothing() {
            for way in &mut self.ways {
                way.done |= u64::from(way.lease.after(what).is_some()) << place;
            }
        }
        Some(place)
    }

    /// Ends a call: only histories remain in which it had its moment.
    fn returned(&mut self, place: usize, what: What) {
        // An end may have been removed and its slot reused.
        if self.open.get(place) != Some(&Some(what)) {
            return;
        }
        let mut remain = HashSet::new();
        let mut seen = HashSet::new();
        for way in std::mem::take(&mut self.ways) {
            match what {
                // The end need not have happened, but after this moment the stay is over.
                What::End(token) if way.lease.holder == token => {
                    let lease = Lease { holder: 0, ..way.lease };
                    remain.insert(self.read(Way { lease, ..way }));
                }
                What::End(_) => {
                    remain.insert(way);
                }
                _ => self.explore(way, place, &mut seen, &mut remain),
            }
        }
        if let Some(open) = self.open.get_mut(place) {
            *open = None;
        }
        let without = |way: Way| Way { done: way.done & !(1 << place), ..way };
        let remain: HashSet<Way> = remain.into_iter().map(without).collect();
        self.ways.extend(remain);
    }

    /// Lists all continuations of this history, up to the moment of the call at `place`.
    fn explore(&self, way: Way, place: usize, seen: &mut HashSet<Way>, remain: &mut HashSet<Way>) {
        if way.done & 1 << place != 0 {
            remain.insert(way);
            return;
        }
        if !seen.insert(way) {
            return;
        }
        for (at, what) in self.open.iter().enumerate() {
            let Some(what) = what else { continue };
            if way.done & 1 << at != 0 || what.changes_nothing() {
                continue;
            }
            if let Some(lease) = way.lease.after(*what) {
                let next = self.read(Way { lease, done: way.done | 1 << at });
                self.explore(next, place, seen, remain);
            }
        }
    }

    /// Gives all answers that are true now their moment.
    fn read(&self, mut way: Way) -> Way {
        for (at, what) in self.open.iter().enumerate() {
            if let Some(what) = what
                && what.changes_nothing()
                && way.lease.after(*what).is_some()
            {
                way.done |= 1 << at;
            }
        }
        way
    }

    /// Removes the ends of stays that are over in every history, and the grants of unknown calls
    /// that no history has room for any more: no return needs them.
    fn forget(&mut self) {
        for at in 0..self.open.len() {
            let may = |way: &Way| match self.open.get(at).copied().flatten() {
                Some(What::End(token)) => way.lease.holder == token || way.lease.highest < token,
                Some(What::Grant(token)) if self.endless & 1 << at != 0 => {
                    way.lease.highest < token
                }
                _ => true,
            };
            if !self.ways.iter().any(may) {
                if let Some(open) = self.open.get_mut(at) {
                    *open = None;
                }
                for way in &mut self.ways {
                    way.done &= !(1 << at);
                }
            }
        }
        let ways: HashSet<Way> = self.ways.drain(..).collect();
        self.ways.extend(ways);
    }
}

#[cfg(test)]
mod tests {
    use super::What::{End, Grant, Held, Lost, Released, Renewed};
    use super::*;

    fn found(ops: &[(What, u64, u64)]) -> bool {
        let op = |(what, from, to): &(What, u64, u64)| Op { what: *what, from: *from, to: *to };
        search(&ops.iter().map(op).collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn an_order_is_found_where_there_is_one() {
        const OPEN: u64 = u64::MAX;
        for (what, ops) in [
            ("nothing", vec![]),
            ("in turn", vec![(Grant(1), 1, 2), (Released(1), 3, 4), (Grant(2), 1, 5)]),
            (
                "the release returns after the next grant",
                vec![(Grant(1), 1, 2), (Released(1), 3, 9), (Grant(2), 1, 5), (Renewed(2), 6, 7)],
            ),
            ("touching", vec![(Grant(1), 1, 2), (Released(1), 2, 3), (Grant(2), 3, 4)]),
            ("killed", vec![(Grant(1), 1, 2), (End(1), 3, OPEN), (Grant(2), 1, 5)]),
            (
                "late, renewed, replaced, told",
                vec![
                    (Grant(1), 1, 2),
                    (Renewed(1), 20, 21),
                    (End(1), 20, OPEN),
                    (Grant(2), 3, 25),
                    (Lost(1), 26, 27),
                ],
            ),
            ("released twice", vec![(Grant(1), 1, 2), (Released(1), 3, 4), (Released(1), 5, 6)]),
            (
                "refused at the last moment",
                vec![(Grant(1), 1, 2), (Held, 3, 6), (Released(1), 4, 5)],
            ),
            ("refused at the first", vec![(Held, 1, 9), (Grant(1), 8, 10)]),
            (
                "refused beside a dying holder",
                vec![(Grant(1), 1, 2), (End(1), 3, 8), (Held, 5, 6), (Grant(2), 7, 9)],
            ),
            (
                "a crowd at one time",
                vec![
                    (Grant(3), 1, 30),
                    (Grant(1), 1, 30),
                    (Grant(2), 1, 30),
                    (Released(2), 12, 30),
                    (Released(1), 12, 30),
                    (Held, 2, 30),
                ],
            ),
        ] {
            assert!(found(&ops), "{what}");
        }
    }

    #[test]
    fn none_is_found_where_there_is_none() {
        const OPEN: u64 = u64::MAX;
        for (what, ops) in [
            ("two at a time", vec![(Grant(1), 1, 2), (Grant(2), 1, 3)]),
            ("before the end", vec![(Grant(1), 1, 2), (End(1), 9, OPEN), (Grant(2), 3, 5)]),
            ("before the release", vec![(Grant(1), 1, 2), (Grant(2), 3, 4), (Released(1), 5, 6)]),
            ("a token again", vec![(Grant(1), 1, 2), (Released(1), 3, 4), (Grant(1), 5, 6)]),
            (
                "a token that goes back",
                vec![(Grant(2), 1, 2), (Released(2), 3, 4), (Grant(1), 5, 6)],
            ),
            (
                "a stale renewal",
                vec![(Grant(1), 1, 2), (End(1), 3, OPEN), (Grant(2), 4, 5), (Renewed(1), 6, 7)],
            ),
            (
                "a stale release",
                vec![(Grant(1), 1, 2), (End(1), 3, OPEN), (Grant(2), 4, 5), (Released(1), 6, 7)],
            ),
            ("lost by its holder", vec![(Grant(1), 1, 2), (Lost(1), 3, 4), (Released(1), 5, 6)]),
            ("refused though free", vec![(Grant(1), 1, 2), (Released(1), 3, 4), (Held, 5, 6)]),
            ("refused by the dead", vec![(Grant(1), 1, 2), (End(1), 3, 4), (Held, 5, 6)]),
            ("refused at first", vec![(Held, 1, 2), (Grant(1), 3, 4)]),
            (
                "renewed after its release",
                vec![(Grant(1), 1, 2), (Released(1), 3, 4), (Renewed(1), 5, 6)],
            ),
        ] {
            assert!(!found(&ops), "{what}");
        }
    }
}

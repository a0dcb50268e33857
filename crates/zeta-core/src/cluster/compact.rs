//! What an administrator may remove from the store: words of records that are gone, ends of leases,
//! and what is left of nodes that are silent.
//!
//! The end of a lease stays in the store because the next token must be greater. Before it is
//! removed, its token becomes the floor of all later ones. The values of one lease are removed from
//! the oldest on, so that no older one is ever the last.

use std::collections::{BTreeMap, BTreeSet};

use super::card::BEAT_MS;
use super::epoch::Meta;
use super::subject::{Item, Stream, Subject};
use crate::name::{Label, RecordName};

/// A node that was silent for so long is taken for one that does not run.
pub const SILENT_MS: u64 = 4 * BEAT_MS;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A record that is there.
    Record,
    /// The word that a record is gone.
    Gone,
    /// The end of a lease of the cluster, signed by its node.
    End,
    /// A grant of a lease of the cluster, or a value that is not to be believed.
    Grant,
}

/// A value in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its subject.
    pub subject: Subject,
    /// Its number in the stream.
    pub sequence: u64,
    /// How old it is by the clock of the server, in ms.
    pub age_ms: u64,
    /// What it is.
    pub what: What,
    /// The fencing token in it, or 0.
    pub token: u64,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is younger stays, in ms.
    pub older_ms: u64,
    /// Nodes that are gone for good.
    pub forget: Vec<Label>,
}

/// Why nothing is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A holder may still act on what its lease was before the values that would be removed.
    TooYoung {
        /// The shortest time, in ms.
        least_ms: u64,
    },
    /// The store has nothing of a node that is to be forgotten.
    NotThere(Label),
    /// A node that is to be forgotten has written lately.
    NotSilent {
        /// Which one.
        node: Label,
        /// When, in ms.
        age_ms: u64,
    },
}

/// What is to be removed, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The values: those of one lease from the oldest on.
    pub values: Vec<Value>,
    /// The highest token in them.
    pub floor: u64,
}

impl Plan {
    /// The record of the cluster that must stand before the first removal; `None` if it is as it
    /// is.
    pub fn meta(&self, before: &Meta) -> Option<Meta> {
        let mut meta = before.clone();
        meta.floor = meta.floor.max(self.floor);
        for stream in [Stream::State, Stream::Lease] {
            let of = self.values.iter().filter(|value| value.subject.stream() == stream);
            let last = of.map(|value| value.sequence).max().unwrap_or(0);
            meta.raise_removed(stream, last);
        }
        (meta != *before).then_some(meta)
    }
}

/// Decides what is removed. `last` are the last numbers of the streams: the value with that number
/// stays, because a stream must remember how far it was.
pub fn decide_compact(
    values: &[Value],
    last: &BTreeMap<Stream, u64>,
    max_ttl_ms: u64,
    asked: &Asked,
) -> Result<Plan, Refusal> {
    if asked.older_ms < max_ttl_ms {
        return Err(Refusal::TooYoung { least_ms: max_ttl_ms });
    }
    let silent = silence(values);
    for node in &asked.forget {
        match silent.get(node) {
            None => return Err(Refusal::NotThere(node.clone())),
            Some(age_ms) if *age_ms < SILENT_MS.min(asked.older_ms) => {
                return Err(Refusal::NotSilent { node: node.clone(), age_ms: *age_ms });
            }
            Some(_) => {}
        }
    }
    let may_go = |value: &&Value| last.get(&value.subject.stream()) != Some(&value.sequence);
    let state = values.iter().filter(may_go).filter(|value| is_needless(value, &silent, asked));
    let mut chosen: Vec<Value> = state.cloned().collect();
    chosen.extend(ended(values, last, asked.older_ms));
    chosen.sort_by_key(|value| (value.subject.stream(), value.sequence));
    let floor = chosen.iter().map(|value| value.token).max().unwrap_or(0);
    Ok(Plan { values: chosen, floor })
}

/// For how long each node has written nothing, in ms.
fn silence(values: &[Value]) -> BTreeMap<Label, u64> {
    let mut silent: BTreeMap<Label, u64> = BTreeMap::new();
    for value in values {
        if let Some(node) = value.subject.node() {
            let age_ms = silent.entry(node.clone()).or_insert(value.age_ms);
            *age_ms = value.age_ms.min(*age_ms);
        }
    }
    silent
}

/// Returns whether a record of a node goes. The card of a node stays unless the node is named: it
/// holds the name.
fn is_needless(value: &Value, silent: &BTreeMap<Label, u64>, asked: &Asked) -> bool {
    let Subject::State { node, item } = &value.subject else { return false };
    let is_silent = silent.get(node).is_some_and(|age_ms| *age_ms >= asked.older_ms);
    let is_old = value.what == What::Gone && value.age_ms >= asked.older_ms;
    asked.forget.contains(node) || *item != Item::Card && (is_silent || is_old)
}

/// The values of leases that nobody needs: those below the last one, and the last one if it is an
/// end, and no other value of the lease stays.
fn ended(values: &[Value], last: &BTreeMap<Stream, u64>, older_ms: u64) -> Vec<Value> {
    let mut leases: BTreeMap<&RecordName, Vec<&Value>> = BTreeMap::new();
    for value in values {
        if let Subject::Lease { name, .. } = &value.subject {
            leases.entry(name).or_default().push(value);
        }
    }
    let may_go = |value: &Value| {
        last.get(&Stream::Lease) != Some(&value.sequence) && value.age_ms >= older_ms
    };
    let mut chosen = Vec::new();
    for mut of_lease in leases.into_values() {
        of_lease.sort_by_key(|value| value.sequence);
        let Some((newest, below)) = of_lease.split_last() else { continue };
        let go: BTreeSet<u64> =
            below.iter().filter(|value| may_go(value)).map(|value| value.sequence).collect();
        let all_below = go.len() == below.len();
        chosen.extend(below.iter().filter(|value| go.contains(&value.sequence)).copied().cloned());
        if all_below && newest.what == What::End && may_go(newest) {
            chosen.push((*newest).clone());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    fn value(subject: &str, sequence: u64, days: u64, what: What) -> Value {
        let subject = Subject::parse(subject).unwrap();
        let token = if subject.stream() == Stream::Lease { 1000 + sequence } else { 0 };
        Value { subject, sequence, age_ms: days * DAY, what, token }
    }

    fn asked(forget: &[&str]) -> Asked {
        let forget = forget.iter().map(|node| node.parse().unwrap()).collect();
        Asked { older_ms: 7 * DAY, forget }
    }

    fn plan(values: &[Value], last: &[(Stream, u64)], asked: &Asked) -> Result<Plan, Refusal> {
        decide_compact(values, &last.iter().copied().collect(), DAY, asked)
    }

    fn numbers(values: &[Value], last: &[(Stream, u64)], forget: &[&str]) -> Vec<u64> {
        let plan = plan(values, last, &asked(forget)).unwrap();
        plan.values.iter().map(|value| value.sequence).collect()
    }

    #[test]
    fn only_what_is_gone_and_old_goes_and_never_the_last_of_a_stream() {
        let values = [
            value("zeta1.state.a.lock.x", 1, 9, What::Gone),
            value("zeta1.state.a.lock.y", 2, 6, What::Gone),
            value("zeta1.state.a.marker.m", 3, 9, What::Record),
            value("zeta1.state.a.lock.z", 4, 9, What::Gone),
            value("zeta1.state.a.card.self", 5, 0, What::Record),
        ];
        assert_eq!(numbers(&values, &[(Stream::State, 5)], &[]), [1, 4]);
        assert_eq!(numbers(&values, &[(Stream::State, 4)], &[]), [1]);
        // The node is silent for longer: its records go, and its card stays and holds its name.
        let silent: Vec<Value> =
            values.iter().map(|v| Value { age_ms: v.age_ms + 8 * DAY, ..v.clone() }).collect();
        assert_eq!(numbers(&silent, &[(Stream::State, 9)], &[]), [1, 2, 3, 4]);
        assert_eq!(numbers(&silent, &[(Stream::State, 9)], &["a"]), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_node_that_is_named_goes_only_if_it_is_silent() {
        let card =
            |ms| Value { age_ms: ms, ..value("zeta1.state.a.card.self", 1, 0, What::Record) };
        let plan = |ms, name| plan(&[card(ms)], &[], &asked(&[name]));
        let node: Label = "a".parse().unwrap();
        let refused = Refusal::NotSilent { node, age_ms: SILENT_MS - 1 };
        assert_eq!(plan(SILENT_MS - 1, "a"), Err(refused));
        assert_eq!(plan(SILENT_MS, "a").unwrap().values.len(), 1);
        assert_eq!(plan(SILENT_MS, "b"), Err(Refusal::NotThere("b".parse().unwrap())));
        let short = Asked { older_ms: DAY - 1, forget: Vec::new() };
        let refused = decide_compact(&[], &BTreeMap::new(), DAY, &short);
        assert_eq!(refused, Err(Refusal::TooYoung { least_ms: DAY }));
    }

    #[test]
    fn the_values_of_a_lease_go_from_the_oldest_on_and_a_grant_stays() {
        use What::{End, Grant};
        for (values, gone) in [
            (vec![("a", 3, 9, Grant), ("b", 5, 9, End)], vec![3, 5]),
            (vec![("b", 5, 9, End), ("a", 3, 9, Grant)], vec![3, 5]),
            (vec![("a", 3, 9, End), ("b", 5, 9, Grant)], vec![3]),
            (vec![("a", 3, 6, Grant), ("b", 5, 9, End)], vec![]),
            (vec![("a", 3, 9, Grant), ("b", 5, 6, End)], vec![3]),
            (vec![("a", 3, 9, End), ("b", 8, 9, End)], vec![3]),
            (vec![("a", 3, 9, Grant)], vec![]),
        ] {
            let all: Vec<Value> = values
                .iter()
                .map(|(node, at, days, what)| {
                    value(&format!("zeta1.lease.job.{node}"), *at, *days, *what)
                })
                .collect();
            assert_eq!(numbers(&all, &[(Stream::Lease, 8)], &[]), gone, "{values:?}");
        }
    }

    #[test]
    fn the_floor_is_the_highest_token_that_goes_and_the_record_says_what_may_be_gone() {
        let values = [
            value("zeta1.lease.one", 3, 9, What::End),
            value("zeta1.lease.two", 6, 9, What::End),
            value("zeta1.lease.live", 9, 9, What::Grant),
            value("zeta1.state.a.lock.x", 4, 9, What::Gone),
        ];
        let plan = plan(&values, &[(Stream::Lease, 9)], &asked(&[])).unwrap();
        assert_eq!(plan.floor, 1006);
        let before = Meta {
            cluster: "a".repeat(32).parse().unwrap(),
            epoch: 3,
            floor: 7,
            no_grant_before_us: 0,
            max_ttl_ms: DAY,
            wire_min: 1,
            wire_max: 1,
            extra: vec![("created".to_owned(), "\"x\"".to_owned())],
        };
        let meta = plan.meta(&before).unwrap();
        assert_eq!((meta.floor, meta.epoch), (1006, 3));
        let removed = [Stream::Lease, Stream::State, Stream::Bus].map(|s| meta.removed_up_to(s));
        assert_eq!(removed, [6, 4, 0]);
        assert_eq!(plan.meta(&meta), None);
        let higher = Meta { floor: 5000, ..meta.clone() };
        assert_eq!(plan.meta(&higher), None);
    }
}

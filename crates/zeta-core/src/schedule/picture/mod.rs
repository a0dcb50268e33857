//! Who stood at which post, and who will: what is drawn, and in [`svg`] the drawing.
//!
//! What was comes from the changes that the file of the assignments remembers; what will be is what
//! the policy does from now on, if no line fails.

pub mod svg;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::assign::{Change, Why, tick};
use super::policy::Policy;
use super::state::{Past, Post, State};
use crate::name::Label;

/// Most turns that are drawn of the time to come.
const TURNS_MAX: u64 = 64;

/// A time at a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The post.
    pub post: u32,
    /// Who stood there, and with what.
    pub who: Post,
    /// When it began, in µs since 1970 (UTC).
    pub from_us: i64,
    /// When it ended.
    pub to_us: i64,
    /// Why it began.
    pub why: Why,
    /// It is what the policy would do.
    pub is_planned: bool,
}

/// A time in which a line was down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The line.
    pub line: Label,
    /// When it went down, in µs since 1970 (UTC).
    pub from_us: i64,
    /// When it came back; now, if it did not.
    pub to_us: i64,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The number of posts.
    pub posts: u32,
    /// Who stood where, and who will.
    pub spans: Vec<Span>,
    /// The lines that were down.
    pub outages: Vec<Outage>,
    /// Now, in µs since 1970 (UTC).
    pub now_us: i64,
    /// The end of what is drawn.
    pub to_us: i64,
}

impl Picture {
    /// The picture of what is remembered, and of so much time to come. `state` is what the next
    /// tick would decide.
    pub fn new(
        policy: &Policy,
        state: &State,
        past: &[Past],
        now_us: i64,
        ahead_ms: u64,
    ) -> Picture {
        let mut spans = remembered(state, past, now_us);
        spans.extend(planned(policy, state, now_us, ahead_ms));
        spans.retain(|span| span.from_us < span.to_us);
        let (posts, to_us) = (policy.posts, later(now_us, ahead_ms));
        Picture { posts, spans, outages: outages(past, now_us), now_us, to_us }
    }

    /// The begin of what is drawn.
    pub fn from_us(&self) -> i64 {
        let spans = self.spans.iter().map(|span| span.from_us);
        let outages = self.outages.iter().map(|outage| outage.from_us);
        spans.chain(outages).min().unwrap_or(self.now_us)
    }
}

/// A time so much later, by the wall clock.
fn later(us: i64, ms: u64) -> i64 {
    us.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// Who stood where, until now.
fn remembered(state: &State, past: &[Past], now_us: i64) -> Vec<Span> {
    let mut open: BTreeMap<u32, Span> = BTreeMap::new();
    let mut done = Vec::new();
    for Past { at_us, change, .. } in past {
        take(change, *at_us, false, &mut open, &mut done);
    }
    // What stands without a change that is remembered began before all that is.
    let first_us = past.first().map_or(now_us, |past| past.at_us);
    let known: BTreeSet<u32> = past.iter().filter_map(|past| post_of(&past.change)).collect();
    let before = state.posts.iter().filter(|(post, _)| !known.contains(post));
    let span = |(post, who): (&u32, &Post)| Span {
        post: *post,
        who: who.clone(),
        from_us: first_us,
        to_us: now_us,
        why: Why::Free,
        is_planned: false,
    };
    done.extend(before.map(span));
    open.values_mut().for_each(|span| span.to_us = now_us);
    done.extend(open.into_values());
    done
}

/// When lines were down.
fn outages(past: &[Past], now_us: i64) -> Vec<Outage> {
    let mut open: BTreeMap<&Label, i64> = BTreeMap::new();
    let mut done = Vec::new();
    let outage = |line: &Label, from_us, to_us| Outage { line: line.clone(), from_us, to_us };
    for Past { at_us, change, .. } in past {
        match change {
            // A trial that failed makes an outage longer.
            Change::Down { line, .. } => {
                open.entry(line).or_insert(*at_us);
            }
            Change::Up { line } => {
                done.extend(open.remove(line).map(|from_us| outage(line, from_us, *at_us)));
            }
            _ => {}
        }
    }
    done.extend(open.into_iter().map(|(line, from_us)| outage(line, from_us, now_us)));
    done
}

fn post_of(change: &Change) -> Option<u32> {
    match change {
        Change::Left { post, .. } | Change::Came { post, .. } | Change::Switched { post, .. } => {
            Some(*post)
        }
        Change::Down { .. } | Change::Up { .. } => None,
    }
}

/// Begins and ends spans by a change.
fn take(
    change: &Change,
    at_us: i64,
    is_planned: bool,
    open: &mut BTreeMap<u32, Span>,
    done: &mut Vec<Span>,
) {
    let (post, next) = match change {
        Change::Left { post, .. } => (*post, None),
        Change::Came { post, now, why } | Change::Switched { post, now, why } => {
            (*post, Some((now, why)))
        }
        Change::Down { .. } | Change::Up { .. } => return,
    };
    if let Some(mut before) = open.remove(&post) {
        before.to_us = at_us;
        done.push(before);
    }
    if let Some((who, why)) = next {
        let (who, why) = (who.clone(), why.clone());
        open.insert(post, Span { post, who, from_us: at_us, to_us: at_us, why, is_planned });
    }
}

/// What the policy would do.
fn planned(policy: &Policy, state: &State, now_us: i64, ahead_ms: u64) -> Vec<Span> {
    let (mut state, mut at_ms) = (state.clone(), 0_u64);
    let at = |ms: u64| later(now_us, ms);
    let span = |(post, who): (&u32, &Post)| Span {
        post: *post,
        who: who.clone(),
        from_us: now_us,
        to_us: now_us,
        why: Why::Free,
        is_planned: true,
    };
    let mut open: BTreeMap<u32, Span> =
        state.posts.iter().map(|entry| (*entry.0, span(entry))).collect();
    let mut done = Vec::new();
    for _ in 0..TURNS_MAX {
        let next_ms = super::assign::next_ms(policy, &state).unwrap_or(u64::MAX);
        if next_ms == 0 || at_ms.saturating_add(next_ms) > ahead_ms {
            break;
        }
        at_ms += next_ms;
        let ticked = tick(policy, &state, &[], next_ms);
        ticked.changes.iter().for_each(|one| take(one, at(at_ms), true, &mut open, &mut done));
        state = ticked.state;
    }
    open.values_mut().for_each(|span| span.to_us = at(ahead_ms));
    done.extend(open.into_values());
    done
}

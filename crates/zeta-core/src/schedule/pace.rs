//! When a post begins its next tick.
//!
//! All moments are those of the boot clock: a wall clock that jumps moves none of them.

use super::state::Post;

/// The shortest time until a lease that another process holds is asked for again, in ms.
const BUSY_MS: u64 = 1_000;

/// How often a post works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The time from the beginning of one tick to the next, in ms.
    pub every_ms: u64,
    /// The most that is added by chance, in ms.
    pub jitter_ms: u64,
    /// The longest time between ticks that fail, in ms.
    pub back_off_max_ms: u64,
}

/// What a post knows of its last tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Who worked, and with what.
    pub post: Post,
    /// When the tick began, in ms.
    pub began_ms: u64,
    /// When it ended, in ms.
    pub ended_ms: u64,
    /// How many ticks of these failed in a row, this one included.
    pub failures: u32,
    /// How often in a row another process held the lease of the persona.
    pub busy: u32,
}

/// What a post knows when it decides.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Who stands there; `None` for nobody.
    pub post: Option<&'a Post>,
    /// The last tick; `None` before the first one.
    pub last: Option<&'a Last>,
    /// When the supervisor of the post began, in ms.
    pub started_ms: u64,
    /// When the scheduler was asked last, in ms.
    pub asked_ms: Option<u64>,
    /// A number that was drawn by chance since the last tick.
    pub draw: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A tick, at this moment or later, in ms.
    Tick(u64),
    /// Nobody stands there: the scheduler is asked, at this moment or later, in ms.
    Ask(u64),
}

impl Next {
    /// The moment, in ms.
    pub fn at_ms(self) -> u64 {
        match self {
            Next::Tick(at_ms) | Next::Ask(at_ms) => at_ms,
        }
    }
}

/// Decides what comes next at a post.
///
/// A persona that just came to the post, or that works with something else now, begins at once:
/// that is a failover or a rotation. Only the first tick of a supervisor waits for a time by
/// chance, so that posts that were started together do not work in step.
pub fn decide_next(pace: &Pace, seen: &Seen<'_>) -> Next {
    let jitter_ms = seen.draw.checked_rem(pace.jitter_ms.saturating_add(1)).unwrap_or(0);
    let Some(post) = seen.post else {
        let since_ms = seen.asked_ms.map(|asked_ms| asked_ms.saturating_add(pace.every_ms));
        return Next::Ask(since_ms.unwrap_or(0));
    };
    Next::Tick(match seen.last {
        None => seen.started_ms.saturating_add(jitter_ms),
        Some(last) if last.post != *post => 0,
        Some(last) if last.busy > 0 => {
            last.ended_ms.saturating_add(doubled(BUSY_MS, last.busy).min(pace.every_ms))
        }
        Some(last) if last.failures > 0 => {
            let most_ms = pace.back_off_max_ms.max(pace.every_ms);
            let pause_ms = doubled(pace.every_ms, last.failures).min(most_ms);
            last.ended_ms.saturating_add(pause_ms).saturating_add(jitter_ms)
        }
        Some(last) => {
            let due_ms = last.began_ms.saturating_add(pace.every_ms).saturating_add(jitter_ms);
            due_ms.max(last.ended_ms)
        }
    })
}

/// A time that doubles with each time in a row after the first.
fn doubled(first_ms: u64, times: u32) -> u64 {
    let factor = 1u64.checked_shl(times.saturating_sub(1)).unwrap_or(u64::MAX);
    first_ms.saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Choice, Tier};

    const PACE: Pace = Pace { every_ms: 60_000, jitter_ms: 9, back_off_max_ms: 240_000 };

    fn post(persona: &str, line: &str) -> Post {
        let label = |text: &str| text.parse().unwrap();
        let choice = Choice { line: label(line), tier: Tier::High, harness: label("cli") };
        Post { persona: label(persona), choice }
    }

    #[test]
    fn the_next_tick_comes_as_the_last_one_ended() {
        let otto = post("otto", "a");
        let last = |failures, busy| {
            let (began_ms, ended_ms) = (100_000, 130_000);
            Some(Last { post: otto.clone(), began_ms, ended_ms, failures, busy })
        };
        for (now, last, at_ms) in [
            (post("otto", "a"), None, 1_004),
            (post("otto", "a"), last(0, 0), 160_004),
            (post("otto", "a"), last(1, 0), 190_004),
            (post("otto", "a"), last(2, 0), 250_004),
            (post("otto", "a"), last(3, 0), 370_004),
            (post("otto", "a"), last(60, 0), 370_004),
            (post("otto", "a"), last(u32::MAX, 0), 370_004),
            (post("otto", "a"), last(0, 1), 131_000),
            (post("otto", "a"), last(0, 4), 138_000),
            (post("otto", "a"), last(0, 99), 190_000),
            (post("otto", "b"), last(9, 0), 0),
            (post("vera", "a"), last(9, 9), 0),
        ] {
            let (post, last) = (Some(&now), last.as_ref());
            let seen = Seen { post, last, started_ms: 1_000, asked_ms: None, draw: 14 };
            assert_eq!(decide_next(&PACE, &seen), Next::Tick(at_ms), "{seen:?}");
        }
    }

    #[test]
    fn a_tick_that_took_longer_than_the_pace_is_followed_at_once_and_not_before_its_end() {
        let otto = post("otto", "a");
        let last =
            Last { post: otto.clone(), began_ms: 0, ended_ms: 500_000, failures: 0, busy: 0 };
        let (post, last) = (Some(&otto), Some(&last));
        let seen = Seen { post, last, started_ms: 0, asked_ms: None, draw: u64::MAX };
        assert_eq!(decide_next(&PACE, &seen), Next::Tick(500_000));
    }

    #[test]
    fn a_post_without_a_persona_asks_the_scheduler_once_in_a_while() {
        let seen = Seen { post: None, last: None, started_ms: 7, asked_ms: None, draw: 0 };
        assert_eq!(decide_next(&PACE, &seen), Next::Ask(0));
        let seen = Seen { asked_ms: Some(5_000), ..seen };
        assert_eq!(decide_next(&PACE, &seen), Next::Ask(65_000));
    }

    #[test]
    fn no_time_is_too_long_for_it() {
        let otto = post("otto", "a");
        let most = u64::MAX;
        let last = Last {
            post: otto.clone(),
            began_ms: most,
            ended_ms: most,
            failures: u32::MAX,
            busy: 0,
        };
        let pace = Pace { every_ms: most, jitter_ms: most, back_off_max_ms: most };
        let (post, last) = (Some(&otto), Some(&last));
        let seen = Seen { post, last, started_ms: most, asked_ms: Some(most), draw: most };
        assert_eq!(decide_next(&pace, &seen), Next::Tick(most));
        assert_eq!(decide_next(&pace, &Seen { post: None, ..seen }), Next::Ask(most));
    }
}

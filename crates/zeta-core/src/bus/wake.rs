//! What wakes an agent that has mail, and when it may.

use crate::hook::turn::Turn;
use crate::time::NS_PER_MS;

/// How long the hooks of a running turn have time to give a message to the agent, in ms.
const TURN_MS: u64 = 30_000;
/// How much later than the hook after it a background command may begin, in ns: the tool starts
/// both at once.
const START_NS: u64 = 300 * NS_PER_MS;

/// By what an agent is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A `zeta bus wait` that the agent's tool runs in the background: its end begins a turn.
    Wait,
    /// The hook at the end of a turn, which lets the turn go on.
    Hook,
    /// The terminal that `zeta run` owns: a line is typed.
    Pty,
}

impl Means {
    const ALL: [Means; 3] = [Means::Wait, Means::Hook, Means::Pty];

    /// The word on disk and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Means::Wait => "wait",
            Means::Hook => "hook",
            Means::Pty => "pty",
        }
    }

    /// The means of this word.
    pub fn of(word: &str) -> Option<Means> {
        Means::ALL.into_iter().find(|means| means.word() == word)
    }
}

/// When a message was used to wake its reader, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Woken {
    /// In µs since the Unix epoch.
    pub at_us: i64,
    /// By what.
    pub by: Means,
}

/// What a process that waits for the mail of an agent knows about its turn.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// The turn, by the record of an agent that lives.
    pub turn: Option<Turn>,
    /// When a hook wrote the record last, by the boot clock.
    pub hooked_ns: Option<u64>,
    /// When the wait began, by the boot clock.
    pub began_ns: u64,
    /// How long there has been mail, in ms.
    pub pending_ms: u64,
}

/// Decides how long a waiting process leaves the mail to the hooks of the agent, in ms; `None` if
/// it wakes the agent now. A hook that was called since the wait began shows that the agent's tool
/// does not sit in the wait.
pub fn decide_wait(seen: &Waits) -> Option<u64> {
    let beside = seen.hooked_ns.is_some_and(|ns| ns.saturating_add(START_NS) > seen.began_ns);
    let left_ms = TURN_MS.saturating_sub(seen.pending_ms);
    (seen.turn == Some(Turn::Running) && beside && left_ms > 0).then_some(left_ms)
}

/// Judges what tells an agent of a message at once. In a turn the hooks come first, then a process
/// that waits (`armed` is its number), then the terminal: while it wakes the agent, its owner is
/// the process that waits.
pub fn judge_means(
    turn: Option<Turn>,
    armed: Option<u32>,
    has_terminal: bool,
    owner: Option<u32>,
) -> Option<Means> {
    match (turn, armed) {
        (Some(Turn::Running), _) => Some(Means::Hook),
        (_, Some(pid)) if !has_terminal || Some(pid) != owner => Some(Means::Wait),
        _ => has_terminal.then_some(Means::Pty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_leaves_mail_to_the_hooks_of_a_turn_that_runs_beside_it() {
        const S: u64 = 1_000 * NS_PER_MS;
        let beside = Waits {
            turn: Some(Turn::Running),
            hooked_ns: Some(100 * S),
            began_ns: 100 * S + 200 * NS_PER_MS,
            pending_ms: 0,
        };
        for (seen, left_ms) in [
            (beside, Some(30_000)),
            (Waits { pending_ms: 29_999, ..beside }, Some(1)),
            (Waits { pending_ms: 30_000, ..beside }, None),
            (Waits { hooked_ns: Some(200 * S), ..beside }, Some(30_000)),
            // The agent's own tool waits for its end.
            (Waits { began_ns: 101 * S, ..beside }, None),
            (Waits { hooked_ns: None, ..beside }, None),
            (Waits { turn: Some(Turn::Over), ..beside }, None),
            (Waits { turn: None, ..beside }, None),
        ] {
            assert_eq!(decide_wait(&seen), left_ms, "{seen:?}");
        }
    }

    #[test]
    fn hooks_come_before_a_wait_and_a_wait_before_a_terminal() {
        let (running, over) = (Some(Turn::Running), Some(Turn::Over));
        for (turn, armed, has_terminal, owner, means) in [
            (running, Some(7), true, Some(8), Some(Means::Hook)),
            (running, None, false, None, Some(Means::Hook)),
            (over, Some(7), false, None, Some(Means::Wait)),
            (over, Some(7), true, Some(8), Some(Means::Wait)),
            (over, Some(7), true, Some(7), Some(Means::Pty)),
            (over, None, true, Some(7), Some(Means::Pty)),
            (over, None, true, None, Some(Means::Pty)),
            (over, None, false, None, None),
            (None, Some(7), false, None, Some(Means::Wait)),
            (None, None, false, None, None),
        ] {
            let judged = judge_means(turn, armed, has_terminal, owner);
            assert_eq!(judged, means, "{turn:?} {armed:?} {has_terminal} {owner:?}");
        }
    }
}

//! When a line may be typed for an agent that has mail, and what the line says.
//!
//! What is typed into a menu or a question of the tool chooses or agrees to something. So it is
//! typed only if a hook of the tool said that the turn is over, this very tool has the terminal,
//! the screen is quiet, and no person is in the middle of a line. Two agents that answer each other
//! do so without end: without a person at the keys, an agent is woken less often in time.

use std::fmt::Write as _;

use crate::hook::turn::Turn;

/// How long the screen must have been quiet, in ms.
pub const QUIET_SCREEN_MS: u64 = 500;
/// How long no key of the person may have come, in ms.
pub const QUIET_KEYS_MS: u64 = 5_000;
/// The time between the line and its Enter, in ms: a tool takes keys that come together for a
/// paste, and an Enter among them for a new line of it.
pub const ENTER_AFTER_MS: u64 = 300;
/// How long the prompt has to take the line, in ms. The hook that says so ends within two seconds.
pub const TAKEN_WITHIN_MS: u64 = 4_000;
/// How often Enter is typed.
pub const ENTERS_MAX: u32 = 3;
/// How often it is looked whether the tool is in front again, in ms: not every tool draws then.
pub const ABSENT_MS: u64 = 2_000;
/// So many wakes in a row come at once.
pub const WAKES_AT_ONCE: u32 = 10;
/// The pause before the first wake after these, in ms; it doubles with each.
const PAUSE_MS: u64 = 60_000;
/// The longest pause before a wake, and the time without mail that ends a row of wakes, in ms.
pub const PAUSE_MAX_MS: u64 = 600_000;
/// Longest name of a sender in the line.
const NAME_MAX: usize = 40;

/// What is known about the agent and its terminal.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// There is mail that the agent was not woken for.
    pub has_mail: bool,
    /// The turn, by the record of the session.
    pub turn: Option<Turn>,
    /// The process whose hook said so lives, and is in front of the terminal.
    pub tool_is_there: bool,
    /// How many turns prompts began.
    pub turns: u64,
    /// Nothing that a person typed stands in the line.
    pub line_is_empty: bool,
    /// Time since the last key of a person.
    pub since_key_ms: u64,
    /// Time since the screen changed.
    pub since_output_ms: u64,
    /// How often the agent was woken in this row.
    pub wakes: u32,
    /// Time since it was woken.
    pub since_wake_ms: u64,
}

impl Seen {
    /// Whether a line may be typed, as far as no time says otherwise, and but for the place of the
    /// tool.
    pub fn waits(&self) -> bool {
        self.has_mail && self.turn == Some(Turn::Over) && self.line_is_empty
    }
}

/// A line that was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The number of turns before it.
    pub turns: u64,
    /// How often Enter was typed.
    pub enters: u32,
    /// Time since the line or the last Enter.
    pub since_ms: u64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something happens.
    Nothing,
    /// Nothing for so many ms.
    Later(u64),
    /// Type the line.
    Type,
    /// Type Enter.
    Enter,
    /// The prompt took the line.
    Woken,
    /// The prompt did not take it.
    GiveUp,
}

/// Decides the next step of a wake.
pub fn decide_wake(attempt: Option<&Attempt>, seen: &Seen) -> Step {
    let Some(attempt) = attempt else {
        let left = QUIET_KEYS_MS
            .saturating_sub(seen.since_key_ms)
            .max(QUIET_SCREEN_MS.saturating_sub(seen.since_output_ms))
            .max(pause_ms(seen.wakes).saturating_sub(seen.since_wake_ms));
        return match (seen.waits(), left) {
            (false, _) => Step::Nothing,
            (true, left) if !seen.tool_is_there => Step::Later(left.max(ABSENT_MS)),
            (true, 0) => Step::Type,
            (true, left) => Step::Later(left),
        };
    };
    if seen.turns > attempt.turns {
        return Step::Woken;
    }
    // A turn that began otherwise may ask its person something, and another program anything.
    if seen.turn != Some(Turn::Over) || !seen.tool_is_there {
        return Step::GiveUp;
    }
    let limit = if attempt.enters == 0 { ENTER_AFTER_MS } else { TAKEN_WITHIN_MS };
    match limit.saturating_sub(attempt.since_ms) {
        0 if attempt.enters >= ENTERS_MAX => Step::GiveUp,
        0 if attempt.enters > 0 && !seen.line_is_empty => Step::GiveUp,
        0 => Step::Enter,
        left => Step::Later(left),
    }
}

/// How long an agent that was woken so often in a row is left alone, in ms.
fn pause_ms(wakes: u32) -> u64 {
    match wakes.checked_sub(WAKES_AT_ONCE) {
        None => 0,
        Some(more) => PAUSE_MS.saturating_mul(1 << more.min(10)).min(PAUSE_MAX_MS),
    }
}

/// Judges how many wakes are in a row: a key of a person ends it, and mail that comes after a long
/// time without any begins another one.
pub fn judge_row(wakes: u32, key_since: bool, mail_is_new: bool, since_wake_ms: u64) -> u32 {
    let is_over = key_since || mail_is_new && since_wake_ms >= PAUSE_MAX_MS;
    if is_over { 0 } else { wakes }
}

/// The line for an agent. Of the messages it has nothing but how many they are and the name of the
/// first sender, without what could open a list in a prompt.
pub fn line(agent: &str, senders: &[&str]) -> String {
    let first = senders.first().copied().unwrap_or_default();
    let first = first.split('@').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let known = !first.is_empty()
        && first.len() <= NAME_MAX
        && first.starts_with(|c: char| c.is_ascii_alphanumeric())
        && first.chars().all(plain);
    let first = if known { first } else { "another agent" };
    let mut text = match senders.len() {
        0 | 1 => format!("zeta: a message from {first} waits."),
        many => format!("zeta: {many} messages wait, the first from {first}."),
    };
    let _ = write!(text, " Read it with: zeta bus inbox --as {agent}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Seen = Seen {
        has_mail: true,
        turn: Some(Turn::Over),
        tool_is_there: true,
        turns: 3,
        line_is_empty: true,
        since_key_ms: 60_000,
        since_output_ms: 60_000,
        wakes: 0,
        since_wake_ms: 60_000,
    };

    #[test]
    fn a_line_is_typed_only_for_an_agent_that_waits_for_a_prompt() {
        let running = Some(Turn::Running);
        for (seen, step) in [
            (IDLE, Step::Type),
            (Seen { has_mail: false, ..IDLE }, Step::Nothing),
            (Seen { turn: running, ..IDLE }, Step::Nothing),
            (Seen { turn: None, ..IDLE }, Step::Nothing),
            (Seen { line_is_empty: false, ..IDLE }, Step::Nothing),
            (Seen { since_key_ms: 4_999, ..IDLE }, Step::Later(1)),
            (Seen { since_output_ms: 100, ..IDLE }, Step::Later(400)),
            (Seen { since_output_ms: 0, since_key_ms: 0, ..IDLE }, Step::Later(5_000)),
            (Seen { turn: running, since_key_ms: 0, ..IDLE }, Step::Nothing),
            // It was killed, or stopped, and another program has the terminal.
            (Seen { tool_is_there: false, ..IDLE }, Step::Later(2_000)),
            (Seen { wakes: 9, since_wake_ms: 0, ..IDLE }, Step::Type),
            (Seen { wakes: 10, since_wake_ms: 1_000, ..IDLE }, Step::Later(59_000)),
            (Seen { wakes: 10, ..IDLE }, Step::Type),
            (Seen { wakes: 11, ..IDLE }, Step::Later(60_000)),
            (Seen { wakes: 13, ..IDLE }, Step::Later(420_000)),
            (Seen { wakes: 14, ..IDLE }, Step::Later(540_000)),
            (Seen { wakes: u32::MAX, ..IDLE }, Step::Later(540_000)),
        ] {
            assert_eq!(decide_wake(None, &seen), step, "{seen:?}");
        }
    }

    #[test]
    fn a_row_of_wakes_ends_with_a_key_or_a_long_silence() {
        for (key_since, mail_is_new, since_wake_ms, wakes) in [
            (false, false, u64::MAX, 12),
            (false, true, 599_999, 12),
            (false, true, 600_000, 0),
            (true, false, 0, 0),
        ] {
            assert_eq!(judge_row(12, key_since, mail_is_new, since_wake_ms), wakes);
        }
    }

    #[test]
    fn a_line_gets_its_enter_and_is_given_up_in_the_end() {
        let at = |enters, since_ms| Attempt { turns: 3, enters, since_ms };
        let typing = Seen { line_is_empty: false, ..IDLE };
        let asking = Seen { turn: Some(Turn::Running), ..IDLE };
        for (attempt, seen, step) in [
            (at(0, 0), IDLE, Step::Later(300)),
            (at(0, 300), IDLE, Step::Enter),
            (at(1, 300), IDLE, Step::Later(3_700)),
            (at(1, 4_000), IDLE, Step::Enter),
            (at(2, 4_000), IDLE, Step::Enter),
            (at(3, 4_000), IDLE, Step::GiveUp),
            (at(1, 4_000), typing, Step::GiveUp),
            (at(0, 300), asking, Step::GiveUp),
            (at(1, 10), asking, Step::GiveUp),
            (at(0, 300), Seen { tool_is_there: false, ..IDLE }, Step::GiveUp),
            (at(0, 300), Seen { wakes: 20, since_wake_ms: 0, ..IDLE }, Step::Enter),
            (at(1, 10), Seen { turns: 4, ..IDLE }, Step::Woken),
            (at(0, 10), Seen { turns: 4, ..asking }, Step::Woken),
        ] {
            assert_eq!(decide_wake(Some(&attempt), &seen), step, "{attempt:?} {seen:?}");
        }
    }

    #[test]
    fn a_line_names_the_sender_and_has_no_text_of_a_peer() {
        let one = "zeta: a message from vera waits. Read it with: zeta bus inbox --as otto";
        assert_eq!(line("otto", &["vera"]), one);
        let two = "zeta: 2 messages wait, the first from vera/cli. Read it with: zeta bus inbox \
                   --as otto";
        assert_eq!(line("otto", &["vera/cli@node-1", "rex"]), two);
        let long = "a".repeat(64);
        for odd in ["", "@x", "/model", "a b", "x\r", "\u{1b}[A", "#x", "ä", long.as_str()] {
            assert!(line("otto", &[odd]).contains("from another agent waits"), "{odd:?}");
        }
    }
}

//! What the server for agent tools decides: what becomes of a grant that a call waited for, or
//! whose answer was not taken, how texts of other agents are quoted, and that a sign of life is no
//! news.

use crate::hook::cut;
use crate::record::{is_unprintable, quote};

/// Longest text of one message that a model is shown, in characters.
pub const MESSAGE_MAX: usize = 4000;

/// The keys of records that change while nothing else does: beats and renewals. Each ends with the
/// space or the letters that follow in all such keys.
const SIGNS_OF_LIFE: [&str; 5] = ["beat_", "renewed_", "updated_at:", "timestamp:", "edits:"];

/// Quotes what another agent wrote, line by line, so that a model can tell it from what this server
/// says. Nothing in it moves a cursor, and it is cut to [`MESSAGE_MAX`] characters.
pub fn quoted(text: &str) -> String {
    let cut = cut(text.trim_end(), MESSAGE_MAX);
    let line = |line: &str| {
        let plain: String =
            line.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect();
        format!("  | {plain}")
    };
    cut.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Names another agent, or what it works on, inside of a sentence.
pub fn named(text: &str) -> String {
    quote(&cut(text, 80))
}

/// Reports whether a record shows more than a sign of life, after a change of its text. `None` is a
/// record that is not there.
pub fn is_news(before: Option<&[u8]>, after: Option<&[u8]>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return before != after };
    let told = |line: &&[u8]| !SIGNS_OF_LIFE.iter().any(|key| line.starts_with(key.as_bytes()));
    let lines = |text: &'_ [u8]| -> Vec<Vec<u8>> {
        text.split(|byte| *byte == b'\n').filter(told).map(<[u8]>::to_vec).collect()
    };
    lines(before) != lines(after)
}

/// What the client knows of a grant, from answers that it took or may still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// An answer listed it among what the agent holds.
    Listed,
    /// A call that acquires it was answered that it is the caller's.
    Answered,
}

/// What is done with a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is the answer to the calls that wait for it.
    Answer,
    /// It stays as it is.
    Keep,
    /// The next answer says that it is there, and it is given back if no call asks for it.
    Announce,
    /// It is given back at once. No answer has named it.
    GiveBack,
}

/// Decides what is done with a lease that came in its turn: `callers` is how many calls wait for
/// it, and `None` if its place in the line was given up.
pub fn decide_turn(callers: Option<usize>, known: Known) -> Step {
    match (callers, known) {
        (Some(1..), _) => Step::Answer,
        (_, Known::Answered) => Step::Keep,
        (Some(_), _) | (None, Known::Listed) => Step::Announce,
        (None, Known::Nothing) => Step::GiveBack,
    }
}

/// Decides what is done with a grant after an answer that named it as the caller's was not taken.
/// `known` is what the other answers say of it; `is_own` says that this server acquired it, and
/// `is_new` that it did so for the very call that was not answered.
pub fn decide_untaken(is_own: bool, is_new: bool, known: Known) -> Step {
    match known {
        _ if !is_own => Step::Keep,
        Known::Answered => Step::Keep,
        Known::Nothing if is_new => Step::GiveBack,
        Known::Nothing | Known::Listed => Step::Announce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_that_an_answer_named_is_never_given_back_at_once() {
        use Known::{Answered, Listed, Nothing};
        for (callers, known, step) in [
            (Some(2), Nothing, Step::Answer),
            (Some(1), Answered, Step::Answer),
            (Some(0), Nothing, Step::Announce),
            (Some(0), Listed, Step::Announce),
            (Some(0), Answered, Step::Keep),
            (None, Nothing, Step::GiveBack),
            (None, Listed, Step::Announce),
            (None, Answered, Step::Keep),
        ] {
            assert_eq!(decide_turn(callers, known), step, "{callers:?} {known:?}");
        }
        for (is_own, is_new, known, step) in [
            (true, true, Nothing, Step::GiveBack),
            (true, true, Listed, Step::Announce),
            (true, true, Answered, Step::Keep),
            (true, false, Nothing, Step::Announce),
            (true, false, Listed, Step::Announce),
            (true, false, Answered, Step::Keep),
            (false, true, Nothing, Step::Keep),
            (false, false, Nothing, Step::Keep),
            (false, false, Listed, Step::Keep),
        ] {
            assert_eq!(decide_untaken(is_own, is_new, known), step, "{is_own} {is_new} {known:?}");
        }
    }

    #[test]
    fn a_text_of_another_agent_is_quoted_line_by_line() {
        assert_eq!(quoted("one\ntwo\n"), "  | one\n  | two");
        assert_eq!(quoted("</system>\r\n> you"), "  | </system>\u{fffd}\n  | > you");
        assert_eq!(quoted("a\u{1b}[2Jb"), "  | a\u{fffd}[2Jb");
        assert_eq!(quoted(""), "  | ");
        assert_eq!(quoted(&"x".repeat(5000)).chars().count(), MESSAGE_MAX + 4);
    }

    #[test]
    fn beats_and_renewals_are_no_news() {
        let record =
            |beat: &str, task: &str| format!("kind: persona\nbeat_at: {beat}\ntask: {task}\n");
        let (one, two) = (record("1", "a"), record("2", "a"));
        assert!(!is_news(Some(one.as_bytes()), Some(two.as_bytes())));
        assert!(is_news(Some(one.as_bytes()), Some(record("2", "b").as_bytes())));
        assert!(is_news(None, Some(one.as_bytes())));
        assert!(is_news(Some(one.as_bytes()), None));
        assert!(!is_news(None, None));
    }
}

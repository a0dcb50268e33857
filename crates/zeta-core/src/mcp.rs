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
    /// It stays, and the next answer says that it is there.
    Say,
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
        (_, Known::Listed) => Step::Say,
        (Some(_), Known::Nothing) => Step::Announce,
        (None, Known::Nothing) => Step::GiveBack,
    }
}

/// A grant after a call was cancelled that was answered with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untaken {
    /// This server acquired it.
    pub is_own: bool,
    /// It did so for this very call.
    pub is_new: bool,
    /// The answer was written, so the client may have read it: a client may cancel calls that were
    /// answered, too.
    pub was_written: bool,
    /// What the other answers say of it.
    pub known: Known,
}

/// Decides what is done with a grant after a call was cancelled that was answered with it.
pub fn decide_untaken(grant: Untaken) -> Step {
    match grant.known {
        _ if !grant.is_own => Step::Keep,
        Known::Answered => Step::Keep,
        Known::Listed => Step::Say,
        Known::Nothing if grant.was_written => Step::Say,
        Known::Nothing if grant.is_new => Step::GiveBack,
        Known::Nothing => Step::Announce,
    }
}

/// How a grant ended that the session held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Another process took it, broke it or cleaned it up.
    Lost,
    /// It was released.
    GivenBack,
    /// It has not ended, or that could not be read.
    NotSeen,
}

/// What the agent is told of a grant that its session does not hold any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It counts as held: the next answer looks again.
    Stands,
    /// Nothing: the agent released it itself.
    Untold,
    /// It was lost, and its work must stop.
    Lost,
    /// It was released, and not by this server.
    ReleasedElsewhere,
    /// It was that of a session that has ended.
    OfBefore,
}

/// Judges what became of a grant that is not found any more. `by_call` says that a call of this
/// server gave some back, and `same_session` that the grant was of the session that is served now.
pub fn judge_gone(ending: Ending, by_call: bool, same_session: bool) -> Gone {
    match ending {
        Ending::Lost => Gone::Lost,
        Ending::GivenBack if by_call => Gone::Untold,
        Ending::GivenBack => Gone::ReleasedElsewhere,
        Ending::NotSeen if same_session => Gone::Stands,
        Ending::NotSeen => Gone::OfBefore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_that_an_answer_named_is_never_given_back_unasked() {
        use Known::{Answered, Listed, Nothing};
        for (callers, known, step) in [
            (Some(2), Nothing, Step::Answer),
            (Some(1), Answered, Step::Answer),
            (Some(0), Nothing, Step::Announce),
            (Some(0), Listed, Step::Say),
            (Some(0), Answered, Step::Keep),
            (None, Nothing, Step::GiveBack),
            (None, Listed, Step::Say),
            (None, Answered, Step::Keep),
        ] {
            assert_eq!(decide_turn(callers, known), step, "{callers:?} {known:?}");
        }
        for (is_own, is_new, was_written, known, step) in [
            (true, true, false, Nothing, Step::GiveBack),
            (true, false, false, Nothing, Step::Announce),
            (true, true, false, Listed, Step::Say),
            (true, false, false, Listed, Step::Say),
            (true, true, true, Nothing, Step::Say),
            (true, false, true, Listed, Step::Say),
            (true, true, true, Answered, Step::Keep),
            (true, false, false, Answered, Step::Keep),
            (false, true, false, Nothing, Step::Keep),
            (false, false, true, Listed, Step::Keep),
        ] {
            let grant = Untaken { is_own, is_new, was_written, known };
            assert_eq!(decide_untaken(grant), step, "{grant:?}");
        }
    }

    #[test]
    fn a_grant_that_cannot_be_read_is_no_loss() {
        for (ending, by_call, same_session, gone) in [
            (Ending::Lost, false, true, Gone::Lost),
            (Ending::Lost, true, false, Gone::Lost),
            (Ending::GivenBack, true, true, Gone::Untold),
            (Ending::GivenBack, false, true, Gone::ReleasedElsewhere),
            (Ending::GivenBack, false, false, Gone::ReleasedElsewhere),
            (Ending::NotSeen, false, true, Gone::Stands),
            (Ending::NotSeen, true, true, Gone::Stands),
            (Ending::NotSeen, false, false, Gone::OfBefore),
        ] {
            assert_eq!(judge_gone(ending, by_call, same_session), gone, "{ending:?}");
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

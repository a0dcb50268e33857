//! What the server for agent tools says about other agents: their texts are quoted, and a sign of
//! life is no news.

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

#[cfg(test)]
mod tests {
    use super::*;

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

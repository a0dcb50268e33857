//! The note that the holder of a claim leaves for the next one: what it says, how it stands in its
//! file, and when it counts.
//!
//! The file is a record (`docs/STANDARD.md`, §4) and, behind its last line and an empty one, the
//! text as it is, so that `cat` shows it.

use crate::layout::NOTE_MAX;
use crate::lease::{Observed, Record};
use crate::record::{Fields, Text, is_unprintable, parse};

/// Most bytes of the text of a note.
pub const NOTE_TEXT_MAX: usize = 8 * 1024;

/// What ends the record and begins the text.
const HEAD_END: &str = "\nend: true\n";
/// Stands for a character that a terminal would obey.
const REPLACED: char = '\u{fffd}';

/// Why a text cannot be a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Nothing is left of it.
    #[error("it is empty")]
    Empty,
    /// Not UTF-8.
    #[error("it is not UTF-8 text: see byte {0}")]
    NotUtf8(usize),
    /// More bytes than a note may have.
    #[error("it has more than {NOTE_TEXT_MAX} bytes")]
    TooLong,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The item of work.
    pub item: String,
    /// The agent that wrote it.
    pub from: String,
    /// The agent that the claim was handed over to; `None` for whichever comes next.
    pub to: Option<String>,
    /// The token of the grant that its writer had.
    pub fencing_token: u64,
    /// When it was written, in UTC.
    pub written_at: String,
    /// The branch of the work.
    pub branch: Option<String>,
    /// The worktree of the work.
    pub worktree: Option<String>,
    /// The last commit on the branch.
    pub commit: Option<String>,
    /// What the writer says. It has no character that a terminal would obey.
    pub text: String,
}

/// Makes the text of a note from what an agent gives: line ends become LF, characters that a
/// terminal would obey become U+FFFD, and empty lines at both ends go.
pub fn text_of(bytes: &[u8]) -> Result<String, BadNote> {
    if bytes.len() > NOTE_TEXT_MAX {
        return Err(BadNote::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| BadNote::NotUtf8(error.valid_up_to()))?;
    let text = plain(text);
    match text.len() {
        0 => Err(BadNote::Empty),
        // A replacement is longer than what it stands for.
        len if len > NOTE_TEXT_MAX => Err(BadNote::TooLong),
        _ => Ok(text),
    }
}

fn plain(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let plain = |c| match c {
        '\n' | '\t' => c,
        c if is_unprintable(c) => REPLACED,
        c => c,
    };
    let text: String = text.chars().map(plain).collect();
    text.trim_end().trim_start_matches('\n').to_owned()
}

impl Note {
    /// Writes the file of the note.
    pub fn render(&self) -> String {
        let mut fields = Fields::new("note");
        fields.push_text("item", &self.item);
        fields.push_text("from", &self.from);
        let optional = [
            ("to", &self.to),
            ("branch", &self.branch),
            ("worktree", &self.worktree),
            ("commit", &self.commit),
        ];
        for (key, value) in optional {
            value.iter().for_each(|value| fields.push_text(key, value));
        }
        fields.push_number("fencing_token", self.fencing_token);
        fields.push_text("written_at", &self.written_at);
        format!("{}\n{}\n", fields.render(), self.text)
    }

    /// Reads the file of a note; `None` if it is none.
    pub fn parse(bytes: &[u8]) -> Option<Note> {
        let file = std::str::from_utf8(bytes).ok().filter(|file| file.len() <= NOTE_MAX)?;
        let head_len = file.find(HEAD_END)? + HEAD_END.len();
        let (head, text) = file.split_at_checked(head_len)?;
        let Ok(Text::Own(fields)) = parse(head.as_bytes(), head.len()) else { return None };
        fields.expect_kind("note").ok()?;
        let text_of_key = |key| fields.text(key).map(|text| text.into_owned());
        Some(Note {
            item: text_of_key("item")?,
            from: text_of_key("from")?,
            to: text_of_key("to"),
            fencing_token: fields.number("fencing_token")?,
            written_at: text_of_key("written_at")?,
            branch: text_of_key("branch"),
            worktree: text_of_key("worktree"),
            commit: text_of_key("commit"),
            text: plain(text),
        })
    }

    /// Judges whether the note counts: it is about the item, and the grant of its writer has ended.
    /// `seen` is what stands where the lease of the item belongs. While a doubt is left, as about a
    /// damaged record, the note waits.
    pub fn judge_counts(&self, item: &str, seen: &Observed) -> bool {
        let ended = match seen {
            Observed::Absent => true,
            Observed::Ours(record, ..) => !self.is_of(record),
            Observed::Foreign { .. } | Observed::Damaged(..) => false,
        };
        ended && self.item == item
    }

    /// Returns whether the holder in a record wrote the note.
    pub fn is_of(&self, record: &Record) -> bool {
        self.fencing_token == record.fencing_token.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> Note {
        Note {
            item: "B-1".to_owned(),
            from: "otto".to_owned(),
            to: Some("vera".to_owned()),
            fencing_token: 7,
            written_at: "2026-11-29T12:00:00.000000Z".to_owned(),
            branch: Some("feat/x".to_owned()),
            worktree: None,
            commit: Some("0123abcd".to_owned()),
            text: text.to_owned(),
        }
    }

    #[test]
    fn what_was_written_reads_back_and_cat_shows_it() {
        let note = note("done: the parser\n\tnext: tests\nend: true\nschema: 2");
        let file = note.render();
        assert_eq!(Note::parse(file.as_bytes()), Some(note));
        assert!(file.contains("\nend: true\n\ndone: the parser\n\tnext: tests\n"), "{file}");
    }

    #[test]
    fn a_text_that_a_terminal_would_obey_is_made_harmless_when_written_and_when_read() {
        let wild = "\u{feff}\n\na\u{1b}[2J\r\nb\r\u{7}\tc\u{202e}\0\n\n";
        let plain = "a\u{fffd}[2J\nb\u{fffd}\u{fffd}\tc\u{fffd}\u{fffd}";
        assert_eq!(text_of(wild.as_bytes()).as_deref(), Ok(plain));
        let wild = wild.trim_start_matches('\u{feff}');
        let forged = note("x").render().replace("\nx\n", &format!("\n{wild}\n"));
        assert_eq!(Note::parse(forged.as_bytes()).unwrap().text, plain);
    }

    #[test]
    fn what_is_no_note_is_refused_with_the_reason() {
        for (bytes, why) in [
            (&b""[..], BadNote::Empty),
            (b"\n\r\n  \n", BadNote::Empty),
            (b"ab\xff", BadNote::NotUtf8(2)),
            (&[b'a'; NOTE_TEXT_MAX + 1], BadNote::TooLong),
            // Longer once it is harmless.
            (&[7; NOTE_TEXT_MAX], BadNote::TooLong),
        ] {
            assert_eq!(text_of(bytes), Err(why));
        }
        assert!(text_of(&[b'a'; NOTE_TEXT_MAX]).is_ok());
    }

    #[test]
    fn a_file_that_is_torn_forged_or_of_another_kind_is_no_note() {
        let whole = note("text").render();
        let head = whole.find(HEAD_END).unwrap() + HEAD_END.len();
        for cut in 0..head {
            assert_eq!(Note::parse(&whole.as_bytes()[..cut]), None, "{cut}");
        }
        for (what, with) in [
            ("kind: \"note\"", "kind: \"lease\""),
            ("schema: 1", "schema: 2"),
            ("item: \"B-1\"", "item: 1"),
            ("fencing_token: 7", "fencing_token: \"7\""),
            ("from: \"otto\"", "of: \"otto\""),
        ] {
            assert_eq!(Note::parse(whole.replace(what, with).as_bytes()), None, "{with}");
        }
        assert_eq!(Note::parse(&[0xff; 4096]), None);
    }
}

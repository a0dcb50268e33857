//! A block is put into a message, where git reads it whether it strips the comments or not.

use super::block::{Block, Fault, Key, is_task};
use super::check::judge_message;
use super::trailer::{as_read, is_blank, paragraph, trailers};

/// A value that cannot stand in a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// It has a newline or another control character.
    #[error("{key} {value:?} is not valid: a value is one line without control characters")]
    Control {
        /// The key.
        key: Key,
        /// Its value.
        value: String,
    },
    /// The block would not be a good one.
    #[error("{0}")]
    Fault(Fault),
}

/// Checks the values of a block that is about to be written.
///
/// # Errors
/// One of them cannot stand there.
pub fn check_values(block: &Block<'_>) -> Result<(), BadValue> {
    for key in Key::ALL {
        let value = block.get(key).unwrap_or_default();
        if value.chars().any(char::is_control) {
            return Err(BadValue::Control { key, value: value.to_owned() });
        }
    }
    block.faults().into_iter().next().map_or(Ok(()), |fault| Err(BadValue::Fault(fault)))
}

/// Chooses the task of a block among what an agent holds: the only item that has the form of one.
pub fn task_of<'t>(items: impl IntoIterator<Item = &'t str>) -> Option<&'t str> {
    let mut tasks: Vec<&str> = items.into_iter().filter(|item| is_task(item)).collect();
    tasks.sort_unstable();
    tasks.dedup();
    match tasks.as_slice() {
        [task] => Some(task),
        _ => None,
    }
}

/// Reports whether git reads one of the keys of a block in a message.
pub fn has_block(message: &[u8], comment: &[u8]) -> bool {
    let message = cleaned(message, comment);
    let read = as_read(&message);
    Block::of(trailers(&read, comment)).get(Key::Version).is_some()
}

/// Returns a message with the block: at the end of the trailers that git reads, or as the last
/// paragraph, but above the scissors. It stands below comments, because git may keep them: with
/// `-m`, a line that begins with `#` is text.
///
/// # Errors
/// git would not read the block there, because of what the message has already.
pub fn with_block(message: &[u8], block: &Block<'_>, comment: &[u8]) -> Result<Vec<u8>, Fault> {
    let message = message.split(|byte| *byte == 0).next().unwrap_or_default();
    let cut = scissors(message, comment);
    let range = paragraph(message, comment);
    let is_joined = !range.is_empty();
    let (text, below) =
        message.split_at_checked(if is_joined { range.end } else { cut }).unwrap_or((message, b""));
    let text = text.trim_ascii_end();
    let between: &[u8] = if is_joined { b"\n" } else { b"\n\n" };
    let mut whole = [text, between, block.text().as_bytes()].concat();
    let start = below.iter().take_while(|byte| **byte == b'\n').count();
    if let Some(below) = below.get(start..).filter(|below| !below.is_empty()) {
        whole.push(b'\n');
        whole.extend_from_slice(below);
    }
    if cleaned(message, comment).is_empty() {
        // A person writes the title in the editor, above all that.
        return Ok(whole);
    }
    judge_message(&cleaned(&whole, comment), comment).map(|_| whole)
}

/// Returns where the line of scissors begins, or the length of the message.
fn scissors(message: &[u8], comment: &[u8]) -> usize {
    let scissors = [comment, b" ------------------------ >8 ------------------------"].concat();
    let mut at = 0;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii_end() == scissors {
            break;
        }
        at += line.len();
    }
    at
}

/// Returns a message as git keeps it: without comments, and without what is below the scissors.
pub fn cleaned(message: &[u8], comment: &[u8]) -> Vec<u8> {
    let message = message.get(..scissors(message, comment)).unwrap_or_default();
    let mut kept = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        // Blank lines before the first other one are no part of a message, either.
        let is_left_out = line.starts_with(comment) || (kept.is_empty() && is_blank(line));
        if !is_left_out {
            kept.extend_from_slice(line);
        }
    }
    kept
}

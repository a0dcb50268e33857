//! The trailers of a message, by the rules of `git interpret-trailers --parse`.
//!
//! The rules are those of git 2.47 with its default settings: `:` separates, `#` begins a comment,
//! and a line of three hyphens ends the message. The tests compare this reader with git itself.

use std::borrow::Cow;
use std::ops::Range;

/// What begins a comment, unless `core.commentChar` says otherwise.
pub const COMMENT: &[u8] = b"#";
/// The end of the line below which `git commit --verbose` shows the change.
const SCISSORS: &[u8] = b" ------------------------ >8 ------------------------\n";
/// Lines that git itself writes. One of them makes a paragraph of trailers out of a mixed one.
const BY_GIT: [&[u8]; 2] = [b"Signed-off-by: ", b"(cherry picked from commit "];

/// One trailer of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer<'m> {
    /// The key as it was written, without blanks.
    pub key: &'m [u8],
    /// The value on one line, without blanks round it.
    pub value: Cow<'m, [u8]>,
    /// Where its last line ends in the message.
    pub end: usize,
}

/// Returns what git reads of a text: up to a byte of zero, and with a newline at the end.
pub fn as_read(text: &[u8]) -> Cow<'_, [u8]> {
    let end = find(0, text);
    match (end.and_then(|end| text.get(..end)), text.last()) {
        (Some(text), _) => Cow::Borrowed(text),
        (None, None | Some(b'\n')) => Cow::Borrowed(text),
        (None, Some(_)) => Cow::Owned([text, b"\n"].concat()),
    }
}

/// Reads the trailers of a message that [`as_read`] returned.
pub fn trailers<'m>(message: &'m [u8], comment: &[u8]) -> Vec<Trailer<'m>> {
    let Range { start, end } = paragraph(message, comment);
    let block = message.get(..end).unwrap_or_default();
    let (mut found, mut at) = (Vec::new(), start);
    while at < end {
        let (first, mut next) = (at, next_line(block, at));
        let line = block.get(first..next).unwrap_or_default();
        let separator = separator(line).filter(|at| *at >= 1);
        if separator.is_some() {
            while next < end && block.get(next).is_some_and(|byte| is_space(*byte)) {
                next = next_line(block, next);
            }
        }
        at = next;
        let whole = block.get(first..next).unwrap_or_default();
        if let Some((key, value)) = separator.and_then(|at| whole.split_at_checked(at))
            && !line.starts_with(comment)
        {
            let end = first + whole.trim_ascii_end().len();
            let value = unfolded(trim(value.get(1..).unwrap_or_default()));
            found.push(Trailer { key: trim(key), value, end });
        }
    }
    found
}

/// Returns where the paragraph of trailers stands; it is empty, at the end of what counts of the
/// message, if there is none.
pub fn paragraph(message: &[u8], comment: &[u8]) -> Range<usize> {
    let end = end_of_text(message, comment);
    start_of_trailers(message.get(..end).unwrap_or_default(), comment)..end
}

/// Returns where a line ends at which `git` stops reading: that of three hyphens.
pub fn divider(message: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < message.len() {
        let line = message.get(at..).unwrap_or_default();
        if line.starts_with(b"---") && line.get(3).is_some_and(|byte| is_space(*byte)) {
            return Some(at);
        }
        at = next_line(message, at);
    }
    None
}

/// Reports whether a line is a trailer, seen alone.
pub fn is_trailer(line: &[u8]) -> bool {
    separator(line).is_some_and(|at| at >= 1)
}

/// Returns the key and the value of a line that is a trailer, seen alone.
pub fn parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = separator(line).filter(|at| *at >= 1)?;
    let (key, value) = line.split_at_checked(at)?;
    Some((trim(key), trim(value.get(1..).unwrap_or_default())))
}

/// Reports whether a byte is white space for git, which knows four kinds of it.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns text without white space at its ends.
pub fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(start, |at| at + 1);
    text.get(start..end).unwrap_or_default()
}

/// Returns where a byte is in a text first.
pub fn find(byte: u8, text: &[u8]) -> Option<usize> {
    memchr::memchr(byte, text)
}

/// Returns where the line after the one at `at` begins.
pub fn next_line(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    find(b'\n', rest).map_or(text.len(), |newline| at + newline + 1)
}

/// Reports whether a line has nothing but white space.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().take_while(|byte| **byte != b'\n').all(|byte| is_space(*byte))
}

/// Joins the lines of a value with one blank each, if it has several.
pub fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value);
    }
    let mut whole = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, below) = rest.split_at(at);
        whole.extend_from_slice(line);
        whole.push(b' ');
        // Blank lines between two others add no second blank.
        let start = below.iter().position(|byte| !is_space(*byte)).unwrap_or(below.len());
        rest = below.get(start..).unwrap_or_default();
    }
    whole.extend_from_slice(rest);
    Cow::Owned(whole)
}

/// Returns where the separator of a line is; 0 if the line begins with it.
fn separator(line: &[u8]) -> Option<usize> {
    let mut blank = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b':' => return Some(at),
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' if !blank => {}
            b' ' | b'\t' if at > 0 => blank = true,
            _ => return None,
        }
    }
    None
}

/// Returns where the text ends, without a patch, comments and an old list of conflicts below it.
fn end_of_text(message: &[u8], comment: &[u8]) -> usize {
    let end = divider(message).unwrap_or(message.len());
    let text = message.get(..end).unwrap_or_default();
    let cut = end_above_scissors(message, text.len(), comment);
    // Zero stands for "none", as in git: a comment in the first line is not left out.
    let (mut begin, mut in_conflicts, mut at) = (0, false, 0);
    while at < cut {
        let line = text.get(at..cut).unwrap_or_default();
        // git looks at what follows there without regard to the ends that it found before.
        let all = message.get(at..).unwrap_or_default();
        if line.starts_with(comment) || line.first() == Some(&b'\n') {
            begin = if begin == 0 { at } else { begin };
        } else if all.starts_with(b"Conflicts:\n") {
            in_conflicts = true;
            begin = if begin == 0 { at } else { begin };
        } else if !(in_conflicts && line.first() == Some(&b'\t')) && begin > 0 {
            (begin, in_conflicts) = (0, false);
        }
        at = next_line(text, at);
    }
    if begin > 0 { begin } else { cut }
}

/// Returns where the line of scissors begins, or `len`.
fn end_above_scissors(message: &[u8], len: usize, comment: &[u8]) -> usize {
    let mut at = 0;
    while at < message.len() {
        let line = message.get(at..).unwrap_or_default();
        if line.strip_prefix(comment).is_some_and(|rest| rest.starts_with(SCISSORS)) {
            return at.min(len);
        }
        at = next_line(message, at);
    }
    len
}

/// Returns where the trailers begin in the text, or its length if there are none.
fn start_of_trailers(text: &[u8], comment: &[u8]) -> usize {
    let title = end_of_title(text, comment);
    let (mut only_blank, mut by_git) = (true, false);
    let (mut trailers, mut others, mut maybe_folded) = (0_usize, 0_usize, 0_usize);
    let mut end = text.len();
    while let Some(at) = last_line(text, end).filter(|at| *at >= title) {
        let line = text.get(at..end).unwrap_or_default();
        let next = end;
        end = at;
        if text.get(at..).is_some_and(|rest| rest.starts_with(comment)) {
            (others, maybe_folded) = (others + maybe_folded, 0);
        } else if is_blank(line) {
            if only_blank {
                continue;
            }
            others += maybe_folded;
            let is_mixed = by_git && trailers * 3 >= others;
            return if is_mixed || (trailers > 0 && others == 0) { next } else { text.len() };
        } else {
            only_blank = false;
            if BY_GIT.iter().any(|prefix| line.starts_with(prefix)) {
                (trailers, maybe_folded, by_git) = (trailers + 1, 0, true);
            } else if line.first().is_some_and(|byte| is_space(*byte)) {
                maybe_folded += 1;
            } else if is_trailer(line) {
                (trailers, maybe_folded) = (trailers + 1, 0);
            } else {
                (others, maybe_folded) = (others + 1 + maybe_folded, 0);
            }
        }
    }
    text.len()
}

/// Returns where the first paragraph ends, which is never one of trailers.
fn end_of_title(text: &[u8], comment: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        let line = text.get(at..).unwrap_or_default();
        if !line.starts_with(comment) && is_blank(line) {
            break;
        }
        at = next_line(text, at);
    }
    at
}

/// Returns where the last line begins of the text that ends at `end`.
fn last_line(text: &[u8], end: usize) -> Option<usize> {
    let before = text.get(..end.checked_sub(1)?)?;
    Some(memchr::memrchr(b'\n', before).map_or(0, |at| at + 1))
}

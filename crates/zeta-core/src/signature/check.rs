//! One message, judged: strictly, as git reads it, and leniently, with the block in any place.

use std::borrow::Cow;

use super::block::{Block, Fault};
use super::trailer::{self, COMMENT, Trailer, as_read, is_blank, next_line, trailers};

/// Judges a text as the original's validator does: lines of code fences are left out first. The
/// first fault counts.
///
/// # Errors
/// The text has no good block.
pub fn judge(text: &[u8]) -> Result<Block<'static>, Fault> {
    let text = without_fences(text);
    judge_message(&text, COMMENT)
}

/// Judges the body of a pull request: a squash merge puts it below the title of the request, and
/// takes lines of code fences along.
///
/// # Errors
/// The commit would have no good block.
pub fn judge_pr_body(body: &[u8]) -> Result<Block<'static>, Fault> {
    let title: &[u8] = b"Title\n\n";
    let judged = judge_message(&[title, body].concat(), COMMENT);
    let unfenced = || judge_message(&[title, &*without_fences(body)].concat(), COMMENT);
    judged.map_err(|fault| if unfenced().is_ok() { Fault::Fenced } else { fault })
}

/// Judges a message as it stands, by git's own rules.
///
/// # Errors
/// It has no good block.
pub fn judge_message(message: &[u8], comment: &[u8]) -> Result<Block<'static>, Fault> {
    let read = as_read(message);
    let found = trailers(&read, comment);
    let Some(end) = found.last().map(|last| last.end) else {
        return Err(Fault::NoTrailers(why_none(message)));
    };
    let below = message.get(end..).unwrap_or_default();
    if !String::from_utf8_lossy(below).trim().is_empty() {
        return Err(Fault::TextAfter);
    }
    let block = Block::of(found).into_owned();
    match block.faults().into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok(block),
    }
}

/// Why git reads no trailers, as far as one of the usual reasons holds.
fn why_none(message: &[u8]) -> &'static str {
    let read = as_read(message);
    let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').filter(|l| !is_blank(l)).count();
    match (anywhere(message), trailer::divider(&read)) {
        (None, _) => "it has no block",
        (Some(found), Some(at)) if at < found.start => "it ends at a line of three hyphens",
        (Some(found), _) if lines(read.get(..found.start).unwrap_or_default()) == 0 => {
            "the block needs a title and an empty line above it"
        }
        _ => "the last paragraph is not one of trailers alone, with an empty line above it",
    }
}

/// A block that stands anywhere in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it says.
    pub block: Block<'static>,
    /// Where it begins, in bytes, in the text without lines of code fences.
    pub start: usize,
    /// Its first line, counted from 1, in that text.
    pub line: usize,
}

impl Found {
    /// Reports whether all ten keys are there.
    pub fn is_complete(&self) -> bool {
        self.block.missing().is_empty()
    }
}

/// Looks for a block anywhere in a text: lines that follow each other, all of them trailers. The
/// last one with all ten keys counts, or else the one with the most of them, if it has three.
pub fn anywhere(text: &[u8]) -> Option<Found> {
    let text = without_fences(text);
    let text = as_read(&text);
    let (mut best, mut number, mut at): (Option<Found>, _, _) = (None, 0, 0);
    while at < text.len() {
        let (start, line) = (at, number + 1);
        let mut run = Vec::new();
        while let Some((found, next)) = next_trailer(&text, at) {
            number += lines_of(text.get(at..next).unwrap_or_default());
            at = next;
            run.push(found);
        }
        if run.is_empty() {
            (at, number) = (next_line(&text, at), number + 1);
            continue;
        }
        let block = Block::of(run);
        let most = best.as_ref().map_or(2, |best| best.block.len());
        let is_better = block.len() > most || block.len() == 10;
        if is_better {
            best = Some(Found { block: block.into_owned(), start, line });
        }
    }
    best
}

/// Reads the trailer that begins at `at`, with the lines that go on with it, and returns where the
/// next line begins.
fn next_trailer(text: &[u8], at: usize) -> Option<(Trailer<'_>, usize)> {
    let mut next = next_line(text, at);
    trailer::parts(text.get(at..next)?)?;
    while let Some(line) = text.get(next..).filter(|line| line.first().is_some_and(is_blank_byte))
        && !is_blank(line)
    {
        next = next_line(text, next);
    }
    let (key, value) = trailer::parts(text.get(at..next)?)?;
    Some((Trailer { key, value: trailer::unfolded(value), end: next }, next))
}

fn is_blank_byte(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn lines_of(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Returns the text without lines of code fences: three backticks, and maybe a word.
pub fn without_fences(text: &[u8]) -> Cow<'_, [u8]> {
    let is_fence = |line: &&[u8]| {
        let word = line.strip_prefix(b"```").map(<[u8]>::trim_ascii_end);
        word.is_some_and(|word| {
            word.iter().all(|b| b.is_ascii_alphanumeric() || b"_-+".contains(b))
        })
    };
    if !text.split_inclusive(|byte| *byte == b'\n').any(|line| is_fence(&line)) {
        return Cow::Borrowed(text);
    }
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_fence(line));
    Cow::Owned(lines.collect::<Vec<_>>().concat())
}

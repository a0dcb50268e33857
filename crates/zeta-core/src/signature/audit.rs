//! The class of a commit of a history: signed, older than the convention, of a person, or a
//! regression.

use super::block::{Block, Fault, Key};
use super::check::{self, anywhere};
use super::co_author::CoAuthors;
use super::trailer::{COMMENT, as_read, find, trailers};

/// How many of the newest commits are searched for the first signed one.
pub const SHIP_SEARCH: usize = 5000;

/// The class of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It has a block: the key of its version is there.
    Correct,
    /// It is older than the convention.
    Legacy,
    /// It has no block, and nothing says that an agent made it.
    Exempt,
    /// It has no block, and an agent made it.
    Regression,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 4] = [Class::Correct, Class::Legacy, Class::Exempt, Class::Regression];

    /// The word of the original for it.
    pub fn word(self) -> &'static str {
        match self {
            Class::Correct => "CORRECT",
            Class::Legacy => "LEGACY",
            Class::Exempt => "HUMAN-AUTHORED-EXEMPT",
            Class::Regression => "REGRESSION",
        }
    }
}

/// Which reader decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// git's own: the last paragraph.
    Strict,
    /// A whole block in any place counts, too.
    Anywhere,
}

/// A commit as it is read from git.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'m> {
    /// The id.
    pub id: &'m str,
    /// The time of the commit, in µs since 1970 (UTC).
    pub at_us: i64,
    /// The address of the author.
    pub author: &'m [u8],
    /// The message.
    pub message: &'m [u8],
}

impl Commit<'_> {
    /// The first line of the message.
    pub fn subject(&self) -> String {
        let line = self.message.split(|byte| *byte == b'\n').find(|line| !line.is_empty());
        String::from_utf8_lossy(line.unwrap_or_default()).trim().to_owned()
    }
}

/// The block of a commit, in both ways of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<'m> {
    /// What git reads; `None` without the key of the version.
    pub strict: Option<Block<'m>>,
    /// A whole block in another place. It is looked for only if git reads none.
    pub elsewhere: Option<Block<'m>>,
}

impl<'m> Signed<'m> {
    /// Reads the block of a message.
    pub fn of(message: &'m [u8]) -> Signed<'m> {
        // A message without the key anywhere is read no further: that is most of a history.
        if !names_version(message) {
            return Signed { strict: None, elsewhere: None };
        }
        let strict = match as_read(message) {
            std::borrow::Cow::Borrowed(read) => Block::of(trailers(read, COMMENT)),
            std::borrow::Cow::Owned(read) => Block::of(trailers(&read, COMMENT)).into_owned(),
        };
        let strict = Some(strict).filter(|block| block.get(Key::Version).is_some());
        let is_found = strict.is_some();
        let whole = || anywhere(message).filter(check::Found::is_complete).map(|it| it.block);
        Signed { elsewhere: if is_found { None } else { whole() }, strict }
    }

    /// The block that counts for a reader.
    pub fn block(&self, reader: Reader) -> Option<&Block<'m>> {
        match reader {
            Reader::Strict => self.strict.as_ref(),
            Reader::Anywhere => self.strict.as_ref().or(self.elsewhere.as_ref()),
        }
    }
}

fn names_version(message: &[u8]) -> bool {
    let name = Key::Version.name().as_bytes();
    let mut start = 0;
    while let Some(colon) = message.get(start..).and_then(|rest| find(b':', rest)) {
        // Blanks may stand between a key and its colon.
        let before = message.get(start..start + colon).unwrap_or_default().trim_ascii_end();
        let at = before.len().checked_sub(name.len());
        if at.and_then(|at| before.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(name)) {
            return true;
        }
        start += colon + 1;
    }
    false
}

/// When the convention began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ship {
    /// At this time, in µs since 1970 (UTC): the caller said so.
    Given(i64),
    /// With this commit, the oldest signed one.
    First(i64),
    /// It did not begin: no commit is signed.
    Never,
}

/// Returns when the convention began, by the times of all signed commits among the newest.
pub fn ship_of(signed: impl IntoIterator<Item = i64>) -> Ship {
    signed.into_iter().min().map_or(Ship::Never, Ship::First)
}

/// The judgement on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Its class.
    pub class: Class,
    /// The class without the lenient reader.
    pub strict: Class,
    /// The agent that its co-authors or its author name.
    pub agent_sign: Option<String>,
    /// The first thing that is wrong with its block.
    pub fault: Option<Fault>,
}

/// Judges a commit.
pub fn judge(
    commit: &Commit<'_>,
    signed: &Signed<'_>,
    (reader, ship): (Reader, Ship),
    agents: &CoAuthors,
) -> Judgement {
    let sign = agents.in_message(commit.message).or_else(|| agents.of_address(commit.author));
    let class = |reader| class(signed.block(reader).is_some(), commit.at_us, ship, sign.is_some());
    let fault = signed.block(reader).and_then(|block| block.faults().into_iter().next());
    let agent_sign = sign.map(str::to_owned);
    Judgement { class: class(reader), strict: class(Reader::Strict), agent_sign, fault }
}

fn class(is_signed: bool, at_us: i64, ship: Ship, has_sign: bool) -> Class {
    let is_older = match ship {
        Ship::Never => true,
        Ship::Given(ship_us) | Ship::First(ship_us) => at_us < ship_us,
    };
    match (is_signed, is_older, has_sign) {
        (true, _, _) => Class::Correct,
        (false, true, _) => Class::Legacy,
        (false, false, false) => Class::Exempt,
        (false, false, true) => Class::Regression,
    }
}

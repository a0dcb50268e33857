//! A line of the index: what was read of one file, and of which item's claims it speaks.

use std::collections::HashMap;

use zeta_core::bus::claim::Said;
use zeta_core::bus::item::Item;

use zeta_core::sum::hash;

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where its text lies in the pack; of a file that is no message, the time of its last change
    /// in µs.
    pub(super) at: i64,
    /// The length of its text; 0 for a file that is no message.
    pub(super) len: u64,
    /// Its modification time.
    pub(super) mtime_us: i64,
    /// The hash of its text.
    pub(super) hash: u64,
    /// Of which claims it speaks.
    pub(super) about: About,
}

/// Of which claims a file speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    Nothing,
    /// The digest of an item.
    Item(String),
    /// It is a claim, and nobody can see of which item.
    Untold,
    /// It came from another node, and claims nothing here.
    Imported,
}

/// The word for a file that is gone.
const GONE: &str = "gone";

/// The word for a file that came from another node.
const IMPORTED: &str = "~";

impl About {
    pub(super) fn of(said: &Said) -> About {
        match said {
            Said::Claim(message) => match Item::new(&message.item) {
                Ok(item) => About::Item(item.digest().to_owned()),
                // Nobody can claim such an item.
                Err(_) => About::Nothing,
            },
            Said::Untold => About::Untold,
            Said::Nothing => About::Nothing,
        }
    }

    fn word(&self) -> &str {
        match self {
            About::Nothing => "-",
            About::Item(digest) => digest,
            About::Untold => "?",
            About::Imported => IMPORTED,
        }
    }
}

impl Line {
    /// The line of a message whose text begins at this place of the pack.
    pub(super) fn of_message(at: u64, text: &str, mtime_us: i64, about: About) -> Line {
        let (at, len) = (i64::try_from(at).unwrap_or(i64::MAX), text.len() as u64);
        Line { at, len, mtime_us, hash: hash(text.as_bytes()), about }
    }

    pub(super) fn is_imported(&self) -> bool {
        self.about == About::Imported
    }

    pub(super) fn is_message(&self) -> bool {
        self.len > 0
    }

    pub(super) fn render(&self, file: &str) -> String {
        let Line { at, len, mtime_us, hash, about } = self;
        format!("{file} {at} {len} {mtime_us} {hash:x} {}\n", about.word())
    }

    /// Its text, in what was read of the pack from `start` on; `None` if that is not what it was.
    pub(super) fn text_in<'p>(&self, pack: &'p [u8], start: u64) -> Option<&'p str> {
        let from = usize::try_from(u64::try_from(self.at).ok()?.checked_sub(start)?).ok()?;
        let to = from.checked_add(usize::try_from(self.len).ok()?)?;
        let bytes = pack.get(from..to).filter(|bytes| hash(bytes) == self.hash)?;
        std::str::from_utf8(bytes).ok()
    }
}

/// The line that a file is gone.
pub(super) fn gone(file: &str) -> String {
    format!("{file} {GONE}\n")
}

/// Reads a line of the index: a file, and what was read of it, `None` if it is gone.
fn parse(line: &str) -> Option<(&str, Option<Line>)> {
    let mut words = line.trim_end().split(' ');
    let (file, at) = (words.next()?, words.next()?);
    if at == GONE {
        return Some((file, None));
    }
    let line = Line {
        at: at.parse().ok()?,
        len: words.next()?.parse().ok()?,
        mtime_us: words.next()?.parse().ok()?,
        hash: u64::from_str_radix(words.next()?, 16).ok()?,
        about: match words.next()? {
            "-" => About::Nothing,
            "?" => About::Untold,
            IMPORTED => About::Imported,
            digest => About::Item(digest.to_owned()),
        },
    };
    Some((file, Some(line)))
}

/// What lines say, the later one of each file.
pub(super) fn parse_all(text: &str) -> HashMap<&str, Line> {
    let mut known = HashMap::with_capacity(text.len() / 80);
    for (file, line) in text.lines().filter_map(parse) {
        match line {
            Some(line) => _ = known.insert(file, line),
            None => _ = known.remove(file),
        }
    }
    known
}

/// As [`parse_all`], only the files that speak of claims, in the order of their lines; only of the
/// item with this digest, or of those that do not show their item, if one is given.
pub(super) fn parse_claims<'t>(text: &'t str, digest: Option<&str>) -> Vec<(&'t str, Line)> {
    let mut found: Vec<(&str, Line)> = Vec::new();
    for line in text.lines() {
        let wanted = match digest {
            Some(digest) => line.ends_with(digest) || line.ends_with(" ?"),
            None => !line.ends_with(" -") && !line.ends_with(" ~"),
        };
        if wanted || line.ends_with(GONE) {
            match parse(line) {
                Some((file, Some(line))) => found.push((file, line)),
                Some((file, None)) if !found.is_empty() => {
                    found.retain(|(known, _)| *known != file)
                }
                _ => {}
            }
        }
    }
    found
}

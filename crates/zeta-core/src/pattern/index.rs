//! The index of the claims on paths of one space: which grants to read for a question.
//!
//! It is one text. The first line, of fixed width, says how much of the rest is valid, for which
//! directory and boot, and which grant is about to change. Each further line has a pattern of a
//! grant, or says that a grant is gone. It is derived from the grants: where it does not count,
//! all of them are read and it is written anew.
//!
//! A change writes the first line with the grant's id, then moves the record, then appends lines
//! and writes the first line again. So what a killed process leaves is an id whose record has to be
//! looked at.

use std::cell::Cell;
use std::collections::HashSet;

use super::{Mode, PathClaim, Pattern, RepoPath};
use crate::sum::{add_words, hash};

/// Bytes of the first line.
pub const HEAD_LEN: usize = 256;
/// The version of the form.
const VERSION: &str = "4";
/// Where the pattern of a line begins; before it stand the mode and the id of the grant.
const PATTERN_AT: usize = 27;
/// A line has a multiple of so many bytes: the sum is taken of words, and the end of a line is the
/// end of a word.
const WORD: usize = 8;

/// What an index belongs to. Of another directory, boot or time it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Device and inode of the directory of the grants.
    pub directory: (u64, u64),
    /// When a name of it changed last, by its ctime.
    pub ctime_ns: i64,
    /// The boot id.
    pub boot_id: String,
}

/// Which grants are about to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// None: the lines are those of the grants.
    Nothing,
    /// Perhaps this one did: its record shows it.
    Grant(String),
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Where the sum began: a random number of this index.
    epoch: u64,
    /// Valid bytes behind the first line.
    len: u64,
    /// The sum of their lines.
    sum: u64,
    /// Which grants are about to change.
    pub pending: Pending,
}

impl Head {
    /// The first line of an index without lines; `random` tells it from earlier ones.
    pub fn anew(random: u64) -> Head {
        let epoch = random.max(1);
        Head { epoch, len: 0, sum: epoch, pending: Pending::Nothing }
    }

    /// Where the next line belongs, from the beginning of the file.
    pub fn end(&self) -> u64 {
        HEAD_LEN as u64 + self.len
    }

    /// Counts lines that are appended at [`Head::end`].
    pub fn append(&mut self, lines: &str) {
        self.len += lines.len() as u64;
        self.sum = add_words(self.sum, lines.as_bytes());
    }

    /// The first line as it is written.
    pub fn render(&self, owner: &Owner) -> String {
        let Owner { directory: (dev, ino), ctime_ns, boot_id } = owner;
        let pending = match &self.pending {
            Pending::Nothing => "-",
            Pending::Grant(id) => id,
        };
        let body = format!(
            "{VERSION} {:016x} {:015} {:016x} {pending} {dev:016x}-{ino:016x} {ctime_ns} {boot_id}",
            self.epoch, self.len, self.sum
        );
        let width = HEAD_LEN - 18;
        format!("{body:<width$} {:016x}\n", hash(body.as_bytes()))
    }

    /// Reads the first line; `None` if it is torn or of another index.
    pub fn read(line: &str, owner: &Owner) -> Option<Head> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let epoch = u64::from_str_radix(words.next()?, 16).ok()?;
        let len = words.next()?.parse().ok()?;
        let sum = u64::from_str_radix(words.next()?, 16).ok()?;
        let pending = match words.next()? {
            "-" => Pending::Nothing,
            id => Pending::Grant(id.to_owned()),
        };
        let head = Head { epoch, len, sum, pending };
        // Everything else must be as it would be written now.
        (head.render(owner) == line).then_some(head)
    }
}

/// The lines of a grant. Everything before the pattern has a fixed width: most lines are read no
/// further than to the letter in which their pattern differs. The mode of a grant that was handed
/// over, and not acquired since, is a capital letter.
pub fn lines_of(id: &str, claim: &PathClaim, handed_over: bool) -> String {
    let mode = letter(claim.mode);
    let mode = if handed_over { mode.to_ascii_uppercase() } else { mode };
    claim.patterns.iter().map(|pattern| line(format!("{mode} {id:>24} {pattern}"))).collect()
}

/// Ends a line with as many line feeds as fill a word.
fn line(mut text: String) -> String {
    text.push('\n');
    while !text.len().is_multiple_of(WORD) {
        text.push('\n');
    }
    text
}

fn letter(mode: Mode) -> char {
    match mode {
        Mode::Exclusive => 'x',
        Mode::Shared => 's',
    }
}

/// The line that a grant is gone.
pub fn gone(id: &str) -> String {
    line(format!("- {id:>24}"))
}

/// One line, as it stands in the index. What is not there counts as every path.
#[derive(Clone, Copy)]
struct Line<'a>(&'a [u8]);

impl<'a> Line<'a> {
    fn mode(self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    fn id(self) -> &'a str {
        let id = self.0.get(2..PATTERN_AT - 1).unwrap_or_default();
        std::str::from_utf8(id).unwrap_or_default().trim_ascii()
    }

    /// The pattern, and the line feeds behind it.
    fn bytes(self) -> &'a [u8] {
        self.0.get(PATTERN_AT..).unwrap_or_default()
    }

    fn pattern(self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default().trim_end_matches('\n')
    }
}

/// An index that counts.
#[derive(Debug, Clone)]
pub struct Index<'a> {
    /// Its first line.
    pub head: Head,
    lines: &'a [u8],
}

impl<'a> Index<'a> {
    /// Reads an index; `None` if it does not count.
    pub fn read(text: &'a [u8], owner: &Owner) -> Option<Index<'a>> {
        let (head, rest) = text.split_at_checked(HEAD_LEN)?;
        let head = Head::read(std::str::from_utf8(head).ok()?, owner)?;
        // What stands behind the valid bytes was never counted.
        let lines = rest.get(..usize::try_from(head.len).ok()?)?;
        let whole = lines.len().is_multiple_of(WORD) && lines.last().is_none_or(|b| *b == b'\n');
        (whole && add_words(head.epoch, lines) == head.sum).then_some(Index { head, lines })
    }

    /// The ids of the grants that have a claim that `claim` excludes.
    pub fn excluded_by(&self, claim: &PathClaim) -> Vec<&'a str> {
        self.excluded_within(claim, u64::MAX).unwrap_or_default()
    }

    /// As [`Index::excluded_by`]; `None` if that would take more than so many steps. To compare two
    /// patterns takes no more than the product of their lengths.
    pub fn excluded_within(&self, claim: &PathClaim, most: u64) -> Option<Vec<&'a str>> {
        let asked: Vec<Asked<'_>> = claim.patterns.iter().map(Asked::new).collect();
        let steps = Cell::new(0_u64);
        let fits = |line: Line<'_>, asked: &Asked<'_>| {
            if differ_early(asked.plain.as_bytes(), line.bytes()) {
                return false;
            }
            let product = asked.len.saturating_mul(line.bytes().len() as u64);
            steps.set(steps.get().saturating_add(product));
            steps.get() <= most && overlaps(asked.pattern, line.pattern())
        };
        let found = self.find(|line| {
            let shared = claim.mode == Mode::Shared && line.mode().eq_ignore_ascii_case(&b's');
            !shared && asked.iter().any(|asked| fits(line, asked))
        });
        (steps.get() <= most).then_some(found)
    }

    /// The ids of the grants that cover a path.
    pub fn covering(&self, path: RepoPath<'_>) -> Vec<&'a str> {
        let covers = |text: &str| text.parse::<Pattern>().map_or(true, |p| p.covers(path));
        // A star of the path is a letter, and one of the pattern is not.
        let plain = path.as_str().split(SPECIAL).next().unwrap_or_default();
        self.find(|line| !differ_early(plain.as_bytes(), line.bytes()) && covers(line.pattern()))
    }

    /// The ids of the grants that have one of the patterns of `claim`, where a slash at the end of
    /// a path does not count, and of all that were handed over.
    pub fn naming(&self, claim: &PathClaim) -> Vec<&'a str> {
        let texts: Vec<String> = claim.patterns.iter().map(ToString::to_string).collect();
        let is_one = |line: Line<'_>| {
            let named = |text: &String| {
                let rest = line.bytes().strip_prefix(text.trim_end_matches('/').as_bytes());
                rest.is_some_and(|rest| matches!(rest, [b'\n', ..] | [b'/', b'\n', ..]))
            };
            line.mode().is_ascii_uppercase() || texts.iter().any(named)
        };
        self.find(is_one)
    }

    /// The ids of the grants whose ids come after `id`.
    pub fn after(&self, id: &str) -> Vec<&'a str> {
        self.find(|line| line.id() > id)
    }

    /// Returns the ids of the grants that a line says it of. A grant that is gone has none.
    fn find(&self, wanted: impl Fn(Line<'a>) -> bool) -> Vec<&'a str> {
        let mut found: Vec<&str> = Vec::new();
        let mut known: HashSet<&str> = HashSet::new();
        let mut from = 0;
        for (at, word) in self.lines.chunks_exact(WORD).enumerate() {
            if word.last() != Some(&b'\n') {
                continue;
            }
            let end = (at + 1) * WORD;
            let line = Line(self.lines.get(from..end).unwrap_or_default());
            from = end;
            if line.mode() == b'-' {
                if known.remove(line.id()) {
                    found.retain(|id| *id != line.id());
                }
            } else if wanted(line) && known.insert(line.id()) {
                found.push(line.id());
            }
        }
        found
    }
}

/// A pattern of a question.
struct Asked<'p> {
    pattern: &'p Pattern,
    /// Its letters before its first wildcard.
    plain: String,
    /// Its bytes.
    len: u64,
}

impl Asked<'_> {
    fn new(pattern: &Pattern) -> Asked<'_> {
        let text = pattern.to_string();
        let plain = text.split(SPECIAL).next().unwrap_or_default().to_owned();
        Asked { pattern, plain, len: text.len() as u64 }
    }
}

/// Characters from which on a pattern no longer says its own letters.
const SPECIAL: [char; 4] = ['*', '?', '[', '\\'];

/// Returns whether a pattern differs from these letters before it has a wildcard. This settles most
/// lines without reading the pattern.
fn differ_early(plain: &[u8], pattern: &[u8]) -> bool {
    let first = plain.iter().zip(pattern).find(|(letter, other)| letter != other);
    // `src/` covers `src` and `src/a`, so the end of a pattern settles nothing.
    first.is_some_and(|(_, other)| !matches!(other, b'*' | b'?' | b'[' | b'\\' | b'\n'))
}

/// A pattern that cannot be read is every path.
fn overlaps(pattern: &Pattern, text: &str) -> bool {
    text.parse::<Pattern>().map_or(true, |other| other.overlaps(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(mode: Mode, patterns: &[&str]) -> PathClaim {
        PathClaim::new(mode, patterns.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn owner() -> Owner {
        Owner { directory: (5, 9), ctime_ns: 17, boot_id: "a-b".into() }
    }

    fn written(lines: &str, pending: Pending) -> String {
        let mut head = Head::anew(7);
        head.append(lines);
        head.pending = pending;
        format!("{}{lines}", head.render(&owner()))
    }

    #[test]
    fn an_index_answers_as_the_claims_themselves_would() {
        let patterns = [
            "src/**",
            "src",
            "src/a.rs",
            "src/a.rs/",
            "src/a*",
            "src/[a-c].rs",
            "srcx",
            "**/*.rs",
            "**",
            "*",
            "docs/\\[id]/x",
            "docs/?id]/x",
            "d*/x",
            "docs/**/x",
            "src/\\*",
            "src/a*c",
        ];
        let paths = [
            "src",
            "src/a.rs",
            "src/a.rs/x",
            "src/b/c",
            "srcx",
            "docs/[id]/x",
            "docs/x",
            "a",
            "src/*",
            "src/a*bc",
        ];
        let mut lines = String::new();
        for (at, text) in patterns.iter().enumerate() {
            lines += &lines_of(&format!("{at:024}"), &claim(Mode::Exclusive, &[text]), false);
        }
        let text = written(&lines, Pending::Nothing);
        let index = Index::read(text.as_bytes(), &owner()).unwrap();
        let of = |wanted: &dyn Fn(&PathClaim) -> bool| -> Vec<String> {
            let fits = |(at, text): (usize, &&str)| {
                wanted(&claim(Mode::Exclusive, &[text])).then(|| format!("{at:024}"))
            };
            patterns.iter().enumerate().filter_map(fits).collect()
        };
        for text in patterns {
            let asked = claim(Mode::Shared, &[text]);
            let wanted = of(&|other| other.excludes(&asked));
            assert_eq!(index.excluded_by(&asked), wanted, "{text}");
            assert_eq!(index.naming(&asked), of(&|other| other.shares_name(&asked)), "{text}");
        }
        for name in paths {
            let path = RepoPath::new(name).unwrap();
            assert_eq!(index.covering(path), of(&|other| other.covers(path, "/r")), "{name}");
        }
    }

    #[test]
    fn a_search_ends_after_so_many_steps_as_are_allowed() {
        let one = |text: &str| lines_of("a", &claim(Mode::Exclusive, &[text]), false);
        let text = written(&(one("x*y") + &one("far/x*y")), Pending::Nothing);
        let index = Index::read(text.as_bytes(), &owner()).unwrap();
        let asked = claim(Mode::Exclusive, &["x*"]);
        // What differs early costs nothing.
        let exact = 2 * "x*y\n\n".len() as u64;
        assert_eq!(index.excluded_within(&asked, exact), Some(vec!["a"]));
        assert_eq!(index.excluded_within(&asked, exact - 1), None);
        assert_eq!(index.excluded_within(&claim(Mode::Shared, &["near"]), 0), Some(vec![]));
    }

    #[test]
    fn a_grant_that_is_gone_is_not_named_and_one_that_came_back_is() {
        let shared = |patterns| claim(Mode::Shared, patterns);
        let [a, b, c] = ["a", "b", "c"].map(|id| id.repeat(24));
        let mut lines = lines_of(&a, &shared(&["x/**", "x/y"]), false);
        lines += &lines_of(&b, &shared(&["x/y"]), false);
        lines += &gone(&a);
        lines += &gone(&c);
        let asked = claim(Mode::Exclusive, &["x/y"]);
        let named = |lines: &str| {
            let text = written(lines, Pending::Nothing);
            let index = Index::read(text.as_bytes(), &owner()).unwrap();
            assert_eq!(index.excluded_by(&shared(&["x/y"])), [""; 0], "shared beside shared");
            let naming = index.naming(&asked);
            let found = index.excluded_by(&asked);
            assert!(naming.iter().all(|id| found.contains(id)), "{naming:?} {found:?}");
            assert!(index.after(&a).contains(&b.as_str()) && index.after(&c).is_empty());
            found.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(named(&lines), std::slice::from_ref(&b));
        lines += &lines_of(&a, &shared(&["x/y"]), false);
        assert_eq!(named(&lines), [b, a]);
    }

    #[test]
    fn a_grant_that_was_handed_over_is_found_without_its_paths() {
        let [a, b] = ["a", "b"].map(|id| id.repeat(24));
        let claim = |text| claim(Mode::Shared, &[text]);
        let mut lines = lines_of(&a, &claim("x"), false);
        lines += &lines_of(&b, &claim("y"), true);
        let named = |lines: &str, asked: &PathClaim| {
            let text = written(lines, Pending::Nothing);
            let index = Index::read(text.as_bytes(), &owner()).unwrap();
            assert_eq!(index.excluded_by(&claim("y")), [""; 0], "it is shared as before");
            index.naming(asked).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let none = PathClaim::new(Mode::Exclusive, Vec::new());
        assert_eq!(named(&lines, &none), std::slice::from_ref(&b));
        assert_eq!(named(&lines, &claim("x")), [a, b.clone()]);
        assert_eq!(named(&format!("{lines}{}", gone(&b)), &none), [""; 0]);
    }

    #[test]
    fn an_index_that_is_torn_or_of_another_directory_boot_or_time_does_not_count() {
        let lines = lines_of("a", &claim(Mode::Exclusive, &["x/**", "ü?"]), false);
        let text = written(&lines, Pending::Grant("b".into()));
        let read = |text: &[u8], owner: &Owner| Index::read(text, owner).map(|index| index.head);
        let head = read(text.as_bytes(), &owner()).unwrap();
        assert_eq!(
            (head.pending.clone(), head.end()),
            (Pending::Grant("b".into()), text.len() as u64)
        );
        let more = format!("{text}+ torn");
        assert_eq!(read(more.as_bytes(), &owner()), Some(head), "was never counted");
        for at in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..at], &owner()), None, "cut at {at}");
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, &owner()), None, "a bit at {at}");
        }
        let others = [
            Owner { directory: (5, 10), ..owner() },
            Owner { ctime_ns: 18, ..owner() },
            Owner { boot_id: "a-c".into(), ..owner() },
        ];
        others.iter().for_each(|other| assert_eq!(read(text.as_bytes(), other), None, "{other:?}"));
    }
}

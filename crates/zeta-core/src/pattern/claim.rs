//! A claim on paths, as the record of its grant holds it, and which claims exclude each other.

use crate::record::{quote, unquote};

use super::{Pattern, RepoPath};

/// Most patterns of one claim.
pub const PATTERNS_MAX: usize = 16;

/// The key of a claim beside which others of its kind may stand.
const MODE: &str = "mode";
/// How the keys of the patterns begin; a number from 1 on follows.
const PATH: &str = "path_";

/// Whether a claim stands beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Beside none that shares a path with it.
    #[default]
    Exclusive,
    /// Beside every other shared one.
    Shared,
}

impl Mode {
    /// The word on disk and in the CLI.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Exclusive => "exclusive",
            Mode::Shared => "shared",
        }
    }
}

/// The paths of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathClaim {
    /// Whether it stands beside others.
    pub mode: Mode,
    /// What it covers: a path of any of them.
    pub patterns: Vec<Pattern>,
}

impl PathClaim {
    /// Reads the claim from the keys of the record of a grant. In doubt it covers more: a mode that
    /// is not known is exclusive, and a pattern that cannot be read is every path.
    pub fn of(entries: &[(String, String)]) -> PathClaim {
        let text = |key: &str| {
            let (_, value) = entries.iter().find(|(known, _)| known == key)?;
            Some(unquote(value).map_or_else(String::new, |text| text.into_owned()))
        };
        let shared = text(MODE).is_some_and(|mode| mode == Mode::Shared.word());
        let texts = (1..=PATTERNS_MAX).map_while(|number| text(&format!("{PATH}{number}")));
        let mut patterns: Vec<Pattern> = texts.map(|text| read_pattern(&text)).collect();
        if patterns.is_empty() {
            patterns.push(Pattern::everything());
        }
        PathClaim { mode: if shared { Mode::Shared } else { Mode::Exclusive }, patterns }
    }

    /// The keys of the claim for the record of its grant.
    pub fn to_entries(&self) -> Vec<(String, String)> {
        let mode = (MODE.to_owned(), quote(self.mode.word()));
        let patterns = self.patterns.iter().zip(1..);
        let paths = patterns.map(|(p, number)| (format!("{PATH}{number}"), quote(&p.to_string())));
        std::iter::once(mode).chain(paths).collect()
    }

    /// Returns whether the claim covers a path.
    pub fn covers(&self, path: RepoPath<'_>) -> bool {
        self.patterns.iter().any(|pattern| pattern.covers(path))
    }

    /// Returns whether the two cannot stand side by side: they share a path, and one of them is
    /// exclusive.
    pub fn excludes(&self, other: &PathClaim) -> bool {
        let shared = self.mode == Mode::Shared && other.mode == Mode::Shared;
        let overlap = |pattern: &Pattern| other.patterns.iter().any(|p| p.overlaps(pattern));
        !shared && self.patterns.iter().any(overlap)
    }
}

/// Reads a pattern of a record. A later program may have written the symbol of a file behind it:
/// to this one that is a claim of the file.
fn read_pattern(text: &str) -> Pattern {
    let mut escaped = false;
    let symbol = text.find(|c| {
        let begins = c == '#' && !escaped;
        escaped = c == '\\' && !escaped;
        begins
    });
    let file = symbol.and_then(|at| text.get(..at)).unwrap_or(text);
    file.parse().unwrap_or_else(|_| Pattern::everything())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(mode: Mode, patterns: &[&str]) -> PathClaim {
        let patterns = patterns.iter().map(|text| text.parse().unwrap()).collect();
        PathClaim { mode, patterns }
    }

    #[test]
    fn exclusive_stands_beside_none_and_shared_beside_shared() {
        use Mode::{Exclusive, Shared};
        let table = [
            (Exclusive, &["src/**"][..], Exclusive, &["src/a.py"][..], true),
            (Exclusive, &["src/**"], Shared, &["src/a.py"], true),
            (Shared, &["src/**"], Exclusive, &["src/a.py"], true),
            (Shared, &["src/**"], Shared, &["src/a.py"], false),
            (Exclusive, &["src/**"], Exclusive, &["docs/", "tests/"], false),
            (Exclusive, &["src/**", "docs/a.md"], Exclusive, &["tests/", "docs/*.md"], true),
        ];
        for (mode, one, other_mode, other, wanted) in table {
            let (one, other) = (claim(mode, one), claim(other_mode, other));
            assert_eq!((one.excludes(&other), other.excludes(&one)), (wanted, wanted), "{one:?}");
        }
    }

    #[test]
    fn a_claim_reads_back_and_in_doubt_covers_more() {
        let path = |text| RepoPath::new(text).unwrap();
        let written = claim(Mode::Shared, &["src/**", "app/\\[id]/*.ts", "a\\\\b"]);
        assert_eq!(PathClaim::of(&written.to_entries()), written);
        let with = |entries: &[(&str, &str)]| {
            let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            PathClaim::of(&entries.iter().map(entry).collect::<Vec<_>>())
        };
        assert!(with(&[]).covers(path("any/where")), "no pattern");
        assert!(with(&[("path_1", "\"a/../b\"")]).covers(path("any/where")), "no good pattern");
        let future = with(&[("mode", "\"intent\""), ("path_1", "\"src/a\\\\#b.py#main\"")]);
        assert_eq!(future.mode, Mode::Exclusive);
        assert!(future.covers(path("src/a#b.py")) && !future.covers(path("src/a")), "{future:?}");
    }
}

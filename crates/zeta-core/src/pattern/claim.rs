//! A claim on paths, as the record of its grant holds it, and which claims exclude each other.

use crate::record::{quote, unquote};

use super::component::Component;
use super::{Pattern, RepoPath};

/// Most patterns of one claim.
pub const PATTERNS_MAX: usize = 16;
/// Most bytes that the keys of a claim take in the record of its grant, which has more to hold.
pub const CLAIM_MAX: usize = 2048;

/// The key of a claim beside which others of its kind may stand.
const MODE: &str = "mode";
/// How the keys of the patterns begin; a number from 1 on follows.
const PATH: &str = "path_";
/// The key of a claim that is of one worktree only: its top.
const WORKTREE: &str = "worktree";

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
    /// What it covers: a path of any of them. They are in order, and none is there twice.
    pub patterns: Vec<Pattern>,
    /// The top of the worktree whose agents alone it is for; `None` for all of the repository.
    pub worktree: Option<String>,
}

impl PathClaim {
    /// The claim of all worktrees on what any of the patterns covers.
    pub fn new(mode: Mode, mut patterns: Vec<Pattern>) -> PathClaim {
        patterns.sort_unstable();
        patterns.dedup();
        PathClaim { mode, patterns, worktree: None }
    }

    /// Reads the claim from the keys of the record of a grant. In doubt it covers more: a mode that
    /// is not known is exclusive, a pattern that cannot be read is every path, and a worktree that
    /// cannot be read is every worktree.
    pub fn of(entries: &[(String, String)]) -> PathClaim {
        let value = |key: &str| entries.iter().find(|(known, _)| known == key).map(|(_, v)| v);
        let text = |key: &str| {
            Some(unquote(value(key)?).map_or_else(String::new, |text| text.into_owned()))
        };
        let shared = text(MODE).is_some_and(|mode| mode == Mode::Shared.word());
        let texts = (1..=PATTERNS_MAX).map_while(|number| text(&format!("{PATH}{number}")));
        let mut patterns: Vec<Pattern> = texts.map(|text| read_pattern(&text)).collect();
        if patterns.is_empty() {
            patterns.push(Pattern::everything());
        }
        let mode = if shared { Mode::Shared } else { Mode::Exclusive };
        let worktree = text(WORKTREE).filter(|top| !top.is_empty());
        PathClaim { worktree, ..PathClaim::new(mode, patterns) }
    }

    /// The keys of the claim for the record of its grant.
    pub fn to_entries(&self) -> Vec<(String, String)> {
        let mode = (MODE.to_owned(), quote(self.mode.word()));
        let patterns = self.patterns.iter().zip(1..);
        let paths = patterns.map(|(p, number)| (format!("{PATH}{number}"), quote(&p.to_string())));
        let worktree = self.worktree.iter().map(|top| (WORKTREE.to_owned(), quote(top)));
        std::iter::once(mode).chain(paths).chain(worktree).collect()
    }

    /// Returns whether the keys of the claim are more than a record has room for.
    pub fn is_too_long(&self) -> bool {
        let len = |(key, value): &(String, String)| key.len() + value.len();
        self.to_entries().iter().map(len).sum::<usize>() > CLAIM_MAX
    }

    /// Returns whether the claim covers a path of the worktree whose top is `worktree`.
    pub fn covers(&self, path: RepoPath<'_>, worktree: &str) -> bool {
        self.worktree.as_ref().is_none_or(|top| top == worktree)
            && self.patterns.iter().any(|pattern| pattern.covers(path))
    }

    /// Returns whether both have the same paths and patterns, but for a slash at the end of a path:
    /// what is on disk decides on that, and may have changed between two calls.
    pub fn is_named_as(&self, other: &PathClaim) -> bool {
        fn named(claim: &PathClaim) -> Vec<&[Component]> {
            let mut names: Vec<_> = claim.patterns.iter().map(Pattern::named).collect();
            names.dedup();
            names
        }
        named(self) == named(other)
    }

    /// Returns whether a claim by the same words that covers all of `other` is this one.
    pub fn includes(&self, other: &PathClaim) -> bool {
        let has = |p: &Pattern| p.named().len() == p.0.len() || self.patterns.contains(p);
        (self.mode, &self.worktree) == (other.mode, &other.worktree)
            && self.is_named_as(other)
            && other.patterns.iter().all(has)
    }

    /// Returns whether the two have one path or pattern in common, but for the slash at its end.
    pub fn shares_name(&self, other: &PathClaim) -> bool {
        let is_of_other = |p: &Pattern| other.patterns.iter().any(|o| o.named() == p.named());
        self.patterns.iter().any(is_of_other)
    }

    /// Returns whether the two cannot stand side by side: they share a path of one worktree, and
    /// one of them is exclusive.
    pub fn excludes(&self, other: &PathClaim) -> bool {
        let shared = self.mode == Mode::Shared && other.mode == Mode::Shared;
        let apart = self.worktree.as_ref().zip(other.worktree.as_ref());
        let apart = apart.is_some_and(|(one, other)| one != other);
        let overlap = |pattern: &Pattern| other.patterns.iter().any(|p| p.overlaps(pattern));
        !shared && !apart && self.patterns.iter().any(overlap)
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
        PathClaim::new(mode, patterns.iter().map(|text| text.parse().unwrap()).collect())
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
    fn claims_of_two_worktrees_stand_side_by_side_and_those_of_all_worktrees_alone() {
        let of = |worktree: Option<&str>| PathClaim {
            worktree: worktree.map(str::to_owned),
            ..claim(Mode::Exclusive, &["src/"])
        };
        let (one, other, all) = (of(Some("/r")), of(Some("/s")), of(None));
        for (a, b, wanted) in
            [(&one, &other, false), (&one, &one, true), (&one, &all, true), (&all, &all, true)]
        {
            assert_eq!((a.excludes(b), b.excludes(a)), (wanted, wanted), "{a:?} {b:?}");
            assert_eq!(PathClaim::of(&a.to_entries()), *a);
        }
        let path = RepoPath::new("src/a").unwrap();
        assert!(one.covers(path, "/r") && !one.covers(path, "/s") && all.covers(path, "/s"));
        let odd = [("path_1".to_owned(), "\"src\"".to_owned()), ("worktree".into(), "odd".into())];
        assert!(PathClaim::of(&odd).excludes(&one), "a worktree that cannot be read is every one");
    }

    #[test]
    fn the_order_of_the_patterns_does_not_count_and_their_length_does() {
        let (one, other) = (["b", "a", "b"], ["a", "b"]);
        assert_eq!(claim(Mode::Shared, &one), claim(Mode::Shared, &other));
        let long = "x".repeat(1000);
        assert!(!claim(Mode::Shared, &[&long, "a"]).is_too_long());
        assert!(
            claim(Mode::Shared, &[&long, &format!("{long}y"), "a/b/c/d/e/f/g/h"]).is_too_long()
        );
    }

    #[test]
    fn a_claim_is_found_by_the_same_words_whatever_its_paths_have_become() {
        let of = |patterns: &[&str]| claim(Mode::Exclusive, patterns);
        let own = of(&["a/**/z", "a/", "b", "c/*"]);
        // Whether it is named so, covers all of what is asked, and shares a path or pattern.
        let table = [
            (of(&["a", "b", "c/*", "a/**/z"]), true, true, true),
            (of(&["a/", "b/", "c/*", "a/**/z"]), true, false, true),
            (of(&["a", "a/", "b", "c/*", "a/**/z"]), true, true, true),
            (of(&["a", "b", "c/*/", "a/**/z"]), false, false, true),
            (of(&["b/"]), false, false, true),
            (of(&["c/*/", "a/**/z/", "bb"]), false, false, false),
        ];
        for (asked, named, covered, shared) in table {
            assert_eq!(own.is_named_as(&asked), named, "{asked:?}");
            assert_eq!(own.includes(&asked), covered, "{asked:?}");
            assert_eq!(own.shares_name(&asked), shared, "{asked:?}");
        }
        assert!(!own.includes(&claim(Mode::Shared, &["a", "b", "c/*", "a/**/z"])));
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
        assert!(with(&[]).covers(path("any/where"), "/r"), "no pattern");
        assert!(
            with(&[("path_1", "\"a/../b\"")]).covers(path("any/where"), "/r"),
            "no good pattern"
        );
        let future = with(&[("mode", "\"intent\""), ("path_1", "\"src/a\\\\#b.py#main\"")]);
        assert_eq!(future.mode, Mode::Exclusive);
        let covers = |text| future.covers(path(text), "/r");
        assert!(covers("src/a#b.py") && !covers("src/a"), "{future:?}");
    }
}

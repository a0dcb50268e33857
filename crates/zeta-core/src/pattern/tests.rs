//! Patterns as tables, and against an oracle that knows only texts and tries every path.

use super::index::{Head, Index, Owner, lines_of};
use super::*;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn path(text: &str) -> RepoPath<'_> {
    RepoPath::new(text).unwrap()
}

#[test]
fn a_pattern_covers_what_it_matches() {
    let table = [
        ("src", "src", true),
        ("src", "src/a/b.rs", false),
        ("src/", "src", true),
        ("src/", "src/a/b.rs", true),
        ("src/a.rs", "src/a.rs/x", false),
        ("src/a.rs/", "src/a.rs", true),
        ("src/a.rs/", "src/a.rs/x", true),
        ("src/a.rs/", "src/a.rsx", false),
        ("**/src", "src/a.rs", false),
        ("src/*", "src/a", true),
        ("src/*", "src/a/b.rs", false),
        ("src/**", "src", true),
        ("src", "src2/a", false),
        ("src/a.rs", "src", false),
        ("**", "a", true),
        ("**", "a/b", true),
        ("*", ".hidden", true),
        ("*/", ".hidden/x", true),
        ("*.rs", "src/a.rs", false),
        ("**/*.rs", "a.rs", true),
        ("**/*.rs", "src/deep/a.rs", true),
        ("**/*.rs", "src/deep/a.rc", false),
        ("src/**/tests/*.rs", "src/tests/a.rs", true),
        ("src/**/tests/*.rs", "src/a/tests/b/tests/c.rs", true),
        ("src/**/tests/*.rs", "src/a/test/c.rs", false),
        ("src/?.rs", "src/ü.rs", true),
        ("src/?.rs", "src/ab.rs", false),
        ("src/[a-c].rs", "src/b.rs", true),
        ("src/[!a-c].rs", "src/b.rs", false),
        ("src/[^a-c].rs", "src/d.rs", true),
        ("src/[]x].rs", "src/].rs", true),
        ("app/\\[slug\\]/page.tsx", "app/[slug]/page.tsx", true),
        ("app/[slug]/page.tsx", "app/[slug]/page.tsx", false),
        ("Src", "src", false),
        ("a*b*c", "abbc", true),
        ("a*b*c", "acb", false),
    ];
    for (text, name, wanted) in table {
        assert_eq!(pattern(text).covers(path(name)), wanted, "{text} {name}");
    }
}

#[test]
fn two_patterns_overlap_exactly_if_they_share_a_path() {
    let table = [
        ("src/**", "src/a.py", true),
        ("src", "src", true),
        ("src/", "src", true),
        ("src", "src/a.py", false),
        ("src/", "src/a.py", true),
        ("src/", "src/a.py/", true),
        ("src/a.py", "src/a.py/b", false),
        ("src/a.py/", "src/a.py/b", true),
        ("srcs/", "src/a.py", false),
        ("src/a.py", "src/b.py", false),
        ("src", "src2", false),
        ("**/*.rs", "src/a.py", false),
        ("**/*.rs", "src/a.py/", true),
        ("**/*.rs", "src/*.py", false),
        ("**/*.rs", "src/", true),
        ("**/*.rs", "src/*", true),
        ("*.rs", "*.py", false),
        ("**", "**", true),
        ("**/a", "a/**", true),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a", false),
        ("a/**/b", "a/", true),
        ("a/**/b", "c", false),
        ("a/**/b/**", "**/c", true),
        ("*.rs", "a.py", false),
        ("*.rs", "a.rs/b", false),
        ("*/b", "a.rs/b", true),
        ("[a-c]*", "[d-f]*", false),
        ("[a-c]*", "[c-f]*", true),
        ("a*", "*b", true),
        ("?", "??", false),
        ("docs/*/x", "docs/a/y", false),
        ("**/a/**/b", "b/**/c", false),
        ("**/a/**/b", "b/**", true),
        // Only '.' and '..' fit both, and no name is called so.
        ("?", "[.a]", true),
        ("[.b]", "[.a]", false),
        ("[.b][.b]", "[.a][.a]", false),
        ("[.b][.b][.b]", "[.a][.a][.a]", true),
    ];
    for (one, other, wanted) in table {
        assert_eq!(pattern(one).overlaps(&pattern(other)), wanted, "{one} {other}");
        assert_eq!(pattern(other).overlaps(&pattern(one)), wanted, "{other} {one}");
    }
}

#[test]
fn what_is_not_a_pattern_is_refused_with_what_would_be_right() {
    let long = format!("a/{}", "**/".repeat(4000));
    let deep = format!("{}a", "a/".repeat(64));
    let table = [
        ("", "1 to 1024 bytes"),
        (&long, "1 to 1024 bytes"),
        (&deep, "64 components"),
        ("/src", "absolute"),
        ("src/../x", "\"..\""),
        ("./src", "\".\""),
        ("src//x", "\"\""),
        ("a\0b", "control"),
        ("a\u{7f}", "control"),
        ("src/**.rs", "src/**/*.rs"),
        ("src/***", "alone"),
        ("src/{a,b}", "each path by itself"),
        ("src/a.py#main", "symbol"),
        ("!src", "excludes nothing"),
        ("src/[a", "class"),
        ("src/[]", "class"),
        ("src/[z-a]", "class"),
        ("src/[[:alpha:]]", "class"),
        ("src/[a/b]", "class"),
        ("src\\", "backslash"),
        ("src/[.]", "no name"),
        ("src/\\.\\.", "no name"),
    ];
    for (text, wanted) in table {
        let error = text.parse::<Pattern>().map(|p| p.to_string()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text:.40}: {error}");
    }
    for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0"] {
        assert_eq!(RepoPath::new(bad), Err(BadPath), "{bad}");
    }
}

#[test]
fn a_pattern_has_one_normal_form() {
    let repeated = "**/".repeat(300);
    let table = [
        ("src", "src"),
        ("src/", "src/"),
        ("src/**", "src/"),
        ("src/**/**/", "src/"),
        ("**/src/", "**/src/**"),
        ("**/**", "**"),
        ("\\[a\\]/**", "\\[a]/"),
        (repeated.as_str(), "**"),
        ("**/**/x", "**/x"),
        ("a*?*b", "a?*b"),
        ("[a]b", "ab"),
        ("[*]", "\\*"),
        ("\\!x", "\\!x"),
        ("\\a", "a"),
        ("x[cba]", "x[a-c]"),
        ("x[ba]", "x[ab]"),
        ("x[a-cb-e]", "x[a-e]"),
        ("x[^a]", "x[!a]"),
        ("x[-a]", "x[\\-a]"),
        ("x\\#y", "x\\#y"),
        ("x]}", "x]}"),
    ];
    for (text, wanted) in table {
        assert_eq!(pattern(text).to_string(), wanted, "{text}");
        assert_eq!(pattern(wanted), pattern(text), "{text}");
    }
    let odd = path("!a/[slug]/b*{#}\\?");
    let literal = Pattern::of_path(odd).unwrap();
    assert!(literal.covers(odd) && !literal.covers(path("!a/s/b*{#}\\?")));
    let deep = format!("{}a/", "a/".repeat(63));
    assert!(pattern(&deep).covers(path(&format!("{deep}b"))));
    assert!(pattern(&deep).overlaps(&pattern(&deep)) && pattern(&deep).to_string() == deep);
    assert_eq!(literal.literal_prefix().collect::<Vec<_>>(), ["!a", "[slug]", "b*{#}\\?"]);
    assert_eq!(pattern("src/a/*.rs").literal_prefix().count(), 2);
}

/// What the oracle thinks of one component and one name, by their characters alone.
fn oracle_name(pattern: &[char], name: &[char]) -> bool {
    let Some(first) = pattern.first() else { return name.is_empty() };
    let next = |rest: &[char]| !name.is_empty() && oracle_name(rest, &name[1..]);
    match first {
        '*' => oracle_name(&pattern[1..], name) || next(pattern),
        '?' => next(&pattern[1..]),
        '[' => {
            let end = pattern.iter().position(|c| *c == ']').unwrap();
            let (negated, set) = match pattern[1] {
                '!' => (true, &pattern[2..end]),
                _ => (false, &pattern[1..end]),
            };
            name.first().is_some_and(|c| set.contains(c) != negated) && next(&pattern[end + 1..])
        }
        plain => name.first() == Some(plain) && next(&pattern[1..]),
    }
}

fn oracle_path(pattern: &[Vec<char>], path: &[Vec<char>]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first[..] == ['*', '*'] => {
            oracle_path(rest, path) || (!path.is_empty() && oracle_path(pattern, &path[1..]))
        }
        (Some(_), None) | (None, Some(_)) => false,
        (Some((first, rest)), Some((name, below))) => {
            oracle_name(first, name) && oracle_path(rest, below)
        }
    }
}

/// A generator of numbers (splitmix64), so that a seed is a run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

fn chars(text: &str) -> Vec<Vec<char>> {
    text.split('/').map(|part| part.chars().collect()).collect()
}

/// Every pair of patterns must overlap exactly if one of `paths` is covered by both, and cover
/// exactly the paths that the oracle says.
fn compare_all(patterns: &[String], paths: &[String]) -> (usize, usize) {
    let split: Vec<_> = paths.iter().map(|path| chars(path)).collect();
    let mut covered: Vec<(Pattern, Vec<u64>)> = Vec::new();
    for text in patterns {
        let (read, mut parts) = (pattern(text), chars(text));
        // A slash at the end is all that lies below, too.
        if parts.last().is_some_and(Vec::is_empty) {
            *parts.last_mut().unwrap() = vec!['*', '*'];
        }
        assert_eq!(pattern(&read.to_string()), read, "{text}");
        let mut bits = vec![0_u64; paths.len().div_ceil(64)];
        for (at, name) in paths.iter().enumerate() {
            let wanted = oracle_path(&parts, &split[at]);
            assert_eq!(read.covers(path(name)), wanted, "{text} {name}");
            bits[at / 64] |= u64::from(wanted) << (at % 64);
        }
        covered.push((read, bits));
    }
    let claim = |pattern: &Pattern| PathClaim::new(Mode::Exclusive, vec![pattern.clone()]);
    let id = |at: usize| format!("{at:024}");
    let lines: String = covered
        .iter()
        .enumerate()
        .map(|(at, (pattern, _))| lines_of(&id(at), &claim(pattern), false))
        .collect();
    let owner = Owner { directory: (1, 2), ctime_ns: 3, boot_id: "b".into() };
    let mut head = Head::anew(4);
    head.append(&lines);
    let text = format!("{}{lines}", head.render(&owner));
    let index = Index::read(text.as_bytes(), &owner).unwrap();
    let (mut pairs, mut overlapping) = (0, 0);
    for (one, bits) in &covered {
        let named = index.excluded_by(&claim(one));
        let mut named = named.iter().map(|id| id.parse::<usize>().unwrap()).peekable();
        for (at, (other, others)) in covered.iter().enumerate() {
            let wanted = bits.iter().zip(others).any(|(a, b)| a & b != 0);
            assert_eq!(one.overlaps(other), wanted, "{one} {other}");
            assert_eq!(named.next_if_eq(&at).is_some(), wanted, "the index on {one} {other}");
            (pairs, overlapping) = (pairs + 1, overlapping + usize::from(wanted));
        }
    }
    (pairs, overlapping)
}

fn seed() -> u64 {
    let seed = std::collections::hash_map::RandomState::new();
    std::hash::BuildHasher::hash_one(&seed, 0_u8)
}

#[test]
fn names_agree_with_every_name_that_could_be_tried() {
    let seed = seed();
    println!("seed {seed}");
    let mut random = Random(seed);
    let letters = ["a", "b", ".", "c"];
    let mut names = vec![String::new()];
    for from in 0.. {
        if names[from].len() == 5 {
            break;
        }
        for letter in letters {
            names.push(format!("{}{letter}", names[from]));
        }
    }
    names.retain(|name| !matches!(name.as_str(), "" | "." | ".."));
    let atoms = ["a", "b", ".", "?", "[ab]", "[.b]", "[!a]", "[!.b]"];
    let mut patterns = Vec::new();
    while patterns.len() < 350 {
        // At most two characters each, so that a shared name is short enough to be tried.
        let mut text = String::new();
        for _ in 0..=random.below(2) {
            text.push_str(if random.below(2) == 0 { "*" } else { "" });
            text.push_str(random.of(&atoms));
        }
        text.push_str(if random.below(2) == 0 { "*" } else { "" });
        match text.parse::<Pattern>() {
            Ok(_) => patterns.push(text),
            Err(PatternError::Nothing(_) | PatternError::Component(_)) => {}
            Err(PatternError::DoubleStar) => {}
            Err(error) => panic!("{text}: {error}"),
        }
    }
    let (pairs, overlapping) = compare_all(&patterns, &names);
    println!("{pairs} pairs, {overlapping} overlap");
    assert!(pairs > 100_000 && overlapping > pairs / 20 && overlapping < pairs * 19 / 20);
}

#[test]
fn patterns_agree_with_every_path_of_a_tree() {
    let seed = seed();
    println!("seed {seed}");
    let mut random = Random(seed);
    let names = ["a", "b", "c", "ab", "ba", "aa", "bb"];
    let mut paths: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    for from in 0.. {
        if paths[from].matches('/').count() == 3 {
            break;
        }
        for name in names {
            paths.push(format!("{}/{name}", paths[from]));
        }
    }
    // Two of these share a name of the tree, or none.
    let parts = ["a", "b", "ab", "?", "*", "a*", "*b", "[ab]", "[!a]", "[!a]*", "??"];
    let mut patterns = Vec::new();
    while patterns.len() < 350 {
        let mut text = String::new();
        for _ in 0..=random.below(2) {
            text.push_str(if random.below(3) == 0 { "**/" } else { "" });
            text.push_str(random.of(&parts));
            text.push('/');
        }
        match random.below(4) {
            0 => text.push_str("**"),
            1 => {}
            _ => text.truncate(text.len() - 1),
        }
        patterns.push(text);
    }
    let (pairs, overlapping) = compare_all(&patterns, &paths);
    println!("{pairs} pairs, {overlapping} overlap");
    assert!(pairs > 100_000 && overlapping > pairs / 20 && overlapping < pairs * 19 / 20);
}

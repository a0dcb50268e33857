//! One component of a pattern: what stands between two slashes.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::PatternError;

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Component {
    /// `**`: any number of components.
    AnyDepth,
    /// One name.
    Literal(String),
    /// Names that follow a rule.
    Glob(Vec<Atom>),
}

/// One step of a glob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Atom {
    /// `*`
    Star,
    /// `?`
    Any,
    /// One character, as a range.
    Plain([(char, char); 1]),
    /// One character of a set of several: ranges in order, with gaps between them.
    Class(Vec<(char, char)>),
}

impl Atom {
    fn plain(c: char) -> Atom {
        Atom::Plain([(c, c)])
    }

    /// The characters of which it is one; `None` for a star.
    fn set(&self) -> Option<&[(char, char)]> {
        match self {
            Atom::Star => None,
            Atom::Any => Some(&ANY),
            Atom::Plain(set) => Some(set),
            Atom::Class(set) => Some(set),
        }
    }
}

/// Every character of a name; NUL and `/` are none.
const ANY: [(char, char); 2] = [('\u{1}', '.'), ('0', char::MAX)];
/// Characters with a meaning, within a class or outside of it.
const SPECIAL: &str = "\\*?[]{}#!^-";

impl Component {
    /// Returns whether it stands for one name.
    pub(super) fn is_literal(&self) -> bool {
        matches!(self, Component::Literal(_))
    }

    /// Returns whether the text of the component begins with `first` as a plain character.
    pub(super) fn begins_with(&self, first: char) -> bool {
        match self {
            Component::AnyDepth => false,
            Component::Literal(name) => name.starts_with(first),
            Component::Glob(atoms) => atoms.first() == Some(&Atom::plain(first)),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::AnyDepth => f.write_str("**"),
            Component::Literal(name) => name.chars().try_for_each(|c| write_plain(f, c)),
            Component::Glob(atoms) => atoms.iter().try_for_each(|atom| match atom {
                Atom::Star => f.write_str("*"),
                Atom::Any => f.write_str("?"),
                Atom::Plain([(one, _)]) => write_plain(f, *one),
                Atom::Class(set) => write_class(f, set),
            }),
        }
    }
}

fn write_plain(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match matches!(c, '\\' | '*' | '?' | '[' | '{' | '#') {
        true => write!(f, "\\{c}"),
        false => write!(f, "{c}"),
    }
}

/// Writes a set as it can be read: what is not in it, if it has what no class can name.
fn write_class(f: &mut fmt::Formatter<'_>, set: &[(char, char)]) -> fmt::Result {
    let negated = set.first().is_some_and(|(first, _)| *first == '\u{1}');
    let shown = if negated { complement(set) } else { set.to_vec() };
    f.write_str(if negated { "[!" } else { "[" })?;
    let one = |f: &mut fmt::Formatter<'_>, c| match SPECIAL.contains(c) {
        true => write!(f, "\\{c}"),
        false => write!(f, "{c}"),
    };
    for (first, last) in shown {
        one(f, first)?;
        if first < last {
            if after(first) != Some(last) {
                f.write_str("-")?;
            }
            one(f, last)?;
        }
    }
    f.write_str("]")
}

pub(super) fn parse_component(text: &str) -> Result<Component, PatternError> {
    if matches!(text, "" | "." | "..") {
        return Err(PatternError::Component(text.to_owned()));
    }
    if text == "**" {
        return Ok(Component::AnyDepth);
    }
    let mut atoms = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let atom = match c {
            '*' if rest.peek() == Some(&'*') => return Err(PatternError::DoubleStar),
            '*' => Atom::Star,
            '?' => Atom::Any,
            '[' => parse_class(&mut rest).ok_or_else(|| PatternError::Class(text.to_owned()))?,
            '\\' => rest.next().map(Atom::plain).ok_or(PatternError::Escape)?,
            '{' => return Err(PatternError::Brace),
            '#' => return Err(PatternError::Symbol),
            c => Atom::plain(c),
        };
        match atoms.as_slice() {
            // `*?` means the same as `?*`.
            [.., Atom::Star] if atom == Atom::Any => {
                let star = atoms.len() - 1;
                atoms.insert(star, atom);
            }
            [.., Atom::Star] if atom == Atom::Star => {}
            _ => atoms.push(atom),
        }
    }
    match literal(&atoms) {
        Some(name) if is_name(&name) => Ok(Component::Literal(name)),
        Some(_) => Err(PatternError::Nothing(text.to_owned())),
        // A star or a class gives a name other than '.' and '..', too.
        None => Ok(Component::Glob(atoms)),
    }
}

/// The name that the atoms stand for, if it is one.
fn literal(atoms: &[Atom]) -> Option<String> {
    let one = |atom: &Atom| match atom {
        Atom::Plain([(c, _)]) => Some(*c),
        _ => None,
    };
    atoms.iter().map(one).collect()
}

/// Reads a class behind its `[`; `None` if it is not one.
fn parse_class(rest: &mut Peekable<Chars<'_>>) -> Option<Atom> {
    let negated = rest.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next()? {
            ']' if !ranges.is_empty() => break,
            '[' if matches!(rest.peek(), Some(':' | '.' | '=')) => return None,
            '\\' => rest.next()?,
            c => c,
        };
        let mut ahead = rest.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                *rest = ahead;
                if last == '\\' { rest.next()? } else { last }
            }
            _ => first,
        };
        if first > last {
            return None;
        }
        ranges.push((first, last));
    }
    let set = in_order(ranges);
    let set = if negated { complement(&set) } else { intersection(&set, &ANY).collect() };
    Some(match set[..] {
        [(one, last)] if one == last => Atom::plain(one),
        _ => Atom::Class(set),
    })
}

/// Sorts ranges and joins those that touch.
fn in_order(mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    ranges.sort_unstable();
    let mut joined: Vec<(char, char)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= *end || after(*end) == Some(first) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn after(c: char) -> Option<char> {
    (c..=char::MAX).nth(1)
}

fn before(c: char) -> Option<char> {
    ('\0'..=c).nth_back(1)
}

/// Every character of a name that is not in the set.
fn complement(set: &[(char, char)]) -> Vec<(char, char)> {
    let mut gaps = Vec::with_capacity(set.len() + 1);
    let mut from = Some('\u{1}');
    for (first, last) in set {
        if let (Some(start), Some(end)) = (from, before(*first))
            && start <= end
        {
            gaps.push((start, end));
        }
        from = after(*last);
    }
    gaps.extend(from.map(|start| (start, char::MAX)));
    intersection(&gaps, &ANY).collect()
}

/// What two sets share, as ranges in order.
fn intersection<'a>(
    one: &'a [(char, char)],
    other: &'a [(char, char)],
) -> impl Iterator<Item = (char, char)> + 'a {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        loop {
            let (a, b) = (one.get(i)?, other.get(j)?);
            match a.1 < b.1 {
                true => i += 1,
                false => j += 1,
            }
            let shared = (a.0.max(b.0), a.1.min(b.1));
            if shared.0 <= shared.1 {
                return Some(shared);
            }
        }
    })
}

/// Returns whether a component stands for `name`; `**` does not stand for one.
pub(super) fn component_matches(component: &Component, name: &str) -> bool {
    let atoms = match component {
        Component::AnyDepth => return false,
        Component::Literal(literal) => return literal == name,
        Component::Glob(atoms) => atoms,
    };
    // Most names that do not fit differ at their end.
    if let (Some(Some(set)), Some(last)) = (atoms.last().map(Atom::set), name.chars().next_back())
        && !contains(set, last)
    {
        return false;
    }
    // After a star that matched, no earlier one has to be tried again.
    let mut resume: Option<(usize, Chars<'_>)> = None;
    let (mut at, mut rest) = (0, name.chars());
    loop {
        let here = rest.clone();
        match (atoms.get(at).map(Atom::set), rest.next()) {
            (None, None) => return true,
            (Some(None), _) => {
                at += 1;
                rest = here;
                resume = Some((at, rest.clone()));
            }
            (Some(Some(set)), Some(c)) if contains(set, c) => at += 1,
            _ => {
                let Some((after, next)) = &mut resume else { return false };
                if next.next().is_none() {
                    return false;
                }
                (at, rest) = (*after, next.clone());
            }
        }
    }
}

fn contains(set: &[(char, char)], c: char) -> bool {
    set.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Returns whether one name fits two components, neither of which is `**`.
pub(super) fn components_overlap(one: &Component, other: &Component) -> bool {
    match (one, other) {
        (Component::Literal(one), other) => component_matches(other, one) && is_name(one),
        (one, Component::Literal(other)) => component_matches(one, other) && is_name(other),
        (Component::Glob(one), Component::Glob(other)) => globs_overlap(one, other),
        (Component::AnyDepth, _) | (_, Component::AnyDepth) => true,
    }
}

fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
}

/// What was read so far is nothing, `.`, `..`, or the beginning of a name: one bit each.
const NAME: u8 = 0b1000;

/// The bits after one more character: a dot, another one, or either.
fn step(read: u8, (dot, other): (bool, bool)) -> u8 {
    let by_dot = ((read << 1) & 0b1110) | (read & NAME);
    let by_other = if read == 0 { 0 } else { NAME };
    (if dot { by_dot } else { 0 }) | (if other { by_other } else { 0 })
}

/// Walks through both globs at once. A field of the table says what can have been read when the
/// first i steps of one and j of the other are done.
fn globs_overlap(one: &[Atom], other: &[Atom]) -> bool {
    let apart = |a: Option<&Atom>, b: Option<&Atom>| match (a.map(Atom::set), b.map(Atom::set)) {
        (Some(Some(a)), Some(Some(b))) => intersection(a, b).next().is_none(),
        _ => false,
    };
    if apart(one.first(), other.first()) || apart(one.last(), other.last()) {
        return false;
    }
    let mut row = vec![0_u8; other.len() + 1];
    let mut next = row.clone();
    row[0] = 1;
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            let mut read = row[j];
            if read == 0 {
                continue;
            }
            // Each is at its end, at a star, or at one character.
            let (a, b) = (one.get(i).map(Atom::set), other.get(j).map(Atom::set));
            match (a, b) {
                // Both stay for as long as they like, and after a name all is a name.
                (Some(None), Some(None)) => read |= NAME,
                (Some(Some(set)), Some(None)) => next[j] |= step(read, shared(set, &ANY)),
                (Some(None), Some(Some(set))) => row[j + 1] |= step(read, shared(set, &ANY)),
                (Some(Some(set)), Some(Some(beside))) => {
                    next[j + 1] |= step(read, shared(set, beside));
                }
                (None, _) | (_, None) => {}
            }
            // A star may end here.
            if a == Some(None) {
                next[j] |= read;
            }
            if b == Some(None) {
                row[j + 1] |= read;
            }
            row[j] = read;
        }
        if i < one.len() {
            std::mem::swap(&mut row, &mut next);
            next.fill(0);
        }
    }
    row[other.len()] & NAME != 0
}

/// Whether two sets share a dot, and whether they share another character.
fn shared(one: &[(char, char)], other: &[(char, char)]) -> (bool, bool) {
    intersection(one, other).fold((false, false), |(dot, rest), (first, last)| {
        let has_dot = (first..=last).contains(&'.');
        (dot || has_dot, rest || first != '.' || last != '.')
    })
}

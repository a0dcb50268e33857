//! Patterns of paths, as claims name them: which paths one covers, and whether two share a path.
//!
//! A pattern is read from the root of its repository: components between slashes, in which `*`
//! stands for any characters, `?` for one and `[a-z]` for one of a class; `**` alone between
//! slashes stands for any number of components, also none. A pattern covers what it matches and
//! nothing below; a `/` at its end is short for `/**`. `\` takes the meaning from the character
//! behind it. A pattern without a wildcard, but for a `/` at its end, is a path: what is on disk
//! when it is claimed decides on that slash.
//!
//! [`Pattern::overlaps`] is exact: it is true if and only if there is a path that both cover. The
//! work is bounded by the product of the two lengths.

mod claim;
mod component;
pub mod index;

#[cfg(test)]
mod tests;

pub use claim::{CLAIM_MAX, Mode, PATTERNS_MAX, PathClaim};

use std::fmt;
use std::str::{FromStr, Split};

use self::component::{Component, component_matches, components_overlap, parse_component};

/// Most bytes of a pattern, so that several fit into the record of a lease.
pub const PATTERN_MAX: usize = 1024;
/// Most components of a pattern.
pub const COMPONENTS_MAX: usize = 64;
/// Most bytes of a path, as the kernel has it.
pub const PATH_MAX: usize = 4096;

/// A text that is not a pattern, with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing, or too much.
    #[error("a pattern has 1 to {PATTERN_MAX} bytes and at most {COMPONENTS_MAX} components")]
    Size,
    /// It begins with a slash.
    #[error("it is absolute: write it from the root of the repository, as in src/**")]
    Absolute,
    /// `..`, `.` or nothing between slashes.
    #[error("it has the component {0:?}: write each path without '.', '..' and double slashes")]
    Component(String),
    /// A character that no pattern names.
    #[error("it has the control character {0:?}")]
    Control(char),
    /// `**` beside other characters.
    #[error("'**' stands alone between slashes: write src/**/*.rs, not src/**.rs")]
    DoubleStar,
    /// Braces.
    #[error("braces are not alternatives here: give each path by itself, and write '\\{{' for one")]
    Brace,
    /// A symbol of a file.
    #[error("'#' begins the name of a symbol, which is reserved: claim the file, and write '\\#'")]
    Symbol,
    /// A negation, as in a list of ignored files.
    #[error("'!' at its beginning excludes nothing here: write '\\!' if the name begins with it")]
    Negation,
    /// A class without an end, with a slash, a named class, or a range from high to low.
    #[error("a class is written as [a-z], [!a-z] or []x], without '/' and '[:': see {0:?}")]
    Class(String),
    /// A backslash at its end.
    #[error("a backslash stands before the character that it means")]
    Escape,
    /// A component that only `.` or `..` could match.
    #[error("no name matches its component {0:?}")]
    Nothing(String),
}

/// A text that is not a path within a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a path within a repository: write 1 to {PATH_MAX} bytes from its root, without '.', '..', \
     double slashes and a slash at either end"
)]
pub struct BadPath;

/// A path within a repository, from its root: components between single slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoPath<'a>(&'a str);

impl<'a> RepoPath<'a> {
    /// Checks a path. It is a name, not a pattern: `*` in it is a star.
    ///
    /// # Errors
    /// [`BadPath`] if it could lie outside of the repository or has another spelling.
    pub fn new(path: &'a str) -> Result<RepoPath<'a>, BadPath> {
        let plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
        match path.len() <= PATH_MAX && path.split('/').all(plain) {
            true => Ok(RepoPath(path)),
            false => Err(BadPath),
        }
    }

    /// The path as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A pattern in its normal form: no two `**` in a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Vec<Component>);

impl Pattern {
    /// The pattern of every path: `**`.
    pub fn everything() -> Pattern {
        Pattern(vec![Component::AnyDepth])
    }

    /// The pattern of one path, and of nothing below it.
    ///
    /// # Errors
    /// As for a text, if the path is longer than a pattern or has a control character.
    pub fn of_path(path: RepoPath<'_>) -> Result<Pattern, PatternError> {
        let names = path.0.split('/').map(|name| Component::Literal(name.to_owned()));
        Pattern(names.collect()).to_string().parse()
    }

    /// Returns whether the pattern is of one path, and of nothing below it.
    pub fn is_exact(&self) -> bool {
        self.0.iter().all(Component::is_literal)
    }

    /// The pattern without the slash that a path has at its end.
    fn named(&self) -> &[Component] {
        match self.0.split_last() {
            Some((Component::AnyDepth, path))
                if !path.is_empty() && path.iter().all(Component::is_literal) =>
            {
                path
            }
            _ => &self.0,
        }
    }

    /// Returns whether the pattern matches `path`.
    pub fn covers(&self, path: RepoPath<'_>) -> bool {
        // Most paths that are not covered differ at their end.
        if let (Some(end), Some(name)) = (self.0.last(), path.0.rsplit('/').next())
            && *end != Component::AnyDepth
            && !component_matches(end, name)
        {
            return false;
        }
        // The place behind the last `**`, and the names that the rest is tried on.
        let mut resume: Option<(usize, Split<'_, char>)> = None;
        let (mut at, mut rest) = (0, path.0.split('/'));
        loop {
            let here = rest.clone();
            match (self.0.get(at), rest.next()) {
                (None, None) => return true,
                (Some(Component::AnyDepth), _) => {
                    at += 1;
                    rest = here;
                    resume = Some((at, rest.clone()));
                }
                (Some(component), Some(name)) if component_matches(component, name) => at += 1,
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

    /// Returns whether there is a path that both patterns cover.
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let (one, other) = (&self.0, &other.0);
        // Bit j of `row`: the first components of one, and the first j of the other, can match the
        // same names.
        let mut row: u128 = 1;
        for component in one {
            let mut next: u128 = 0;
            for (at, beside) in other.iter().enumerate() {
                if row & (1 << at) == 0 {
                    continue;
                }
                match (component, beside) {
                    // A `**` takes the name of the other one, or ends.
                    (Component::AnyDepth, _) | (_, Component::AnyDepth) => {
                        row |= 1 << (at + 1);
                        next |= 1 << at;
                    }
                    (component, beside) if components_overlap(component, beside) => {
                        next |= 1 << (at + 1);
                    }
                    _ => {}
                }
            }
            if *component == Component::AnyDepth {
                next |= row & (1 << other.len());
            }
            row = next;
        }
        if other.last() == Some(&Component::AnyDepth) {
            row |= row << 1;
        }
        row & (1 << other.len()) != 0
    }

    /// Returns the components at the beginning that stand for one name each.
    pub fn literal_prefix(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map_while(|component| match component {
            Component::Literal(name) => Some(name.as_str()),
            Component::Glob(_) | Component::AnyDepth => None,
        })
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() || text.len() > PATTERN_MAX {
            return Err(PatternError::Size);
        }
        if text.starts_with('/') {
            return Err(PatternError::Absolute);
        }
        if text.starts_with('!') {
            return Err(PatternError::Negation);
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(PatternError::Control(control));
        }
        let above = text.strip_suffix('/');
        let mut components = Vec::new();
        for part in above.unwrap_or(text).split('/') {
            let component = parse_component(part)?;
            let repeated =
                component == Component::AnyDepth && components.last() == Some(&component);
            if !repeated {
                components.push(component);
            }
            if components.len() > COMPONENTS_MAX {
                return Err(PatternError::Size);
            }
        }
        if above.is_some() && components.last() != Some(&Component::AnyDepth) {
            components.push(Component::AnyDepth);
        }
        let pattern = Pattern(components);
        // The normal form of a class may be longer, by backslashes.
        match text.contains('[') && pattern.to_string().len() > PATTERN_MAX {
            true => Err(PatternError::Size),
            false => Ok(pattern),
        }
    }
}

impl fmt::Display for Pattern {
    /// The normal form, which reads back as the same pattern.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.named();
        for (at, component) in shown.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            // At the very beginning `!` has a meaning.
            if at == 0 && component.begins_with('!') {
                f.write_str("\\")?;
            }
            component.fmt(f)?;
        }
        f.write_str(if shown.len() < self.0.len() { "/" } else { "" })
    }
}

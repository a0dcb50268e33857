//! A file of an operator, and the line of each of its values.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use zeta_core::name::Label;
use zeta_core::time::parse_duration;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;

/// Longest file, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// A file and its text.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    text: String,
}

impl Source {
    /// Reads a file; an error names it.
    pub(super) fn read(path: &Path) -> Result<Source> {
        let wrong = |why: String| Error::new(Kind::Unsafe, format!("{}: {why}", path.display()));
        let bytes = read_plain(path, BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
        let text =
            String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text".to_owned()))?;
        Ok(Source { path: path.to_owned(), text })
    }

    #[cfg(test)]
    pub(super) fn of(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    /// Reads the keys.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            self.wrong(&error.span().unwrap_or_default(), message)
        })
    }

    /// The file and the line of a value, as `posts.toml:3`.
    pub(super) fn at(&self, span: &Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        format!("{}:{}", self.path.display(), 1 + before.matches('\n').count())
    }

    pub(super) fn wrong(&self, span: &Range<usize>, why: impl std::fmt::Display) -> Error {
        Error::new(Kind::Unsafe, format!("{}: {why}", self.at(span)))
    }

    pub(super) fn label(&self, kind: &'static str, value: &Spanned<String>) -> Result<Label> {
        Label::new(kind, value.get_ref()).map_err(|error| self.wrong(&value.span(), error))
    }

    pub(super) fn labels(
        &self,
        kind: &'static str,
        values: &[Spanned<String>],
    ) -> Result<Vec<Label>> {
        values.iter().map(|value| self.label(kind, value)).collect()
    }

    /// Reads a path that does not depend on where a program runs.
    pub(super) fn absolute(&self, key: &'static str, path: &Spanned<PathBuf>) -> Result<PathBuf> {
        match path.get_ref().is_absolute() {
            true => Ok(path.get_ref().clone()),
            false => Err(self.wrong(&path.span(), format!("{key}: give an absolute path"))),
        }
    }

    /// Reads a duration, in ms.
    pub(super) fn time(&self, key: &'static str, value: &Spanned<String>) -> Result<u64> {
        parse_duration(key, value.get_ref()).map_err(|error| self.wrong(&value.span(), error))
    }

    /// Reads a time that must not be zero, in ms.
    pub(super) fn above_zero(
        &self,
        key: &'static str,
        value: &Option<Spanned<String>>,
        default: u64,
    ) -> Result<u64> {
        let Some(value) = value else { return Ok(default) };
        match self.time(key, value)? {
            0 => Err(self.wrong(&value.span(), format!("{key} must be longer than nothing"))),
            ms => Ok(ms),
        }
    }
}

//! The manifest of the operator: TOML, read whole or refused with the file and the line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use zeta_core::install::key::{self, KEYS, Setting, Unset};
use zeta_core::install::manifest::SCHEMA;
use zeta_core::stick::manifest::digest;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;

/// Longest manifest, in bytes.
const LEN_MAX: u64 = 1 << 20;

/// A manifest that was read.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its file.
    pub path: PathBuf,
    /// The SHA-256 of its bytes.
    pub digest: String,
    /// Its values.
    pub values: zeta_core::install::Manifest,
    /// What counts for each key.
    pub settings: Vec<Setting>,
}

/// The text, and where the value of each key is in it.
struct Source<'t> {
    path: &'t Path,
    text: &'t str,
    values: BTreeMap<String, Range<usize>>,
}

impl Source<'_> {
    fn wrong(&self, at: usize, why: impl std::fmt::Display) -> Error {
        let line = 1 + self.text.get(..at).unwrap_or_default().matches('\n').count();
        Error::new(Kind::Unsafe, format!("{}:{line}: {why}", self.path.display()))
    }

    /// Where a key is, or the first key of the nearest table around it.
    fn place(&self, path: &str) -> usize {
        let under = |table: &str| {
            let mut keys = self.values.iter();
            keys.find(|(key, _)| key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.')))
        };
        let mut tables =
            path.match_indices('.').filter_map(|(at, _)| path.get(..at)).collect::<Vec<_>>();
        tables.push(path);
        let found = tables.into_iter().rev().find_map(under).map(|(_, span)| span);
        self.values.get(path).or(found).map_or(0, |span| span.start)
    }

    /// Notes each key of a table; the first one that is not known is an error.
    fn walk(&mut self, above: &str, table: &DeTable<'_>) -> Result<()> {
        for (name, value) in table {
            let path = match above {
                "" => name.get_ref().to_string(),
                above => format!("{above}.{}", name.get_ref()),
            };
            if !key::is_known(&path) {
                let at = name.span().start;
                let error = self.wrong(at, format!("the key {path:?} is not known"));
                return Err(match nearest(&path) {
                    Some(near) => error.hint(format!("the nearest key is {near}")),
                    None => error,
                });
            }
            match value.get_ref() {
                DeValue::Table(inner) => self.walk(&path, inner)?,
                _ => {
                    self.values.insert(path, value.span());
                }
            }
        }
        Ok(())
    }
}

/// The known key, or table, that is most like one that is not known.
fn nearest(path: &str) -> Option<String> {
    // To compare a text with all keys takes time for each of its letters.
    if path.len() > 2 * KEYS.iter().map(|key| key.path.len()).max()? {
        return None;
    }
    let depth = path.split('.').count();
    let cut = |key: &str| key.split('.').take(depth).collect::<Vec<_>>().join(".");
    let all = KEYS.iter().flat_map(|key| [key.path.to_owned(), cut(key.path)]);
    let scored = all.map(|known| (strsim::damerau_levenshtein(&known, path), known));
    let best = scored.min()?;
    (best.0 <= path.len() / 2).then_some(best.1)
}

/// Reads a manifest.
///
/// # Errors
/// It cannot be read, is of another version, has a key that is not known or a value that is wrong.
pub fn read(path: &Path) -> Result<Manifest> {
    let unread = |why: String| Error::new(Kind::Unsafe, format!("{}: {why}", path.display()));
    let bytes = read_plain(path, LEN_MAX).map_err(|error| unread(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unread("it is not UTF-8 text".into()))?;
    let mut manifest = parse(path, text)?;
    manifest.digest = digest(&bytes);
    Ok(manifest)
}

fn parse(path: &Path, text: &str) -> Result<Manifest> {
    let mut source = Source { path, text, values: BTreeMap::new() };
    let of_toml = |source: &Source<'_>, error: toml::de::Error| {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        source.wrong(error.span().map_or(0, |span| span.start), message)
    };
    let table = DeTable::parse(text).map_err(|error| of_toml(&source, error))?;
    // The version comes first: another one may have other keys.
    let schema = table.get_ref().get("schema");
    let is_known = |value: &toml::Spanned<DeValue<'_>>| {
        text.get(value.span()).is_some_and(|text| text == SCHEMA.to_string())
    };
    if let Some(value) = schema.filter(|value| !is_known(value)) {
        let given = text.get(value.span()).unwrap_or_default();
        let why = format!("it is of version {given}, and this program reads version {SCHEMA}");
        return Err(source.wrong(value.span().start, why));
    }
    source.walk("", table.get_ref())?;
    let given =
        |path: &str| Some(text.get(source.values.get(path)?.clone()).unwrap_or_default().into());
    let settings = key::settings(given);
    let missing = settings.iter().filter(|setting| setting.given.is_none());
    if let Some((key, why)) = missing.clone().find_map(|setting| match setting.key.unset {
        Unset::Refused(why) => Some((setting.key.path, why)),
        _ => None,
    }) {
        let why = format!("{}: the key {key} is not set: {why}", path.display());
        return Err(Error::new(Kind::Unsafe, why));
    }
    let values: zeta_core::install::Manifest =
        toml::from_str(text).map_err(|error| of_toml(&source, error))?;
    if let Some(problem) = values.problems().first() {
        return Err(
            source.wrong(source.place(problem.key), format!("{}: {}", problem.key, problem.text))
        );
    }
    Ok(Manifest { path: path.to_owned(), digest: String::new(), values, settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"schema = 1
[ace]
source = "/srv/nodes"
[ace.disks]
boot = "auto"
data = "none"
wipe_strategy = "full"
[ace.initial_password]
source = "generate"
"#;

    fn error(from: &str, to: &str) -> (String, Vec<String>) {
        assert!(GOOD.contains(from), "{from}");
        let error = parse(Path::new("m.toml"), &GOOD.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.kind, Kind::Unsafe);
        let hints = error.hints.iter().map(|hint| hint.as_str().to_owned()).collect();
        (error.text, hints)
    }

    #[test]
    fn a_fault_is_named_with_its_line_and_the_nearest_key() {
        let read = parse(Path::new("m.toml"), GOOD).unwrap();
        let unset = read.settings.iter().filter(|setting| setting.given.is_none()).count();
        assert_eq!(unset + 6, read.settings.len());
        for (from, to, text, hint) in [
            ("boot =", "boott =", "m.toml:5: the key \"ace.disks.boott\"", "ace.disks.boot"),
            ("[ace.disks]", "[ace.disk]", "m.toml:4: the key \"ace.disk\"", "ace.disks"),
            ("[ace]", "[ac]", "m.toml:2: the key \"ac\"", "ace"),
            (
                "\"generate\"",
                "\"generate\"\nenviron = \"P\"",
                "m.toml:10: ",
                "initial_password.env",
            ),
        ] {
            let (error, hints) = error(from, to);
            assert!(error.contains(text), "{error}");
            assert!(hints.iter().any(|known| known.ends_with(hint)), "{to}: {hints:?}");
        }
        for (from, to, text) in [
            ("schema = 1", "schema = 2", "m.toml:1: it is of version 2, and this program reads"),
            ("schema = 1", "", "m.toml: the key schema is not set"),
            ("data = \"none\"", "", "the key ace.disks.data is not set"),
            ("boot = \"auto\"", "", "the key ace.disks.boot is not set: this disk is wiped"),
            ("wipe_strategy = \"full\"", "", "the key ace.disks.wipe_strategy is not set"),
            ("source = \"generate\"", "", "the key ace.initial_password.source is not set"),
            ("source = \"/srv/nodes\"", "", "the key ace.source is not set"),
            ("\"full\"", "\"fully\"", "m.toml:7: unknown variant `fully`"),
            ("\"generate\"", "\"env\"", "m.toml:9: ace.initial_password.env: the source env"),
            ("schema = 1", "schema = 1\nschema = 1", "m.toml:2: duplicate key"),
            ("schema = 1", "schema", "m.toml:1: "),
        ] {
            let (error, _) = error(from, to);
            assert!(error.contains(text), "{to}: {error}");
        }
    }
}

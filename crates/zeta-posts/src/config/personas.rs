//! A file for each persona, in the order of their names.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use zeta_core::name::Label;
use zeta_core::schedule::Tier;
use zeta_core::schedule::policy::{PERSONAS_MAX, Persona, Problem};
use zeta_os::error::{Error, Kind, Result};

use super::source::Source;

/// The end of the name of a file.
const SUFFIX: &str = ".toml";

/// Where a persona works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The repository of which it has a worktree; without it, that of the posts, and without one it
    /// works in a plain directory of its own.
    pub repository: Option<PathBuf>,
    /// What it is asked at each tick; without it, what the posts ask all.
    pub prompt: Option<String>,
}

/// A list of names, each with its place in the file.
type List = Option<Spanned<Vec<Spanned<String>>>>;

/// A persona as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Option<Spanned<String>>,
    like: Option<Spanned<String>>,
    #[serde(alias = "modelLines", alias = "model_lines")]
    lines: List,
    harnesses: List,
    #[serde(alias = "minTier")]
    min_tier: Option<Spanned<Tier>>,
    repository: Option<Spanned<PathBuf>>,
    prompt: Option<String>,
}

/// A persona that was read, and the lines of its values.
#[derive(Debug, Clone)]
pub(super) struct Read {
    source: Source,
    raw: Raw,
    pub(super) persona: Persona,
    place: Place,
}

impl Read {
    pub(super) fn into_parts(self) -> (Persona, Place) {
        (self.persona, self.place)
    }

    /// The file and the line that a problem is about.
    pub(super) fn at(&self, problem: &Problem) -> String {
        let list = |list: &List| list.as_ref().map(Spanned::span);
        let entry = |list: &List, name: &Label| {
            let mut entries = list.as_ref().map(Spanned::get_ref).into_iter().flatten().rev();
            entries.find(|entry| entry.get_ref() == name.as_str()).map(Spanned::span)
        };
        let span: Option<Range<usize>> = match problem {
            Problem::UnknownLine { line, .. } => entry(&self.raw.lines, line),
            Problem::Repeated { name, .. } => {
                entry(&self.raw.lines, name).or_else(|| entry(&self.raw.harnesses, name))
            }
            Problem::NothingFits(_) => list(&self.raw.lines),
            Problem::Twice(_) | Problem::LongName { .. } | Problem::NameOfAgent { .. } => {
                self.raw.name.as_ref().map(Spanned::span)
            }
            _ => None,
        };
        self.source.at(&span.unwrap_or_default())
    }
}

/// Reads all files of a directory. One that is not there has no persona.
///
/// # Errors
/// The first file that is wrong, with its line.
pub(super) fn read_all(dir: &Path) -> Result<Vec<Read>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::new(Kind::Unsafe, format!("{}: {error}", dir.display())));
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.ends_with(SUFFIX) && !name.starts_with('.')
        })
        .collect();
    files.sort();
    if files.len() > PERSONAS_MAX {
        let text = format!("{}: {}", dir.display(), Problem::ManyPersonas(files.len()));
        return Err(Error::new(Kind::Unsafe, text));
    }
    let sources = files.iter().map(|path| Source::read(path));
    resolve(sources.collect::<Result<Vec<_>>>()?)
}

/// Makes personas of files.
pub(super) fn resolve(sources: Vec<Source>) -> Result<Vec<Read>> {
    let mut raws: Vec<(Source, Label, Raw)> = Vec::new();
    for source in sources {
        let raw: Raw = source.parse()?;
        let name = match &raw.name {
            Some(name) => source.label("persona", name)?,
            None => {
                let stem = source.path.file_stem().unwrap_or_default().to_string_lossy();
                Label::new("persona", &stem).map_err(|error| source.wrong(&(0..0), error))?
            }
        };
        raws.push((source, name, raw));
    }
    raws.iter().map(|(source, name, raw)| one(source, name, raw, &raws)).collect()
}

/// Makes one persona, with what it takes over from those that it is like.
fn one(source: &Source, name: &Label, raw: &Raw, all: &[(Source, Label, Raw)]) -> Result<Read> {
    let line = likes(source, name, raw, all)?;
    let find = |pick: &dyn Fn(&Raw) -> bool| line.iter().find(|(_, raw)| pick(raw));
    let labels = |kind, found: Option<&(&Source, &Raw)>, list: fn(&Raw) -> &List| {
        let Some((source, raw)) = found else { return Ok(Vec::new()) };
        let entries = list(raw).as_ref().map(Spanned::get_ref);
        source.labels(kind, entries.map(Vec::as_slice).unwrap_or_default())
    };
    let lines = labels("model line", find(&|raw| raw.lines.is_some()), |raw| &raw.lines)?;
    let harnesses = labels("harness", find(&|raw| raw.harnesses.is_some()), |raw| &raw.harnesses)?;
    let min_tier = line.iter().find_map(|(_, raw)| raw.min_tier.as_ref());
    let repository = line.iter().find_map(|(source, raw)| Some((source, raw.repository.as_ref()?)));
    let repository = repository.map(|(source, path)| source.absolute("repository", path));
    let place = Place {
        repository: repository.transpose()?,
        prompt: line.iter().find_map(|(_, raw)| raw.prompt.clone()),
    };
    let min_tier = min_tier.map_or(Tier::Fast, |tier| *tier.get_ref());
    let persona = Persona { name: name.clone(), lines, harnesses, min_tier };
    Ok(Read { source: source.clone(), raw: raw.clone(), persona, place })
}

/// The persona itself and those that it is like, the nearest first.
fn likes<'a>(
    source: &'a Source,
    name: &Label,
    raw: &'a Raw,
    all: &'a [(Source, Label, Raw)],
) -> Result<Vec<(&'a Source, &'a Raw)>> {
    let mut line = vec![(source, raw)];
    let mut seen = BTreeSet::from([name.as_str()]);
    let mut next = raw.like.as_ref().map(|like| (source, like));
    while let Some((source, like)) = next {
        let name = like.get_ref().as_str();
        if !seen.insert(name) {
            let text = format!("like = {name:?} goes round in a circle, back to {name}");
            return Err(source.wrong(&like.span(), text));
        }
        let Some((source, _, raw)) = all.iter().find(|(_, other, _)| other.as_str() == name) else {
            let text = format!("like = {name:?}: there is no persona of that name");
            return Err(source.wrong(&like.span(), text));
        };
        line.push((source, raw));
        next = raw.like.as_ref().map(|like| (source, like));
    }
    Ok(line)
}

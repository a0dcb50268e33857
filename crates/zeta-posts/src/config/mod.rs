//! The files of an operator: `posts.toml`, and a file for each persona in `personas.d`.
//!
//! The names of keys that the original's registry uses (`modelLines`, `minTier`, `binary`,
//! `invocationArgs`) are read, too. A key that is not known is an error, never ignored.

mod personas;
mod posts;
mod source;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zeta_core::name::Label;
use zeta_core::schedule::policy::{Policy, Problem};
use zeta_os::error::{Error, Kind, Result};

pub use self::personas::Place;
pub use self::posts::Ticks;

/// The directory of the machine's files.
pub const SYSTEM_DIR: &str = "/etc/zeta";
/// The file about posts, lines and turns.
pub const POSTS_FILE: &str = "posts.toml";
/// The directory with a file for each persona.
pub const PERSONAS_DIR: &str = "personas.d";

/// What the units of posts are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The number of posts.
    pub posts: u32,
    /// The repositories of which personas have worktrees.
    pub repositories: Vec<PathBuf>,
}

/// Reads what units need to know; `None` if the directory has no file about posts.
///
/// # Errors
/// A file is wrong: named with its line.
pub fn needs(dir: &Path) -> Result<Option<Needs>> {
    let path = dir.join(POSTS_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let read = posts::read(&path)?;
    let personas = personas::read_all(&dir.join(PERSONAS_DIR))?;
    let places = personas.into_iter().map(|persona| persona.into_parts().1);
    let own = places.filter_map(|place| place.repository);
    let mut repositories: Vec<PathBuf> = own.chain(read.ticks.repository).collect();
    repositories.sort();
    repositories.dedup();
    Ok(Some(Needs { posts: read.policy.posts, repositories }))
}

/// What an operator wrote.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory.
    pub dir: PathBuf,
    /// What the scheduler decides by.
    pub policy: Policy,
    /// How posts run their agents.
    pub ticks: Ticks,
    /// Where each persona works, in the order of the policy.
    pub places: Vec<Place>,
    /// What is wrong, but leaves the rest usable: each with its file and line.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the files of a directory.
    ///
    /// # Errors
    /// One that names the file, the line and what is wrong, if nothing can be planned with it.
    pub fn load(dir: &Path) -> Result<Config> {
        let path = dir.join(POSTS_FILE);
        if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            let text = format!("there is no {POSTS_FILE} in {}", dir.display());
            let hint = format!(
                "write it, and a file for each persona into {PERSONAS_DIR}: \
                 'zeta post --help' shows both"
            );
            return Err(Error::new(Kind::Unsafe, text).hint(hint));
        }
        let posts = posts::read(&path)?;
        let personas = personas::read_all(&dir.join(PERSONAS_DIR))?;
        let (list, places) = personas.iter().cloned().map(personas::Read::into_parts).unzip();
        let policy = Policy { personas: list, ..posts.policy };
        let mut warnings = Vec::new();
        for problem in policy.problems() {
            let at = persona_of(&problem)
                .and_then(|name| personas.iter().find(|read| read.persona.name == *name))
                .map_or_else(
                    || dir.join(POSTS_FILE).display().to_string(),
                    |read| read.at(&problem),
                );
            let text = format!("{at}: {problem}");
            match problem.is_fatal() {
                true => return Err(Error::new(Kind::Unsafe, text).hint(next_step(&problem))),
                false => warnings.push(text),
            }
        }
        Ok(Config { dir: dir.to_owned(), policy, ticks: posts.ticks, places, warnings })
    }

    /// Where a persona works.
    pub fn place(&self, persona: &Label) -> Option<&Place> {
        let at = self.policy.personas.iter().position(|one| one.name == *persona)?;
        self.places.get(at)
    }

    /// The repository of which a persona has a worktree, if it has one.
    pub fn repository(&self, persona: &Label) -> Option<&Path> {
        let own = self.place(persona).and_then(|place| place.repository.as_deref());
        own.or(self.ticks.repository.as_deref())
    }

    /// What a persona is asked at each tick.
    pub fn prompt(&self, persona: &Label) -> &str {
        let own = self.place(persona).and_then(|place| place.prompt.as_deref());
        own.unwrap_or(&self.ticks.prompt)
    }
}

/// The persona that a problem is about.
fn persona_of(problem: &Problem) -> Option<&Label> {
    match problem {
        Problem::Twice(persona) | Problem::NothingFits(persona) => Some(persona),
        Problem::LongName { persona, .. }
        | Problem::NameOfAgent { persona, .. }
        | Problem::Empty { persona, .. }
        | Problem::Repeated { persona, .. }
        | Problem::UnknownLine { persona, .. } => Some(persona),
        _ => None,
    }
}

fn next_step(problem: &Problem) -> &'static str {
    match problem {
        Problem::NoPersona => {
            "write a file for each persona into personas.d, as in personas.d/otto.toml"
        }
        Problem::LongName { .. } | Problem::NameOfAgent { .. } => {
            "give the persona another name: that of its file, or 'name' in it"
        }
        _ => "change it, and see 'zeta post plan'",
    }
}

//! `zeta hook install`, `uninstall` and `status`: the hooks of an agent tool in its own file.

mod place;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeta_core::hook::Tool;

use self::place::{Place, errno};
use super::codex_trust;
use super::document::{self, Group, Made, Trouble};
use super::settings::{self, Kind, Scope};
use zeta_os::error::{Error, Result};

/// What happens to the hooks of others when Codex's hooks of zeta go.
const MOVED_UP: &str = "hooks of other programs moved up, and Codex trusts a hook by its place: \
    start codex, type /hooks, and look which ones it does not trust any more";
/// The next step of a person who uses Codex.
const NOT_TRUSTED: &str =
    "Codex runs a hook only after you trusted it: start codex, type /hooks, press t";

/// What was put into a file, so that exactly this is taken out again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Journal {
    schema: u32,
    file: PathBuf,
    /// The groups of a shared file, as this or an earlier version wrote them.
    groups: Vec<Group>,
    /// The whole text of a file that is zeta's own.
    text: Option<String>,
    made: Made,
    made_file: bool,
    made_dirs: Vec<PathBuf>,
}

/// What an install or an uninstall did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub file: PathBuf,
    /// Its text before; `None` if it is not there.
    pub before: Option<String>,
    /// Its text after.
    pub after: Option<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What is in the file of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of zeta's.
    Absent,
    /// All hooks, of this program.
    Installed,
    /// All hooks, of this program, and the tool does not run them because its user did not say that
    /// it may.
    Untrusted,
    /// Hooks of zeta's that this program did not write: it was moved, or the file was changed.
    Changed,
    /// The file cannot be read as the tool reads it.
    Broken,
}

impl State {
    /// The word of the answer.
    pub fn word(self) -> &'static str {
        match self {
            State::Absent => "absent",
            State::Installed => "installed",
            State::Untrusted => "untrusted",
            State::Changed => "changed",
            State::Broken => "broken",
        }
    }
}

/// The state of a tool's hooks.
#[derive(Debug, Clone)]
pub struct Status {
    /// The tool.
    pub tool: Tool,
    /// Its file.
    pub file: PathBuf,
    /// What is in it.
    pub state: State,
    /// Whether the tool's program is in `PATH`.
    pub found: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Puts the hooks into the file of a tool; with `dry` nothing is written.
pub fn install(tool: Tool, scope: Scope, lasting: &Path, dry: bool) -> Result<Change> {
    let settings = settings::of(tool, scope)?;
    let zeta = settings::own_program()?;
    let place = Place::open(tool, &settings, lasting, dry)?;
    let before = place.read()?;
    let earlier = place.journal()?;
    let mut journal = Journal { schema: 1, file: settings.path.clone(), ..Journal::default() };
    let after = match settings.kind {
        Kind::Own => {
            let text = settings::own_text(tool, &zeta);
            if let Some(found) = before.as_ref().filter(|found| **found != text) {
                place.refuse_foreign(found, earlier.as_ref())?;
            }
            journal.text = Some(text.clone());
            text
        }
        Kind::Shared { new, comments } => {
            let text = before.clone().unwrap_or_else(|| new.to_owned());
            let (text, made) = place.with_groups(tool, &text, &zeta, comments, earlier.as_ref())?;
            journal.made = made;
            journal.groups = settings::groups(tool, &zeta);
            text
        }
    };
    let mut change = Change { file: settings.path, before, after: Some(after), notes: Vec::new() };
    if tool == Tool::Codex {
        change.notes.push(NOT_TRUSTED.into());
    }
    if change.before == change.after || dry {
        return Ok(change);
    }
    let kept = earlier.filter(|earlier| earlier.file == journal.file);
    journal.made_file = match (&change.before, &kept) {
        (None, _) => true,
        (Some(_), kept) => kept.as_ref().is_some_and(|kept| kept.made_file),
    };
    journal.made_dirs = kept.map(|kept| kept.made_dirs).unwrap_or_default();
    let missing = place.missing_dirs();
    journal.made_dirs.extend(missing.iter().cloned());
    // Before the change: a journal without one is harmless, and a change without a journal is not.
    place.write_journal(&journal)?;
    for dir in &missing {
        std::fs::create_dir(dir).map_err(|e| Error::io("cannot make", dir, errno(&e)))?;
    }
    place.write(change.before.as_deref(), change.after.as_deref().unwrap_or_default())?;
    Ok(change)
}

/// Takes the hooks out of the file of a tool; with `dry` nothing is written.
pub fn uninstall(tool: Tool, scope: Scope, lasting: &Path, dry: bool) -> Result<Change> {
    let settings = settings::of(tool, scope)?;
    let place = Place::open(tool, &settings, lasting, dry)?;
    let before = place.read()?;
    let journal = place.journal()?.unwrap_or_default();
    let mut notes = Vec::new();
    let mut is_out = true;
    let after = match (&before, settings.kind) {
        (None, _) => None,
        (Some(text), Kind::Own) => {
            let is_own = journal.text.as_ref() == Some(text)
                || *text == settings::own_text(tool, &settings::own_program()?);
            if !is_own {
                is_out = false;
                notes
                    .push("the file was changed since zeta wrote it, and stays: look at it".into());
            }
            (!is_own).then(|| text.clone())
        }
        (Some(text), Kind::Shared { new, comments }) => {
            let after = place.without_groups(tool, text, &journal, comments)?;
            let left = settings::own_commands(tool, document::split_mark(&after).1, comments)
                .map_err(|trouble| place.broken(&trouble))?;
            is_out = left.is_empty();
            notes.extend(left.iter().map(|command| {
                format!("a hook that was changed since zeta wrote it stays: {command}")
            }));
            let plain = document::split_mark(text).1;
            let behind = document::behind(plain, &journal.groups, comments);
            if tool == Tool::Codex && behind.is_ok_and(|count| count > 0) {
                notes.push(MOVED_UP.into());
            }
            (!(journal.made_file && after == new)).then_some(after)
        }
    };
    let change = Change { file: settings.path, before, after, notes };
    if dry {
        return Ok(change);
    }
    match (&change.before, &change.after) {
        (Some(_), None) => place.remove(&journal.made_dirs)?,
        (Some(before), Some(after)) if before != after => place.write(Some(before), after)?,
        _ => {}
    }
    if is_out {
        let _ = std::fs::remove_file(&place.journal);
        // Only an empty one goes: `hooks`, and `zeta` above it.
        let _ = place.journal.ancestors().skip(1).take(2).try_for_each(std::fs::remove_dir);
    }
    Ok(change)
}

/// Looks at the file of a tool.
pub fn status(tool: Tool, scope: Scope, lasting: &Path) -> Result<Status> {
    let settings = settings::of(tool, scope)?;
    let zeta = settings::own_program()?;
    let found = settings::is_found(settings::program(tool));
    let mut notes = Vec::new();
    let mut state = match Place::open(tool, &settings, lasting, true).and_then(|place| place.read())
    {
        Err(error) => {
            notes.push(error.text);
            State::Broken
        }
        Ok(None) => State::Absent,
        Ok(Some(text)) => match settings.kind {
            Kind::Own if text == settings::own_text(tool, &zeta) => State::Installed,
            Kind::Own => State::Changed,
            Kind::Shared { comments, .. } => {
                let groups = settings::groups(tool, &zeta);
                let text = document::split_mark(&text).1;
                let looked = document::present(text, &groups, comments).and_then(|present| {
                    let ours = settings::own_commands(tool, text, comments)?;
                    Ok((present.len(), ours.len()))
                });
                match looked {
                    Ok((_, 0)) => State::Absent,
                    Ok((present, ours)) if present == groups.len() && ours == present => {
                        State::Installed
                    }
                    Ok(_) => State::Changed,
                    Err(Trouble { line, reason }) => {
                        notes.push(format!("line {line}: {reason}"));
                        State::Broken
                    }
                }
            }
        },
    };
    if state == State::Changed {
        let word = tool.word();
        notes.push(format!("to write this program's hooks: zeta hook install {word}"));
    }
    if tool == Tool::Codex && state == State::Installed {
        let trusted = codex_trust::is_trusted(&settings.path, &settings::groups(tool, &zeta));
        if !trusted {
            notes.push(NOT_TRUSTED.into());
            state = State::Untrusted;
        }
    }
    Ok(Status { tool, file: settings.path, state, found, notes })
}

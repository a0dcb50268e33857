//! Which file of an agent tool has its hooks, and what `zeta` puts there.

use std::path::{Path, PathBuf};

use serde_json::json;
use zeta_core::hook::{Moment, Tool};
use zeta_core::shell::quote_word;

use super::document::{self, Group};
use super::{PROCESS, claude, event_names};
use zeta_os::error::{Error, Result};
use zeta_os::host;

/// Returns the seconds after which a tool gives up on a hook; `zeta` ends after two. Codex gives an
/// end no more than three, and says so when more is asked for.
fn timeout_s(moment: Moment) -> u64 {
    if moment == Moment::SessionEnd { 3 } else { 5 }
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The user's.
    User,
    /// That of the project around the current directory.
    Project,
}

impl Scope {
    /// The word of the answer.
    pub fn word(self) -> &'static str {
        match self {
            Scope::User => "user",
            Scope::Project => "project",
        }
    }
}

/// The file of a tool, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

/// How a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON of the user, with the hooks of other programs.
    Shared {
        /// What a new file has.
        new: &'static str,
        /// Whether the tool reads a file with comments.
        comments: bool,
    },
    /// A file that `zeta` alone writes.
    Own,
}

/// The program of a tool.
pub(super) fn program(tool: Tool) -> &'static str {
    match tool {
        Tool::Cursor => "cursor-agent",
        other => other.word(),
    }
}

/// Returns the file of a tool.
pub(super) fn of(tool: Tool, scope: Scope) -> Result<Settings> {
    let shared = |comments| Kind::Shared { new: "{}\n", comments };
    let (user, project, kind) = match tool {
        Tool::Claude => ("settings.json", ".claude/settings.local.json", shared(false)),
        Tool::Codex => ("hooks.json", ".codex/hooks.json", shared(false)),
        Tool::Gemini => ("settings.json", ".gemini/settings.json", shared(true)),
        Tool::Copilot => ("hooks/zeta.json", ".github/hooks/zeta.json", Kind::Own),
        Tool::OpenCode => ("plugin/zeta.js", ".opencode/plugin/zeta.js", Kind::Own),
        Tool::Cursor => {
            let new = "{\n  \"version\": 1\n}\n";
            ("hooks.json", ".cursor/hooks.json", Kind::Shared { new, comments: false })
        }
    };
    let path = match scope {
        Scope::User => user_dir(tool)?.join(user),
        Scope::Project => project_root()?.join(project),
    };
    Ok(Settings { path, kind })
}

/// Returns the directory of a tool's user files.
fn user_dir(tool: Tool) -> Result<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = |below: &str| {
        let home = host::home().filter(|home| home.is_absolute());
        home.map(|home| home.join(below)).ok_or_else(|| {
            Error::usage("HOME is not set: there is no user whose files could be changed")
        })
    };
    let given = match tool {
        Tool::Claude => variable("CLAUDE_CONFIG_DIR"),
        Tool::Codex => variable("CODEX_HOME"),
        Tool::OpenCode => variable("XDG_CONFIG_HOME").map(|dir| dir.join("opencode")),
        Tool::Gemini | Tool::Copilot | Tool::Cursor => None,
    };
    match (given, tool) {
        (Some(dir), _) => Ok(dir),
        (None, Tool::OpenCode) => home(".config/opencode"),
        (None, tool) => home(&format!(".{}", tool.word())),
    }
}

/// Returns Codex's configuration; the hooks of a project are trusted there, too.
pub(super) fn codex_config(dir: &Path) -> PathBuf {
    user_dir(Tool::Codex).unwrap_or_else(|_| dir.to_path_buf()).join("config.toml")
}

fn project_root() -> Result<PathBuf> {
    let cwd = std::env::current_dir()
        .map_err(|error| Error::usage(format!("the current directory cannot be read: {error}")))?;
    let found = super::repository::root(&cwd);
    found.ok_or_else(|| Error::usage(format!("{} is in no git repository", cwd.display())))
}

/// Returns the moments at which a tool calls, each with the name of the event.
fn moments(tool: Tool) -> impl Iterator<Item = (Moment, &'static str)> {
    let named = move |moment| event_names(tool, moment).into_iter().map(move |name| (moment, name));
    Moment::ALL.into_iter().flat_map(named)
}

/// The beginning of each command.
const IF_EXECUTABLE: (&str, &str) = ("[ -x ", " ] || exit 0; ");

/// The command that a tool runs. It does nothing where the program is gone. Where any status but 0
/// blocks every tool, none comes through: not that of a program that cannot run, or was killed.
fn command(zeta: &str, tool: Tool, moment: Moment) -> String {
    let zeta = quote_word(zeta);
    let run = format!("{zeta} hook run {} {}", tool.word(), moment.word());
    let (test, or_end) = IF_EXECUTABLE;
    match tool {
        Tool::Gemini | Tool::Copilot => {
            format!("{test}{zeta}{or_end}{run} {PROCESS} $PPID; exit 0")
        }
        _ => format!("{test}{zeta}{or_end}exec {run}"),
    }
}

/// Returns the commands of zeta in the hooks of a document: they have the form that each version
/// writes, whichever program they name.
pub(super) fn own_commands(
    tool: Tool,
    text: &str,
    comments: bool,
) -> std::result::Result<Vec<String>, document::Trouble> {
    let run = format!(" hook run {} ", tool.word());
    let is_own = |text: &String| {
        let (test, or_end) = IF_EXECUTABLE;
        text.starts_with(test) && text.contains(or_end) && text.contains(&run)
    };
    Ok(document::texts(text, comments)?.into_iter().filter(is_own).collect())
}

/// Returns the groups for a shared file.
pub(super) fn groups(tool: Tool, zeta: &str) -> Vec<Group> {
    let before = match tool {
        Tool::Claude => Some("Bash|Edit|Write|MultiEdit|NotebookEdit"),
        Tool::Codex => Some("Bash|apply_patch"),
        Tool::Gemini => Some("run_shell_command|write_file|replace"),
        Tool::Cursor => Some("Shell|Write|Edit|Delete"),
        Tool::Copilot | Tool::OpenCode => None,
    };
    // After every tool: an agent that only reads is alive, too, and a person may have answered.
    let matcher = |moment, event| match moment {
        Moment::BeforeTool => before.map(str::to_owned),
        Moment::Waiting if event == claude::NOTIFICATION && tool == Tool::Claude => {
            Some(claude::NEEDS_PERSON.join("|"))
        }
        _ => None,
    };
    let group = |(moment, event): (Moment, &'static str)| {
        let command = command(zeta, tool, moment);
        let matcher = matcher(moment, event).map(|m| ("matcher".to_owned(), json!(m)));
        let unit = if tool == Tool::Gemini { 1_000 } else { 1 };
        let timeout = timeout_s(moment) * unit;
        let mut group: serde_json::Map<_, _> = matcher.into_iter().collect();
        if tool == Tool::Cursor {
            group.insert("command".to_owned(), json!(command));
            group.insert("timeout".to_owned(), json!(timeout));
        } else {
            let hook = json!({ "type": "command", "command": command, "timeout": timeout });
            group.insert("hooks".to_owned(), json!([hook]));
        }
        (event.to_owned(), serde_json::Value::Object(group).to_string())
    };
    moments(tool).map(group).collect()
}

/// Returns the whole text of a file that `zeta` alone writes.
pub(super) fn own_text(tool: Tool, zeta: &str) -> String {
    if tool == Tool::OpenCode {
        let path = serde_json::Value::from(zeta).to_string();
        return include_str!("opencode.js").replace("\"@ZETA@\"", &path);
    }
    let hooks: serde_json::Map<_, _> = moments(tool)
        .map(|(moment, event)| {
            let bash = command(zeta, tool, moment);
            let hook =
                json!([{ "type": "command", "bash": bash, "timeoutSec": timeout_s(moment) }]);
            (event.to_owned(), hook)
        })
        .collect();
    format!("{:#}\n", json!({ "version": 1, "hooks": hooks }))
}

/// Returns whether a program of this name is in `PATH`.
pub(super) fn is_found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The path of this program, for the files of tools.
///
/// # Errors
/// It was removed or replaced while it runs, or its path is no text.
pub fn own_program() -> Result<String> {
    let path = std::env::current_exe().unwrap_or_default();
    let text = path.to_str().filter(|_| Path::new(&path).is_file());
    text.map(str::to_owned).ok_or_else(|| {
        Error::usage(format!("{}: this program has no path that a hook could name", path.display()))
    })
}

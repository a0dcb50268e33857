//! Hooks of agent tools: what a tool reports, and what `zeta` answers.
//!
//! A tool calls `zeta` when a session begins, before and after a tool of its own runs, and at the
//! end. Each tool has a dialect: all of them become one [`Event`], and one [`Answer`] becomes any
//! of them. This module decides the answer from what was found; it opens no file.

pub mod edits;
pub mod greeting;
pub mod mail;
pub mod patch;
pub mod place;
pub mod session;
pub mod shell_text;
pub mod turn;
pub mod waiting;

use std::fmt::Write as _;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::name::Label;
use crate::time::NS_PER_MS;

/// Longest text for a model at the start of a session, in characters.
pub const TEXT_MAX: usize = 400;
/// Time between the beats that a session with hooks promises. It beats when it does something, and
/// an agent that waits for a person is not hung: its process is the evidence.
pub const BEAT_MS: u64 = 24 * 60 * 60 * 1000;
/// Hooks renew what their session holds once in each span of this length, in ns.
const RENEW_EVERY_NS: u64 = 20_000 * NS_PER_MS;

/// An agent tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Claude Code.
    Claude,
    /// Codex CLI.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// GitHub Copilot CLI.
    Copilot,
    /// OpenCode.
    OpenCode,
    /// Cursor.
    Cursor,
}

impl Tool {
    /// All tools, in the order of the documents.
    pub const ALL: [Tool; 6] =
        [Tool::Claude, Tool::Codex, Tool::Gemini, Tool::Copilot, Tool::OpenCode, Tool::Cursor];

    /// The word of the command line and of records.
    pub fn word(self) -> &'static str {
        match self {
            Tool::Claude => "claude",
            Tool::Codex => "codex",
            Tool::Gemini => "gemini",
            Tool::Copilot => "copilot",
            Tool::OpenCode => "opencode",
            Tool::Cursor => "cursor",
        }
    }
}

impl FromStr for Tool {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Tool, &'static str> {
        Tool::ALL
            .into_iter()
            .find(|tool| tool.word() == word)
            .ok_or("a tool is claude, codex, gemini, copilot, opencode or cursor")
    }
}

/// When a tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A session begins, or goes on after a pause.
    SessionStart,
    /// A person wrote something.
    Prompt,
    /// A tool is about to run.
    BeforeTool,
    /// A tool has run.
    AfterTool,
    /// The turn of the agent is over.
    Stop,
    /// The agent waits for a person.
    Waiting,
    /// A session ends.
    SessionEnd,
}

impl Moment {
    /// All moments, in the order of a session.
    pub const ALL: [Moment; 7] = [
        Moment::SessionStart,
        Moment::Prompt,
        Moment::BeforeTool,
        Moment::AfterTool,
        Moment::Stop,
        Moment::Waiting,
        Moment::SessionEnd,
    ];

    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Moment::SessionStart => "session-start",
            Moment::Prompt => "prompt",
            Moment::BeforeTool => "before-tool",
            Moment::AfterTool => "after-tool",
            Moment::Stop => "stop",
            Moment::Waiting => "waiting",
            Moment::SessionEnd => "session-end",
        }
    }
}

impl FromStr for Moment {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Moment, &'static str> {
        Moment::ALL.into_iter().find(|moment| moment.word() == word).ok_or(
            "an event is session-start, prompt, before-tool, after-tool, stop, waiting or \
             session-end",
        )
    }
}

/// What a tool does, as far as `zeta` looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Action {
    /// It writes these paths, as the tool gives them.
    Edit(Vec<String>),
    /// It runs this shell text.
    Shell {
        /// The text.
        text: String,
        /// The directory that the call names, if it names one.
        dir: Option<String>,
    },
    /// Anything else.
    #[default]
    Other,
}

/// A call of a tool, in no dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub moment: Moment,
    /// The session, as the tool names it.
    pub session: String,
    /// The directory of the agent.
    pub cwd: Option<String>,
    /// What the tool does.
    pub action: Action,
    /// What the agent waits for a person to answer, or would have to; `None` if it needs none.
    pub question: Option<Question>,
    /// Whether the turn that ends was already put off once by a hook.
    pub again: bool,
    /// Whether an agent does it that the session's own one started: what a hook says reaches that
    /// one, and its turns are not those of the session.
    pub inner: bool,
}

/// What an agent waits for a person to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Whether a call of a tool may run, or what it asks: each event of that call says the same.
    OfCall(String),
    /// The question itself.
    Exact(String),
    /// That there is one: a tool repeats so what it asked before.
    General(String),
}

/// Writes the question whether a tool may run: its name, and what it is about to do.
pub fn permission(tool: &str, what: Option<&str>) -> Question {
    Question::OfCall(match what {
        Some(what) => format!("permission for {tool}: {what}"),
        None => format!("permission for {tool}"),
    })
}

/// What is answered to a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answer {
    /// Nothing: the tool goes on.
    #[default]
    Nothing,
    /// The model reads this, and the tool goes on.
    Tell(String),
    /// The tool does not run, and the model reads why.
    Refuse(String),
}

impl Answer {
    /// Joins two answers: a refusal outweighs a text, and two of one kind are both said.
    pub fn and(self, other: Answer) -> Answer {
        match (self, other) {
            (Answer::Tell(one), Answer::Tell(two)) => Answer::Tell(format!("{one}\n{two}")),
            (Answer::Refuse(one), Answer::Refuse(two)) => Answer::Refuse(format!("{one}\n{two}")),
            (one, two) => one.or_heavier(two),
        }
    }

    /// Returns the answer that outweighs the other, whatever their texts; of two of one kind the
    /// first.
    pub fn or_heavier(self, other: Answer) -> Answer {
        let weight = |answer: &Answer| match answer {
            Answer::Nothing => 0,
            Answer::Tell(_) => 1,
            Answer::Refuse(_) => 2,
        };
        if weight(&other) > weight(&self) { other } else { self }
    }
}

/// Returns when the model of a tool reads a text about a tool that it calls.
pub fn warned_at(tool: Tool) -> Moment {
    match tool {
        Tool::Claude | Tool::Codex => Moment::BeforeTool,
        Tool::Gemini | Tool::Copilot | Tool::OpenCode | Tool::Cursor => Moment::AfterTool,
    }
}

/// Decides what is answered around a tool about what was found there. What ran was not refused, and
/// a text comes when the model reads it.
pub fn decide_when(tool: Tool, moment: Moment, found: Answer) -> Answer {
    match found {
        Answer::Refuse(_) if moment == Moment::BeforeTool => found,
        Answer::Tell(_) if moment == warned_at(tool) => found,
        _ => Answer::Nothing,
    }
}

/// What to do about a kind of work that another agent has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Refuse it.
    Refuse,
    /// Let it through, and tell the model.
    Warn,
    /// Let it through.
    Off,
}

impl FromStr for Rule {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Rule, &'static str> {
        match word {
            "refuse" => Ok(Rule::Refuse),
            "warn" => Ok(Rule::Warn),
            "off" => Ok(Rule::Off),
            _ => Err("a rule of a hook is refuse, warn or off"),
        }
    }
}

/// The rules of all kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A path is written.
    pub edit: Rule,
    /// A commit is made.
    pub commit: Rule,
    /// A branch is pushed, or a pull request made of it.
    pub push: Rule,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { edit: Rule::Refuse, commit: Rule::Warn, push: Rule::Refuse }
    }
}

/// Returns whether a hook renews what its session holds: the first hook of each span does. A pause
/// since the last one is no condition, because an agent that works makes none.
pub fn is_renewal_due(last_hook_ns: u64, now_ns: u64) -> bool {
    last_hook_ns / RENEW_EVERY_NS != now_ns / RENEW_EVERY_NS
}

/// The number of a session: 32 hex digits, the same for each call of the session.
pub fn session_number(tool: Tool, session: &str) -> String {
    let mut hex = sha256(&format!("{}\0{session}", tool.word()));
    hex.truncate(32);
    hex
}

/// The SHA-256 of a text, in hexadecimal digits.
pub fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The name of the agent that a session is: `base`, and eight digits of the session's number. The
/// ids of sessions may begin with the time, so their own first digits tell no two apart.
pub fn agent_name(base: &str, number: &str) -> Option<Label> {
    let base = base_of_name(base);
    Label::new("agent", &format!("{base}-{}", number.get(..8)?)).ok()
}

/// The part of a text that stands before the digits in the name of an agent.
fn base_of_name(text: &str) -> &str {
    text.get(..54).unwrap_or(text).trim_end_matches('-')
}

/// Cuts a text to `max` characters; what was cut is marked.
pub fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_tools_and_moments_read_back() {
        for tool in Tool::ALL {
            assert_eq!(tool.word().parse(), Ok(tool));
        }
        for moment in Moment::ALL {
            assert_eq!(moment.word().parse(), Ok(moment));
        }
    }

    #[test]
    fn an_agent_without_a_pause_renews_and_so_does_one_that_wakes_up() {
        let renewals = |every_ms: u64| {
            let beats: Vec<u64> =
                (1_000..61_000).step_by(every_ms as usize).map(|ms| ms * NS_PER_MS).collect();
            beats.windows(2).filter(|pair| is_renewal_due(pair[0], pair[1])).count()
        };
        assert_eq!((renewals(500), renewals(7_000), renewals(25_000)), (3, 2, 2));
    }

    #[test]
    fn a_session_has_one_name_and_two_sessions_two() {
        let name = |session: &str| {
            agent_name("claude", &session_number(Tool::Claude, session)).unwrap().to_string()
        };
        // Ids of one millisecond, as Codex makes them.
        let (one, two) = ("0199c0de-0000-7000-8000-1", "0199c0de-0000-7000-8000-2");
        assert_eq!(name(one), name(one));
        assert_ne!(name(one), name(two));
        assert_ne!(session_number(Tool::Codex, one), session_number(Tool::Claude, one));
        assert!(name(one).starts_with("claude-") && name(one).len() == 15, "{}", name(one));
    }

    #[test]
    fn a_long_base_still_makes_a_name() {
        let number = session_number(Tool::Codex, "s");
        let name = agent_name(&"a".repeat(63), &number).unwrap();
        assert_eq!(name.as_str().len(), 63);
        assert!(agent_name(&format!("{}-b", "a".repeat(53)), &number).is_some());
    }

    #[test]
    fn a_refusal_outweighs_a_text_and_texts_add_up() {
        let tell = |text: &str| Answer::Tell(text.into());
        let refuse = |text: &str| Answer::Refuse(text.into());
        assert_eq!(tell("a").and(refuse("b")), refuse("b"));
        assert_eq!(refuse("b").and(Answer::Nothing), refuse("b"));
        assert_eq!(tell("a").and(tell("b")), tell("a\nb"));
        assert_eq!(refuse("a").and(refuse("b")), refuse("a\nb"));
        assert_eq!(tell("z").or_heavier(refuse("a")), refuse("a"));
        assert_eq!(refuse("a").or_heavier(refuse("z")), refuse("a"), "the first");
    }

    #[test]
    fn a_refusal_comes_before_a_tool_and_a_text_when_the_model_reads_it() {
        let (tell, refuse) = (Answer::Tell("a".into()), Answer::Refuse("b".into()));
        for (tool, moment, said) in [
            (Tool::Claude, Moment::BeforeTool, (true, true)),
            (Tool::Claude, Moment::AfterTool, (false, false)),
            (Tool::Gemini, Moment::BeforeTool, (false, true)),
            (Tool::Gemini, Moment::AfterTool, (true, false)),
        ] {
            let is_said = |found: &Answer| decide_when(tool, moment, found.clone()) == *found;
            assert_eq!((is_said(&tell), is_said(&refuse)), said, "{tool:?} {moment:?}");
            assert_eq!(decide_when(tool, moment, Answer::Nothing), Answer::Nothing);
        }
    }

    #[test]
    fn a_cut_text_has_its_length_in_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüx", 3), "äö…");
    }
}

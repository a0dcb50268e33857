//! `zeta hook run`: what an agent tool calls when a session begins, around each of its own tools,
//! and at the end.
//!
//! A hook must never harm the tool that calls it: in some of them any status but 0 blocks the tool.
//! So the status is 0 in every case, also after a panic and after two seconds, and a fault is one
//! line on standard error. What does not depend on what failed goes on: a record that cannot be
//! written, or a broken configuration, lets no claimed path be written.

mod alarm;
mod claude;
mod codex;
mod codex_trust;
mod copilot;
mod cursor;
pub mod diff;
mod document;
mod field;
mod gemini;
mod input;
pub mod install;
mod mail;
mod opencode;
mod places;
pub mod repository;
mod session;
pub mod settings;

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeta_core::hook::mail::MailRule;
use zeta_core::hook::{
    Action, Answer, Event, Moment, Rules, Tool, cut, decide_when, edits, greeting, warned_at,
};
use zeta_core::record::printable;

use self::session::Session;
use crate::config::Config;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::NodeHandle;

/// Most characters of a line on standard error.
const NOTE_MAX: usize = 1000;

/// The option that names the process of the tool, where a shell stands between.
pub const PROCESS: &str = "--process";

/// Runs one call. The arguments are the tool and the event, and [`PROCESS`].
pub fn run(args: &[OsString]) -> u8 {
    alarm::set();
    if let Err(error) = answer_call(args) {
        note(&error.text);
    }
    0
}

/// Writes the one line that a hook may write on standard error. If nothing takes it at once, it is
/// left out: a hook waits for no reader.
fn note(text: &str) {
    let line = format!("zeta hook: {}\n", cut(&printable(text), NOTE_MAX));
    alarm::write_at_once(rustix::stdio::stderr(), &line);
}

/// The first fault of a call.
#[derive(Debug, Default)]
struct Faults(RefCell<Option<Error>>);

impl Faults {
    /// Returns what was found, or nothing if that failed. A refusal is no fault: the call ends with
    /// it, because the record is of another session.
    fn past<T: Default>(&self, found: Result<T>) -> Result<T> {
        match found {
            Err(error) if error.kind != Kind::Refused => {
                self.0.borrow_mut().get_or_insert(error);
                Ok(T::default())
            }
            found => found,
        }
    }
}

fn answer_call(args: &[OsString]) -> Result<()> {
    let word = |at: usize| args.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    let tool: Tool = word(0).parse().map_err(Error::usage)?;
    let moment: Moment = word(1).parse().map_err(Error::usage)?;
    let input = input::read(std::io::stdin()).map_err(Error::usage)?;
    let event = read(tool, moment, &input);
    if event.session.is_empty() {
        return Err(Error::usage("the event on standard input names no session"));
    }
    let (config, broken) = Config::load_usable();
    let process = word(3).parse().ok().filter(|_| word(2) == PROCESS);
    let session = Session::of(tool, process, &event, &config)?;
    let faults = Faults(RefCell::new(broken));
    let answer = answer(tool, &session, &event, &config, &faults)?;
    let line = |answer: &Answer| write(tool, moment, answer).map(|answer| format!("{answer}\n"));
    alarm::ready(line(&answer));
    let rule = config.hook_mail.unwrap_or_default();
    let printed = mail::print(tool, &session, &event, rule, answer, &mut |answer| {
        alarm::print(line(answer).as_deref())
            .map_err(|error| Error::new(Kind::Fault, format!("cannot print: {error}")))
    });
    faults.0.into_inner().map_or(Ok(()), Err).and(printed)
}

fn read(tool: Tool, moment: Moment, input: &Value) -> Event {
    match tool {
        Tool::Claude => claude::read(moment, input),
        Tool::Codex => codex::read(moment, input),
        Tool::Gemini => gemini::read(moment, input),
        Tool::Copilot => copilot::read(moment, input),
        Tool::OpenCode => opencode::read(moment, input),
        Tool::Cursor => cursor::read(moment, input),
    }
}

fn write(tool: Tool, moment: Moment, answer: &Answer) -> Option<Value> {
    match tool {
        Tool::Claude | Tool::Codex => claude::write(moment, answer),
        Tool::Gemini => gemini::write(moment, answer),
        Tool::Copilot => copilot::write(moment, answer),
        Tool::OpenCode => opencode::write(answer),
        Tool::Cursor => cursor::write(moment, answer),
    }
}

/// Returns the names of an event in the files of a tool.
fn event_names(tool: Tool, moment: Moment) -> Vec<&'static str> {
    let more = (tool == Tool::Claude && moment == Moment::Waiting).then_some(claude::NOTIFICATION);
    event_name(tool, moment).into_iter().chain(more).collect()
}

/// Returns the name of an event in the files of a tool; `None` if it has none.
fn event_name(tool: Tool, moment: Moment) -> Option<&'static str> {
    match tool {
        Tool::Claude => claude::event(moment),
        Tool::Codex => codex::event(moment),
        Tool::Gemini => gemini::event(moment),
        Tool::Copilot => copilot::event(moment),
        Tool::Cursor => cursor::event(moment),
        // Its plugin calls with the words of zeta.
        Tool::OpenCode => Some(moment.word()),
    }
}

fn answer(
    tool: Tool,
    session: &Session,
    event: &Event,
    config: &Config,
    faults: &Faults,
) -> Result<Answer> {
    match event.moment {
        Moment::SessionStart | Moment::Prompt => {
            let given = match config.hook_mail.unwrap_or_default() {
                MailRule::Deliver => mail::reaches_model(tool, event.moment),
                MailRule::Count => false,
                MailRule::Off => true,
            };
            greet(session, event, if given { 0 } else { session.mail() }, faults)
        }
        Moment::BeforeTool => {
            let handle = faults.past(session.ctx.find())?;
            let Some(handle) = handle else { return Ok(Answer::Nothing) };
            faults.past(session.go_on(&handle))?;
            let found = faults.past(check(session, &handle, event, config.hook_rules()))?;
            Ok(decide_when(tool, event.moment, found))
        }
        Moment::AfterTool => after(tool, session, event, config.hook_rules(), faults),
        // What follows depends on the mail.
        Moment::Stop => Ok(Answer::Nothing),
        Moment::Waiting => {
            let question = event.question.as_ref();
            question.map_or(Ok(()), |asked| session.wait(asked)).map(|()| Answer::Nothing)
        }
        Moment::SessionEnd => session.end().map(|()| Answer::Nothing),
    }
}

/// Records the session, and says who is here and how much mail there is, if that is new.
fn greet(session: &Session, event: &Event, mail: usize, faults: &Faults) -> Result<Answer> {
    let begins = event.moment == Moment::SessionStart;
    let broken = faults.0.borrow().as_ref().map(|error| greeting::broken(&error.text));
    // First of all: whatever follows may fail, and the presence of the agent must not.
    faults.past(session.attend(|_| {}))?;
    if begins {
        session.export();
        session.release_left();
    }
    let places = faults.past(session.places())?;
    let cwd = event.cwd.as_deref().map(Path::new);
    let neighbours = faults.past(session.neighbours(cwd, &places.claims))?;
    let handed = faults.past(session.handed_over(&places, cwd))?;
    let handed = handed.as_deref();
    let is_new = faults.past(session.tell(&greeting::digest(mail, handed, &neighbours)))?;
    let text =
        (begins || is_new).then(|| greeting::text(session.name(), mail, handed, &neighbours));
    let tell = |text: Option<String>| text.map_or(Answer::Nothing, Answer::Tell);
    Ok(tell(broken.filter(|_| begins)).and(tell(text.flatten())))
}

/// Checks what a tool is about to do against the claims of other agents. Only where one is in the
/// way, it is looked whether that is a server of the agent itself.
fn check(
    session: &Session,
    handle: &NodeHandle<'_>,
    event: &Event,
    rules: Rules,
) -> Result<Answer> {
    let answer = check_claims(session, handle, event, rules)?;
    match answer != Answer::Nothing && session.finds_servers() {
        true => check_claims(session, handle, event, rules),
        false => Ok(answer),
    }
}

fn check_claims(
    session: &Session,
    handle: &NodeHandle<'_>,
    event: &Event,
    rules: Rules,
) -> Result<Answer> {
    match &event.action {
        Action::Edit(_) => places::check_edit(session, handle, &written(event), rules.edit),
        Action::Shell { text, dir } => {
            let cwd = event.cwd.as_deref().map(Path::new);
            let dir = match (cwd, dir) {
                (Some(cwd), Some(dir)) => Some(cwd.join(dir)),
                (Some(cwd), None) => Some(cwd.to_path_buf()),
                (None, dir) => dir.as_ref().map(PathBuf::from),
            };
            match dir.filter(|dir| dir.is_absolute()) {
                Some(dir) => places::check_shell(session, handle, text, &dir, rules),
                None => Ok(Answer::Nothing),
            }
        }
        Action::Other => Ok(Answer::Nothing),
    }
}

/// Records what was written, and says which other agent wrote the same.
fn after(
    tool: Tool,
    session: &Session,
    event: &Event,
    rules: Rules,
    faults: &Faults,
) -> Result<Answer> {
    let paths: Vec<String> =
        written(event).iter().map(|path| path.to_string_lossy().into_owned()).collect();
    // Written before the others' are read: of two agents that write at one moment, one sees it.
    faults.past(session.edited(&paths))?;
    let mut answer = Answer::Nothing;
    if warned_at(tool) == event.moment {
        let handle = faults.past(session.ctx.find())?;
        let Some(handle) = handle else { return Ok(answer) };
        let found = faults.past(check(session, &handle, event, rules))?;
        answer = decide_when(tool, event.moment, found);
    }
    if paths.is_empty() {
        return Ok(answer);
    }
    let others = session.edits_of_others();
    let both = edits::judge_both(&paths, &others, host::reading().boot_ns);
    Ok(both.map_or(Answer::Nothing, Answer::Tell).and(answer))
}

/// Returns the paths that an edit writes, with their links resolved. A relative one is meant from
/// the directory of the agent.
fn written(event: &Event) -> Vec<PathBuf> {
    let Action::Edit(paths) = &event.action else { return Vec::new() };
    let cwd = Path::new(event.cwd.as_deref().unwrap_or_default());
    let absolute = paths.iter().map(|path| cwd.join(path)).filter(|path| path.is_absolute());
    absolute.map(|path| repository::resolve(&path)).collect()
}

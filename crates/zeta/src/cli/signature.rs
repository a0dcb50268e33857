//! `zeta signature`: commits that say which agent made them.
//!
//! `check`, `audit` and `write` end with the numbers of the original's tools: 0, 1 for a refusal or
//! a regression, and 2 for all else.

mod args;
mod session;

use std::cell::RefCell;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args as _;
use rustix::fs::Mode;
use zeta_core::json::Object;
use zeta_core::record::printable;
use zeta_core::signature::audit::{Reader, Ship};
use zeta_core::signature::beat::TICK_MS;
use zeta_core::signature::check::{anywhere, judge, judge_message, judge_pr_body};
use zeta_core::signature::co_author::CoAuthors;
use zeta_core::signature::message::{cleaned, has_block, with_block};
use zeta_core::signature::{Block, Fault};
use zeta_core::time::{parse_duration, parse_utc};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::host;
use zeta_os::temp_file::keep_with_mode;
use zeta_signature::audit::{Request, Which};
use zeta_signature::hook::{self, Change, Hook};
use zeta_signature::report::{self, Checked, Clock, Screen};
use zeta_signature::{audit, beats, repository};

use self::args::{
    AuditArgs, BeatsArgs, CheckArgs, HookArgs, InstallArgs, UninstallArgs, WriteArgs,
};
use super::{Call, Noun, Verb};
use crate::config::Signature;
use crate::output::{Terminal, print};

/// The number of a refusal and of a regression.
const REFUSED: u8 = 1;
/// The number of all else that is not good.
const WRONG: u8 = 2;
/// Most bytes of a message.
const MESSAGE_MAX: u64 = 64 << 20;
/// How far `zeta status` looks back.
const STATUS_MS: u64 = 7 * 24 * 3_600_000;
/// How much of a table is printed at a time.
const PIECE: usize = 64 << 10;

pub(super) const NOUN: Noun = Noun {
    name: "signature",
    about: "Sign the commits of agents, check signatures, and see by them who is alive",
    build: |noun| super::needs_verb(noun).after_help(args::EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb(call, NOUN.verbs),
};

const VERBS: &[Verb] = &[
    Verb {
        name: "check",
        about: "Judge the block of one message",
        args: CheckArgs::augment_args,
        run: |call| numbered(call, check),
    },
    Verb {
        name: "audit",
        about: "Judge the commits of a branch or of a range",
        args: AuditArgs::augment_args,
        run: |call| numbered(call, audit),
    },
    Verb {
        name: "write",
        about: "Make a block for a commit of this agent",
        args: WriteArgs::augment_args,
        run: |call| numbered(call, write),
    },
    Verb {
        name: "install-hook",
        about: "Let git add the block to commits of agents, and check it",
        args: InstallArgs::augment_args,
        run: install,
    },
    Verb {
        name: "uninstall-hook",
        about: "Take these hooks out of a repository",
        args: UninstallArgs::augment_args,
        run: uninstall,
    },
    Verb {
        name: "beats",
        about: "Show when each agent committed last, and for how long it has not",
        args: BeatsArgs::augment_args,
        run: show_beats,
    },
];

/// Gives all errors the number of the original's tools.
fn numbered(call: &Call, run: fn(&Call) -> Result<u8>) -> Result<u8> {
    run(call).or_else(|error| {
        call.out.error_with(&error, WRONG, None);
        Ok(WRONG)
    })
}

fn here(named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| PathBuf::from("."))
}

fn screen() -> Screen {
    let Terminal { width, colour } = Terminal::of_stdout();
    Screen { width, colour }
}

fn check(call: &Call) -> Result<u8> {
    let args: CheckArgs = call.args()?;
    let text = read_message(args.file.as_deref())?;
    let (strict, found) = match (args.pr_body, args.anywhere) {
        _ if args.hook => return check_commit(call, &text),
        (true, _) => (judge_pr_body(&text), None),
        (false, true) => (judge(&text), Some(anywhere(&text))),
        (false, false) => (judge(&text), None),
    };
    let checked = Checked { strict: &strict, anywhere: found.as_ref() };
    answer(call, &checked)
}

fn answer(call: &Call, checked: &Checked<'_>) -> Result<u8> {
    let faults = checked.faults();
    if faults.is_empty() {
        call.out.either(|| checked.json(), || checked.text())?;
        return Ok(0);
    }
    let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let error = Error::new(Kind::Refused, all.join("; "))
        .hint("zeta signature write makes a good block, and docs/signature.md is the grammar");
    call.out.error_with(&error, REFUSED, Some(checked.json()));
    Ok(REFUSED)
}

/// Judges the message of a commit that is being made. That of a person needs no block.
fn check_commit(call: &Call, text: &[u8]) -> Result<u8> {
    let comment = repository::comment(Path::new("."));
    let message = cleaned(text, &comment);
    let strict = judge_message(&message, &comment);
    let by_agent = || -> Result<bool> {
        let agents = agents(&call.config()?.signature)?;
        let is_named = call.given("agent").is_some() || agents.in_message(&message).is_some();
        Ok(is_named || session::is_agent(&call.context()?))
    };
    // A person's own message may have a broken block: that is no block of an agent.
    if strict.is_err() && !has_block(&message, &comment) && !by_agent()? {
        call.out.either(|| Object::new().text("outcome", "exempt").clone(), String::new)?;
        return Ok(0);
    }
    answer(call, &Checked { strict: &strict, anywhere: None })
}

fn read_message(file: Option<&Path>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = match file {
        Some(path) => {
            let open = std::fs::File::open(path);
            open.and_then(|file| file.take(MESSAGE_MAX + 1).read_to_end(&mut text))
        }
        None => std::io::stdin().lock().take(MESSAGE_MAX + 1).read_to_end(&mut text),
    };
    let name =
        || file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    read.map_err(|error| Error::new(Kind::Fault, format!("cannot read {}: {error}", name())))?;
    if text.len() as u64 > MESSAGE_MAX {
        return Err(Error::usage(format!("{} is longer than 64 MiB", name())));
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::usage(format!("{} has no text to judge", name())));
    }
    Ok(text)
}

fn agents(config: &Signature) -> Result<CoAuthors> {
    let mut agents = CoAuthors::default();
    if let Some(rows) = &config.co_authors {
        agents.add(rows).map_err(|bad| Error::usage(bad.to_string()))?;
    }
    Ok(agents)
}

fn audit(call: &Call) -> Result<u8> {
    let args: AuditArgs = call.args()?;
    let now_us = host::wall_us();
    let date = |text: &Option<String>| text.as_deref().map(|t| date(t, now_us)).transpose();
    let branch = args.branch.clone().unwrap_or_else(|| "HEAD".to_owned());
    let request = Request {
        max: args.max.as_deref().map(count).transpose()?,
        since_us: date(&args.since)?,
        ship_us: date(&args.v1_ship_date)?,
        reader: if args.anywhere { Reader::Anywhere } else { Reader::Strict },
        agents: agents(&call.config()?.signature)?,
        dir: here(args.repository),
        which: match (args.range, args.commit) {
            (Some(range), _) => Which::Range(range),
            (None, Some(commit)) => Which::Commit { commit, branch },
            (None, None) => Which::Branch(branch),
        },
    };
    let page = RefCell::new(Page { json: call.out.json, screen: screen(), ..Page::default() });
    let summary = audit::run(
        &request,
        |ship| {
            page.borrow_mut().begin(ship);
            Ok(())
        },
        |row| page.borrow_mut().row(row),
    )?;
    page.into_inner().end(&summary)?;
    let Some(error) = report::regression(&summary) else { return Ok(0) };
    if !call.out.json {
        call.out.error_with(&error, REFUSED, None);
    }
    Ok(REFUSED)
}

/// The answer of an audit, which is printed in pieces: a history may have a million commits.
#[derive(Default)]
struct Page {
    json: bool,
    screen: Screen,
    ship: Option<Ship>,
    text: String,
    rows: u64,
}

impl Page {
    fn begin(&mut self, ship: Ship) {
        self.ship = Some(ship);
        if self.json {
            let head = report::audit_json_head(ship).done();
            self.text = format!("{},\"commits\":[", head.strip_suffix('}').unwrap_or(&head));
        } else {
            self.text = report::audit_head(self.screen);
        }
    }

    fn row(&mut self, row: &audit::Row<'_>) -> Result<()> {
        let Some(ship) = self.ship else { return Ok(()) };
        match self.json {
            true => {
                self.text.push_str(if self.rows > 0 { "," } else { "" });
                self.text.push_str(&report::audit_json(row, ship).done());
            }
            false => self.text.push_str(&report::audit_line_of(row, ship, self.screen)),
        }
        self.rows += 1;
        if self.text.len() >= PIECE {
            print(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }

    fn end(mut self, summary: &audit::Summary) -> Result<()> {
        match self.json {
            true => {
                let end = report::audit_json_end(summary).done();
                self.text.push_str(&format!("],{}\n", end.strip_prefix('{').unwrap_or(&end)));
            }
            false => self.text.push_str(&report::audit_end(summary)),
        }
        print(&self.text)
    }
}

/// Reads a number of commits: from 1 on, as the original does.
fn count(text: &str) -> Result<u64> {
    let is_plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_plain);
    number.ok_or_else(|| Error::usage(format!("--max {text:?} is not valid: give a number from 1")))
}

/// Reads a date, a time, or how long ago it was.
fn date(text: &str, now_us: i64) -> Result<i64> {
    let day = || parse_utc(&format!("{text}T00:00:00Z")).ok();
    if let Some(us) = parse_utc(text).ok().or_else(day) {
        return Ok(us);
    }
    let ago = parse_duration("date", text.trim_end_matches("ago").trim_end()).map_err(|_| {
        let rule = "give a date as in 2026-05-01 or 2026-05-01T10:00:00Z, or a time ago, as in 2h";
        Error::usage(format!("the date {text:?} is not valid: {rule}"))
    })?;
    Ok(before(now_us, ago))
}

fn before(now_us: i64, ago_ms: u64) -> i64 {
    now_us.saturating_sub(i64::try_from(ago_ms).unwrap_or(i64::MAX).saturating_mul(1000))
}

fn write(call: &Call) -> Result<u8> {
    let args: WriteArgs = call.args()?;
    let is_named = call.given("agent").is_some();
    let ctx = call.context()?;
    if args.hook && !(is_named || session::is_agent(&ctx)) {
        return written(call, "not_an_agent", None, args.into.as_deref());
    }
    let dir = Path::new(".");
    let Some(file) = args.into.as_deref() else {
        let block = session::block(call, &ctx, &args, dir)?;
        return written(call, "printed", Some(&block), None);
    };
    let cannot = |what: &str, error: std::io::Error| {
        Error::new(Kind::Fault, format!("cannot {what} {}: {error}", file.display()))
    };
    let message = read_plain(file, MESSAGE_MAX).map_err(|error| cannot("read", error))?;
    let comment = repository::comment(dir);
    if has_block(&message, &comment) {
        return written(call, "unchanged", None, Some(file));
    }
    let block = session::block(call, &ctx, &args, dir)?;
    match with_block(&message, &block, &comment) {
        Ok(whole) => {
            // Another user may commit next, in a repository of a group.
            let mode = std::fs::metadata(file).map_err(|error| cannot("look at", error))?.mode();
            let mode = Mode::from_raw_mode(mode & 0o777);
            let kept = keep_with_mode(file, ".zeta-", &whole, mode);
            kept.map_err(|error| cannot("write", error))?;
            written(call, "added", Some(&block), Some(file))
        }
        Err(fault) => Ok(not_readable(call, &fault, file)),
    }
}

fn not_readable(call: &Call, fault: &Fault, file: &Path) -> u8 {
    let text = format!("a block in {} would not count: {fault}", file.display());
    let error = Error::new(Kind::Refused, text).hint("change the message, and commit again");
    call.out.error_with(&error, REFUSED, None);
    REFUSED
}

fn written(
    call: &Call,
    outcome: &str,
    block: Option<&Block<'_>>,
    file: Option<&Path>,
) -> Result<u8> {
    let object = || {
        let mut object = Object::new();
        object.text("outcome", outcome);
        object.text_if("file", file.map(|file| file.display().to_string()).as_deref());
        if let Some(block) = block {
            report::block(&mut object, block);
        }
        object
    };
    let text = || match (file, block) {
        (None, Some(block)) => block.text().trim_end().to_owned(),
        _ => String::new(),
    };
    call.out.either(object, text)?;
    Ok(0)
}

fn install(call: &Call) -> Result<u8> {
    let InstallArgs { hook } = call.args()?;
    let program = std::env::current_exe().map_err(|error| {
        Error::new(Kind::Fault, format!("the path of this program is not known: {error}"))
    })?;
    change(call, hook, |dir, hook| hook::install(dir, hook, &program))
}

fn uninstall(call: &Call) -> Result<u8> {
    let UninstallArgs { hook } = call.args()?;
    change(call, hook, hook::uninstall)
}

fn change(
    call: &Call,
    args: HookArgs,
    change: impl Fn(&Path, Hook) -> Result<Change>,
) -> Result<u8> {
    let HookArgs { only, hooks_dir, repository } = args;
    let hooks: Vec<Hook> = match only.as_deref() {
        None => Hook::ALL.to_vec(),
        Some(word) => {
            let found = Hook::ALL.into_iter().find(|hook| hook.word() == word);
            vec![found.ok_or_else(|| {
                Error::usage(format!("--only {word:?} is not valid: give add or check"))
            })?]
        }
    };
    let dir = hook::directory(&here(repository), hooks_dir.as_deref())?;
    let changes = hooks.into_iter().map(|hook| change(&dir, hook)).collect::<Result<Vec<_>>>()?;
    call.out.either(|| report::hooks_json(&changes), || report::hooks_text(&changes))?;
    Ok(0)
}

fn show_beats(call: &Call) -> Result<u8> {
    let args: BeatsArgs = call.args()?;
    let config = &call.config()?.signature;
    let dir = args.repository.or_else(|| config.repository.clone());
    let branch = args.branch.or_else(|| config.branch.clone());
    let branch = branch.unwrap_or_else(|| "HEAD".to_owned());
    let since_ms = parse_duration("--since", &args.since)?;
    let tick_ms = parse_duration("--tick", &args.tick)?;
    if tick_ms == 0 {
        return Err(Error::usage("--tick is not valid: a tick takes some time, as in 2m"));
    }
    let now_us = host::wall_us();
    let seen = beats::read(&here(dir), &branch, before(now_us, since_ms), now_us)?;
    let clock = Clock { now_us, tick_ms };
    let text = || match seen.beats.is_empty() {
        true => String::new(),
        false => report::beats_text(&seen.beats, clock, screen()).trim_end().to_owned(),
    };
    call.out.either(|| report::beats_json(&seen, &branch, clock), text)?;
    if seen.beats.is_empty() && !call.out.json {
        call.out.note(&format!("no signed commit on {branch} in {}", args.since));
    }
    if seen.in_the_future > 0 && !call.out.json {
        let count = seen.in_the_future;
        call.out.note(&format!("{count} signed commits lie in the future, and do not count"));
    }
    Ok(0)
}

/// What `zeta status` shows of the signed commits in the repository that is configured: the object,
/// and the text.
pub(super) fn of_status(config: &Signature) -> Option<(Object, String)> {
    let dir = config.repository.as_deref()?;
    let branch = config.branch.as_deref().unwrap_or("HEAD");
    let now_us = host::wall_us();
    let clock = Clock { now_us, tick_ms: TICK_MS };
    let seen = beats::read(dir, branch, before(now_us, STATUS_MS), now_us);
    let shown = printable(&dir.display().to_string()).into_owned();
    Some(match seen {
        Ok(seen) => {
            let table = match seen.beats.is_empty() {
                true => "no signed commit in 7d\n".to_owned(),
                false => report::beats_text(&seen.beats, clock, screen()),
            };
            let text = format!("\nsigned commits on {} in {shown}\n{table}", printable(branch));
            (report::beats_json(&seen, branch, clock), text)
        }
        Err(error) => {
            let text = format!("\nsigned commits are not known: {}\n", printable(&error.text));
            (Object::new().text("branch", branch).text("fault", &error.text).clone(), text)
        }
    })
}

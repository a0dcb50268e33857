//! Judgements in words and as JSON, for every front end.

use zeta_core::json::Object;
use zeta_core::record::{printable, quote};
use zeta_core::signature::audit::{Class, Ship};
use zeta_core::signature::beat::{Beat, State};
use zeta_core::signature::check::Found;
use zeta_core::signature::{Block, Fault, Key};
use zeta_core::time::{format_duration, format_utc};
use zeta_os::error::{Error, Kind};

use crate::audit::{Row, Summary};
use crate::beats::Seen;
use crate::hook::Change;

/// What a terminal shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    /// Its width in characters; `None` if lines may be as long as need be.
    pub width: Option<usize>,
    /// Whether it shows colours.
    pub colour: bool,
}

impl Screen {
    /// Cuts a line to the width, and gives it a colour: 31 is red, 33 is yellow.
    fn line(self, text: &str, colour: Option<u8>) -> String {
        let text = printable(text.trim_end());
        let cut = match self.width {
            Some(width) if text.chars().count() > width => {
                text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
            }
            _ => text.into_owned(),
        };
        match colour.filter(|_| self.colour) {
            Some(colour) => format!("\u{1b}[{colour}m{cut}\u{1b}[0m\n"),
            None => cut + "\n",
        }
    }
}

/// Adds the values of a block.
pub fn block(object: &mut Object, block: &Block<'_>) {
    let values = Key::ALL.into_iter().filter_map(|key| {
        let mut one = Object::new();
        one.text("key", key.name()).text("value", block.get(key)?);
        Some(one.done())
    });
    object.list("block", values);
}

/// Adds faults.
fn faults(object: &mut Object, faults: &[Fault]) {
    object.objects("faults", faults, |object, fault| {
        object.text("stage", fault.stage()).text("message", &fault.to_string());
    });
}

/// The judgement on a message: as git reads it, and the block that was found anywhere, if the
/// caller asked for it.
#[derive(Debug)]
pub struct Checked<'c> {
    /// As git reads it.
    pub strict: &'c Result<Block<'static>, Fault>,
    /// The block in any place; `None` if nobody asked.
    pub anywhere: Option<&'c Option<Found>>,
}

impl Checked<'_> {
    /// All that is wrong, by the reader that decides.
    pub fn faults(&self) -> Vec<Fault> {
        match (self.strict, self.anywhere) {
            (Ok(_), _) => Vec::new(),
            (Err(_), Some(Some(found))) => found.block.faults(),
            (Err(fault), _) => vec![fault.clone()],
        }
    }

    /// The answer as JSON.
    pub fn json(&self) -> Object {
        let mut object = Object::new();
        let found = self.faults();
        object.text("outcome", if found.is_empty() { "accepted" } else { "refused" });
        let stage = |faults: &[Fault]| faults.first().map_or("pass", Fault::stage);
        object.text("stage", stage(&found));
        object.text("strict_stage", self.strict.as_ref().map_or_else(Fault::stage, |_| "pass"));
        faults(&mut object, &found);
        match (self.strict, self.anywhere) {
            (Ok(good), _) => block(&mut object, good),
            (Err(_), Some(Some(found))) => {
                block(&mut object, &found.block);
                object.number("line", found.line as u64);
            }
            _ => {}
        }
        object
    }

    /// The answer in words, if the message is accepted.
    pub fn text(&self) -> String {
        let good = match (self.strict, self.anywhere) {
            (Ok(good), _) => good,
            (Err(fault), Some(Some(found))) => {
                let agent = found.block.get(Key::Agent).unwrap_or_default();
                let text = format!("accepted: signed by {agent} in line {}", found.line);
                return printable(&format!("{text}, where git does not look: {fault}"))
                    .into_owned();
            }
            (Err(_), _) => return String::new(),
        };
        let value = |key| good.get(key).unwrap_or_default();
        let text = format!("accepted: signed by {}, task {}", value(Key::Agent), value(Key::Task));
        printable(&text).into_owned()
    }
}

/// Why a commit has its class.
pub fn reason(row: &Row<'_>, ship: Ship) -> String {
    let judgement = row.judgement;
    let elsewhere = row.signed.elsewhere.is_some();
    let agent = judgement.agent_sign.as_deref().unwrap_or_default();
    match judgement.class {
        Class::Correct => {
            let block = row.signed.strict.as_ref().or(row.signed.elsewhere.as_ref());
            let agent = block.and_then(|block| block.get(Key::Agent)).unwrap_or("-");
            let place = if elsewhere { ", where git does not look" } else { "" };
            let but = judgement.fault.as_ref().map(|fault| format!("; but {fault}"));
            format!("signed by {agent}{place}{}", but.unwrap_or_default())
        }
        Class::Legacy => match ship {
            Ship::Never => "no commit of the branch is signed yet".to_owned(),
            Ship::Given(us) | Ship::First(us) => format!("older than {}", day_and_time(us)),
        },
        Class::Exempt if elsewhere => {
            "a whole block stands where git does not look (--anywhere)".to_owned()
        }
        Class::Exempt => "no block, and no agent is named".to_owned(),
        Class::Regression if elsewhere => {
            format!("made by {agent}; its block stands where git does not look (--anywhere)")
        }
        Class::Regression => format!("made by {agent}, and has no block"),
    }
}

fn day_and_time(us: i64) -> String {
    let text = format_utc(us);
    format!("{}Z", text.split_once('.').map_or(&*text, |(begin, _)| begin))
}

/// The head of the table of commits.
pub fn audit_head(screen: Screen) -> String {
    screen.line(&audit_line("COMMIT", "DATE", "VERDICT", "SUBJECT", "REASON"), None)
}

fn audit_line(id: &str, day: &str, verdict: &str, subject: &str, reason: &str) -> String {
    format!("{id:<12}  {day:<10}  {verdict:<21}  {subject:<32}  {reason}")
}

/// One commit as a line.
pub fn audit_line_of(row: &Row<'_>, ship: Ship, screen: Screen) -> String {
    let commit = row.commit;
    let time = format_utc(commit.at_us);
    let subject = commit.subject();
    let subject = match subject.chars().count() > 32 {
        true => subject.chars().take(31).chain(['…']).collect(),
        false => subject,
    };
    let judgement = row.judgement;
    let colour = match (judgement.class, &judgement.fault) {
        (Class::Regression, _) => Some(31),
        (_, Some(_)) => Some(33),
        _ => None,
    };
    let id = commit.id.get(..12).unwrap_or(commit.id);
    let day = time.get(..10).unwrap_or(&time);
    let line = audit_line(id, day, judgement.class.word(), &subject, &reason(row, ship));
    screen.line(&line, colour)
}

/// The last lines of the table.
pub fn audit_end(summary: &Summary) -> String {
    let counts: Vec<String> = Class::ALL
        .into_iter()
        .filter(|class| summary.of(*class) > 0)
        .map(|class| format!("{} {}", summary.of(class), class.word()))
        .collect();
    let mut text = match counts.is_empty() {
        true => "no commit to look at\n".to_owned(),
        false => format!("\n{}\n", counts.join(", ")),
    };
    if summary.is_shallow {
        text.push_str("the repository is shallow: the convention may be older than it says\n");
    }
    text
}

/// One commit as JSON.
pub fn audit_json(row: &Row<'_>, ship: Ship) -> Object {
    let (commit, judgement) = (row.commit, row.judgement);
    let mut object = Object::new();
    object.text("commit", commit.id).text("at", &format_utc(commit.at_us));
    object.text("verdict", judgement.class.word());
    object.text("strict_verdict", judgement.strict.word());
    object.flag("block_elsewhere", row.signed.elsewhere.is_some());
    object.text("subject", &commit.subject()).text("reason", &reason(row, ship));
    object.text_if("named_agent", judgement.agent_sign.as_deref());
    if let Some(signed) = row.signed.strict.as_ref().or(row.signed.elsewhere.as_ref()) {
        block(&mut object, signed);
    }
    if let Some(fault) = &judgement.fault {
        object.text("fault_stage", fault.stage()).text("fault", &fault.to_string());
    }
    object
}

/// What JSON says before the commits.
pub fn audit_json_head(ship: Ship) -> Object {
    let mut object = Object::new();
    match ship {
        Ship::Never => object.raw("ship_date", "null"),
        Ship::Given(us) | Ship::First(us) => object.text("ship_date", &format_utc(us)),
    };
    object.flag("ship_date_given", matches!(ship, Ship::Given(_)));
    object
}

/// The error of a history with commits of agents that have no block.
pub fn regression(summary: &Summary) -> Option<Error> {
    let count = summary.of(Class::Regression);
    let commits = if count == 1 { "commit of an agent has" } else { "commits of agents have" };
    let error = Error::new(Kind::Refused, format!("{count} {commits} no block"));
    (count > 0).then(|| error.hint("let git add the block: zeta signature install-hook"))
}

/// What JSON says after the commits.
pub fn audit_json_end(summary: &Summary) -> Object {
    let mut object = Object::new();
    object.number("correct", summary.of(Class::Correct));
    object.number("legacy", summary.of(Class::Legacy));
    object.number("exempt", summary.of(Class::Exempt));
    object.number("regressions", summary.of(Class::Regression));
    object.flag("shallow", summary.is_shallow);
    if let Some(error) = regression(summary) {
        object.text("error", error.kind.word()).number("exit_status", 1);
        object.text("message", &error.text);
        object.list("hints", error.hints.iter().map(|hint| quote(hint.as_str())));
    }
    object
}

/// When and how beats are shown.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Now, in µs since 1970 (UTC).
    pub now_us: i64,
    /// The length of a tick.
    pub tick_ms: u64,
}

/// Adds one beat.
pub fn beat_json(object: &mut Object, beat: &Beat, clock: Clock) {
    let Clock { now_us, tick_ms } = clock;
    object.text("agent", &beat.agent).text("state", beat.state(now_us, tick_ms).word());
    object.number("idle_ms", beat.idle_ms(now_us));
    object.number("idle_ticks", beat.idle_ticks(now_us, tick_ms));
    object.text("at", &format_utc(beat.at_us)).text("commit", &beat.commit);
    object.number("commits", beat.commits);
    object.text_if("runtime", beat.runtime.as_deref()).text_if("model", beat.model.as_deref());
    object.text_if("task", beat.task.as_deref());
}

/// The beats as JSON.
pub fn beats_json(seen: &Seen, branch: &str, clock: Clock) -> Object {
    let mut object = Object::new();
    object.text("branch", branch).number("tick_ms", clock.tick_ms);
    object.objects("beats", &seen.beats, |object, beat| beat_json(object, beat, clock));
    object.number("commits", seen.commits).number("in_the_future", seen.in_the_future);
    object
}

/// The beats as a table.
pub fn beats_text(beats: &[Beat], clock: Clock, screen: Screen) -> String {
    let mut rows = vec![
        ["AGENT", "STATE", "LAST COMMIT", "IDLE TICKS", "COMMITS", "TASK", "COMMIT"]
            .map(str::to_owned),
    ];
    let mut colours = vec![None];
    for beat in beats {
        let state = beat.state(clock.now_us, clock.tick_ms);
        rows.push([
            printable(&beat.agent).into_owned(),
            state.word().to_owned(),
            format!("{} ago", format_duration(beat.idle_ms(clock.now_us))),
            beat.idle_ticks(clock.now_us, clock.tick_ms).to_string(),
            beat.commits.to_string(),
            printable(beat.task.as_deref().unwrap_or("-")).into_owned(),
            beat.commit.get(..12).unwrap_or(&beat.commit).to_owned(),
        ]);
        colours.push((state == State::Overdue).then_some(33));
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().zip(colours).map(|(row, colour)| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        screen.line(&cells.collect::<Vec<_>>().join("  "), colour)
    });
    lines.collect()
}

/// What was done with hooks, as JSON.
pub fn hooks_json(changes: &[Change]) -> Object {
    let mut object = Object::new();
    object.objects("hooks", changes, |object, change| {
        object.text("hook", change.hook.file()).text("file", &change.file.display().to_string());
        object.text("outcome", change.outcome.word()).flag("other_hook", change.has_other);
    });
    object
}

/// What was done with hooks, in words.
pub fn hooks_text(changes: &[Change]) -> String {
    let line = |change: &Change| {
        let other = if change.has_other { " (another hook is there, and stays)" } else { "" };
        let file = change.file.display().to_string();
        format!("{}: {}{other}", change.outcome.word(), printable(&file))
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

//! Reports of `init` and `clean` as text and as JSON, for every front end.

use std::collections::BTreeMap;

use zeta_core::json::Object;
use zeta_core::name::Label;
use zeta_core::record::{printable, quote};
use zeta_core::time::format_utc;

use super::clean::{Cleaned, Item};

/// What was done in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The thing was in order.
    Found,
    /// The thing was missing and was created.
    Made,
    /// A program was run.
    Ran,
    /// The thing was tried and works.
    Checked,
    /// The thing stays as it is, for the reason given.
    Left,
}

impl Action {
    /// Returns the word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Action::Found => "found",
            Action::Made => "made",
            Action::Ran => "ran",
            Action::Checked => "checked",
            Action::Left => "left",
        }
    }
}

/// One step of an `init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub did: Action,
    /// The thing, and remarks.
    pub text: String,
}

impl Step {
    /// Makes a step.
    pub fn new(did: Action, text: impl Into<String>) -> Step {
        Step { did, text: text.into() }
    }
}

/// The report of an `init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The tree.
    pub state_dir: String,
    /// `private` or `group`.
    pub mode: &'static str,
    /// This machine's own node.
    pub node: Label,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// Commands that a person should run now.
    pub next: Vec<String>,
}

/// The report of an `init` as JSON.
pub fn init_json(report: &Report) -> Object {
    let mut object = Object::new();
    object.text("state_dir", &report.state_dir);
    object.text("mode", report.mode);
    object.text("node", report.node.as_str());
    object.list("steps", report.steps.iter().map(step_json));
    object.list("next", report.next.iter().map(|line| quote(line)));
    object
}

/// A step as JSON.
pub fn step_json(step: &Step) -> String {
    Object::new().text("did", step.did.word()).text("what", &step.text).done()
}

/// The report of an `init` as text, a line for each step.
pub fn init_text(report: &Report) -> String {
    steps_text(&report.steps, &report.next)
}

/// Steps as text, a line for each, and the commands to run next.
pub fn steps_text(steps: &[Step], next: &[String]) -> String {
    let steps = steps.iter();
    let mut lines: Vec<String> =
        steps.map(|step| format!("{:<8} {}", step.did.word(), printable(&step.text))).collect();
    if !next.is_empty() {
        lines.push("next:".to_owned());
        lines.extend(next.iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

/// The result of cleaning as JSON; `dry` says that nothing was removed yet.
pub fn clean_json(cleaned: &Cleaned, dry: bool) -> Object {
    let item = |item: &Item| {
        let mut object = Object::new();
        object.text("what", item.what).text("path", &item.path).text("reason", &item.reason);
        if let Some(changed_us) = item.changed_us {
            object.text("since", &format_utc(changed_us));
        }
        object.done()
    };
    let mut object = Object::new();
    object.flag("dry_run", dry);
    object.list("removed", cleaned.removed.iter().map(item));
    object.list("kept", cleaned.kept.iter().map(item));
    object
}

/// The things that were removed as text, a line for each.
pub fn clean_text(cleaned: &Cleaned, dry: bool) -> String {
    let verb = if dry { "would remove" } else { "removed" };
    let line = |item: &Item| {
        let reason = item.reason.replace('_', " ");
        printable(&format!("{verb} {} {}: {reason}", item.what, item.path)).into_owned()
    };
    cleaned.removed.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Counts what was removed and what stays, and says why it stays, in a line for each reason.
pub fn clean_total(cleaned: &Cleaned, dry: bool) -> String {
    let verb = if dry { "would remove" } else { "removed" };
    let mut text = format!("{verb} {}, {} stay", cleaned.removed.len(), cleaned.kept.len());
    let mut reasons: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in &cleaned.kept {
        reasons.entry(&item.reason).or_default().push(item);
    }
    for (reason, items) in reasons {
        let paths: Vec<&str> = items.iter().take(3).map(|item| item.path.as_str()).collect();
        let more = if items.len() > 3 { ", ..." } else { "" };
        let line = format!("  {} {}: {}{more}", items.len(), stays(reason), paths.join(", "));
        text.push('\n');
        text.push_str(&printable(&line));
    }
    text
}

/// Says why something stays, and until when; a reason that is a sentence says it itself.
fn stays(reason: &str) -> &str {
    match reason {
        "gone_recently" => {
            "ended less than 24h ago and go after that; to drop one now: zeta persona clear NAME"
        }
        "live" | "late" | "hung" | "silent" => "of agents that may be alive",
        "held" => "held",
        "in_grace" => "past their TTL: until their grace is over, or their holder has ended",
        "overdue_but_alive" => "overdue, and their holders' processes run",
        "foreign" => "written by another program",
        "foreign_in_time" => "written by another program: until their ttl is over (10m if none)",
        "damaged" => "damaged: look at them, then clear them by name",
        "damaged_in_time" => "damaged: until they are 20m old",
        "unknown_schema" => "perhaps written by a later zeta",
        "no_beat" => "without a heartbeat: only others wrote them",
        "young" => "unpublished, and younger than 1h",
        "beside_the_tree" => "beside the state directory: never removed",
        reason => reason,
    }
}

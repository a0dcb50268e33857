//! The columns of each pane, and a row of it.

use zeta_core::history::Entry;
use zeta_core::overview::{Agent, Finding, Lease, LeaseKind, Message, Urgency};

use super::table::{Cell, Column, fixed, rest};
use crate::change;
use crate::clock::Clock;
use crate::scene::{Pane, Scene, state};
use crate::theme::{Signs, Theme, Tone};

const AGENTS: &[Column] = &[
    fixed("STATE", 9, 0),
    fixed("AGENT", 14, 0),
    fixed("UP", 4, 0),
    rest("DOES", 3, 0),
    fixed("BRANCH", 18, 120),
    rest("WORKTREE", 2, 150),
    fixed("TOOL", 8, 110),
    fixed("MAIL", 4, 100),
    rest("EVIDENCE", 2, 70),
];

const LEASES: &[Column] = &[
    fixed("STATE", 9, 0),
    rest("WHAT", 3, 0),
    fixed("HOLDER", 14, 0),
    fixed("REST", 14, 0),
    fixed("WAIT", 4, 0),
    rest("PURPOSE", 2, 70),
    fixed("BRANCH", 18, 120),
    rest("WORKTREE", 2, 150),
    fixed("TOKEN", 16, 180),
    rest("EVIDENCE", 2, 100),
];

const MESSAGES: &[Column] = &[
    fixed("UTC", 8, 0),
    fixed("FROM", 12, 0),
    fixed("TO", 12, 0),
    fixed("TOPIC", 14, 76),
    rest("TEXT", 1, 0),
];

const LOG: &[Column] =
    &[fixed("UTC", 8, 0), rest("WHAT", 1, 0), rest("WHAT HAPPENED", 3, 0), fixed("TOKEN", 16, 110)];

const FINDINGS: &[Column] =
    &[fixed("URGENCY", 10, 0), fixed("ABOUT", 16, 0), rest("WHAT IS WRONG", 1, 0)];

/// The columns of a pane.
pub fn columns(pane: Pane) -> &'static [Column] {
    match pane {
        Pane::Agents => AGENTS,
        Pane::Leases => LEASES,
        Pane::Messages => MESSAGES,
        Pane::Log => LOG,
        Pane::Findings => FINDINGS,
    }
}

/// The texts of a row, a cell for each column.
pub fn cells(scene: &Scene<'_>, pane: Pane, at: usize, clock: &Clock, theme: &Theme) -> Vec<Cell> {
    let known = scene.overview;
    let cells = match pane {
        Pane::Agents => known.agents.get(at).map(|it| agent(it, scene, clock, theme)),
        Pane::Leases => known.leases.get(at).map(|it| lease(it, scene, clock, theme)),
        Pane::Messages => known.messages.get(at).map(|it| message(it, clock)),
        Pane::Log => scene.log.get(at).map(|it| log(it, clock, theme)),
        Pane::Findings => known.findings.get(at).map(|it| finding(it, scene, theme)),
    };
    cells.unwrap_or_default()
}

/// How a state of an agent is shown.
pub fn agent_tone(state: &str, signs: &Signs) -> (&'static str, Tone) {
    match state {
        "waits" => (signs.waits, Tone::Doubt),
        "hung" => (signs.bad, Tone::Bad),
        "stopped" => (signs.stopped, Tone::Bad),
        "late" => (signs.late, Tone::Doubt),
        "silent" => (signs.silent, Tone::Doubt),
        "gone" => (signs.gone, Tone::Faint),
        _ => (signs.live, Tone::Plain),
    }
}

/// What an agent does, in its own words; of one that waits, its question.
pub fn doing(agent: &Agent) -> String {
    if let Some(waits) = agent.waits.as_ref().filter(|_| state(agent) == "waits") {
        return format!("asks: {}", waits.question);
    }
    let words = [&agent.task, &agent.status].into_iter().flatten();
    words.map(String::as_str).collect::<Vec<_>>().join(" - ")
}

/// A name, with its node if that is another one than the node that is meant.
fn at_node(name: &str, node: &str, scene: &Scene<'_>) -> String {
    match scene.node.or(scene.overview.node.as_deref()).is_none_or(|meant| meant == node) {
        true => name.to_owned(),
        false => format!("{name}@{node}"),
    }
}

fn agent(agent: &Agent, scene: &Scene<'_>, clock: &Clock, theme: &Theme) -> Vec<Cell> {
    let state = state(agent);
    let (sign, tone) = agent_tone(state, &theme.signs);
    let faint = if tone == Tone::Faint { Tone::Faint } else { Tone::Plain };
    let up = agent.started_at_us.map(|at| clock.age(at)).unwrap_or_default();
    let unread = if agent.unread > 0 { agent.unread.to_string() } else { String::new() };
    // The beats of a live agent are no news: the view stays still.
    let beat = agent.beat_at_us.filter(|_| matches!(state, "hung" | "late" | "silent" | "stopped"));
    let evidence = match beat {
        Some(at) => format!("{} ago: {}", clock.age(at), agent.evidence),
        None => agent.evidence.clone(),
    };
    vec![
        Cell::new(format!("{sign} {state}"), tone),
        Cell::new(
            at_node(&agent.name, &agent.node, scene),
            if faint == Tone::Faint { faint } else { Tone::Strong },
        ),
        Cell::new(up, faint),
        Cell::new(doing(agent), if state == "waits" { Tone::Doubt } else { faint }),
        Cell::maybe(&agent.branch),
        Cell::path(&agent.worktree),
        Cell::maybe(&agent.tool),
        Cell::new(unread, Tone::Plain),
        Cell::new(evidence, if tone == Tone::Plain { Tone::Faint } else { tone }),
    ]
}

/// How a lease stands in a word that fits a column, with its sign.
pub fn lease_state(lease: &Lease, signs: &Signs) -> (&'static str, String, Tone) {
    let word = match lease.standing.as_str() {
        "holder_dead" => "dead".to_owned(),
        "in_grace" => "grace".to_owned(),
        standing => standing.replace('_', " "),
    };
    let (sign, tone) = match lease.standing.as_str() {
        "held" => (signs.live, Tone::Plain),
        // Its holder is gone, and others wait for it or could have it.
        _ if lease.is_free && !lease.waiters.is_empty() => (signs.bad, Tone::Bad),
        _ if lease.is_free => (signs.gone, Tone::Doubt),
        "in_grace" => (signs.late, Tone::Doubt),
        "overdue" | "damaged" => (signs.bad, Tone::Bad),
        _ => (signs.silent, Tone::Doubt),
    };
    (sign, word, tone)
}

/// How many cells the bar of a lease has.
const BAR: u16 = 9;

/// The rest of the time of a lease, as a bar and in words: full is just renewed.
pub fn rest_of(lease: &Lease, clock: &Clock, signs: &Signs) -> String {
    if lease.is_free {
        return "free".to_owned();
    }
    let Some(until) = lease.expires_at_us else { return String::new() };
    let whole = i64::try_from(lease.ttl_ms).unwrap_or(i64::MAX).saturating_mul(1000);
    let full = clock.bar(until, whole, BAR);
    let bar = signs.full.repeat(full.into()) + &signs.empty.repeat((BAR - full).into());
    let rest = match (until > clock.now_us(), lease.grace_until_us) {
        (true, _) => clock.rest(until),
        (false, Some(grace)) if grace > clock.now_us() => format!("+{}", clock.rest(grace)),
        (false, _) => "over".to_owned(),
    };
    format!("{bar} {rest}")
}

fn lease(lease: &Lease, scene: &Scene<'_>, clock: &Clock, theme: &Theme) -> Vec<Cell> {
    let (sign, word, tone) = lease_state(lease, &theme.signs);
    let kind = match lease.kind {
        LeaseKind::Lease => "",
        LeaseKind::Claim => "claim ",
        LeaseKind::Paths => "paths ",
        LeaseKind::Slot => "slot ",
    };
    let line =
        if lease.waiters.is_empty() { String::new() } else { lease.waiters.len().to_string() };
    let holder = if lease.agent.is_empty() { "not known" } else { &lease.agent };
    vec![
        Cell::new(format!("{sign} {word}"), tone),
        Cell::new(at_node(&format!("{kind}{}", lease.subject), &lease.node, scene), Tone::Strong),
        Cell::new(holder, Tone::Plain),
        Cell::new(rest_of(lease, clock, &theme.signs), tone),
        Cell::new(line, if tone == Tone::Bad { tone } else { Tone::Strong }),
        Cell::maybe(&lease.purpose),
        Cell::maybe(&lease.branch),
        Cell::path(&lease.worktree),
        Cell::new(lease.token.to_string(), Tone::Faint),
        Cell::new(&lease.evidence, if tone == Tone::Plain { Tone::Faint } else { tone }),
    ]
}

fn message(message: &Message, clock: &Clock) -> Vec<Cell> {
    vec![
        Cell::new(clock.moment(message.at_us), Tone::Faint),
        Cell::new(&message.from, Tone::Strong),
        Cell::new(&message.to, Tone::Plain),
        Cell::new(&message.topic, Tone::Faint),
        Cell::new(&message.text, Tone::Plain),
    ]
}

fn log(entry: &Entry, clock: &Clock, theme: &Theme) -> Vec<Cell> {
    let sign = if change::is_grave(entry.event) { theme.signs.bad } else { theme.signs.silent };
    let token = entry.fencing_token.map(|token| token.to_string()).unwrap_or_default();
    let tone = change::tone(entry.event);
    vec![
        Cell::new(clock.moment(entry.at_us), Tone::Faint),
        Cell::new(&entry.subject, Tone::Strong),
        Cell::new(format!("{sign} {}", change::text(entry, theme.signs.arrow)), tone),
        Cell::new(token, Tone::Faint),
    ]
}

/// How a finding is marked: its sign, a word, and what it means.
pub fn urgency(urgency: Urgency, signs: &Signs) -> (&'static str, &'static str, Tone) {
    match urgency {
        Urgency::Person => (signs.waits, "waits", Tone::Doubt),
        Urgency::Stuck => (signs.bad, "stuck", Tone::Bad),
        Urgency::Collision => (signs.clash, "collides", Tone::Clash),
        Urgency::Notice => (signs.silent, "notice", Tone::Plain),
    }
}

fn finding(finding: &Finding, scene: &Scene<'_>, theme: &Theme) -> Vec<Cell> {
    let (sign, word, tone) = urgency(finding.urgency, &theme.signs);
    let about = match &finding.node {
        Some(node) => at_node(&finding.about, node, scene),
        None => finding.about.clone(),
    };
    vec![
        Cell::new(format!("{sign} {word}"), tone),
        Cell::new(about, Tone::Strong),
        Cell::new(&finding.text, Tone::Plain),
    ]
}

//! The status as text: the node, its agents, its leases, its markers, and the findings.

use std::sync::atomic::{AtomicUsize, Ordering};

use zeta_core::evidence::ProcessState;
use zeta_core::lease::{Cause, HeldWhy, Observed, Record, Standing};
use zeta_core::presence::{Beat, Liveness};
use zeta_core::record::{Fields, printable};
use zeta_core::time::{Now, format_duration, moment, parse_utc};

use super::table::{CellStyle, Table};
use super::{Agent, Finding, LastSeen, Lease, Marker, NodeStatus, Persona, Sharing, StatusView};
use crate::context::Context;
use crate::lease::report;

/// What the screen can show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    /// Its width in characters; `None` if lines may be as long as need be.
    pub width: Option<usize>,
    /// Whether it shows colours.
    pub colour: bool,
}

impl Screen {
    /// Writes the whole screen in pieces; `all` adds a line with totals.
    pub fn write(
        &self,
        view: &StatusView,
        ctx: &Context,
        all: bool,
        mut emit: impl FnMut(&str) + Send,
    ) {
        emit(&self.head(view, ctx));
        let wrong = AtomicUsize::new(view.findings.len());
        let render = |_: usize, status: &NodeStatus<'_>, text: &mut String| {
            wrong.fetch_add(status.findings.len(), Ordering::Relaxed);
            self.node(text, status);
        };
        view.each(ctx, render, &mut emit);
        emit(&self.findings(&view.findings));
        if all && !view.is_empty() {
            let wrong = wrong.load(Ordering::Relaxed);
            emit(&format!("\n{} nodes, {} findings\n", view.len(), wrong));
        }
    }

    /// Describes the tree, and says so if there is nothing in it.
    fn head(&self, view: &StatusView, ctx: &Context) -> String {
        let dir = view.state_dir.display().to_string();
        let dir = printable(&dir);
        let Some(sharing) = view.sharing else {
            return format!(
                "zeta has not been used here yet: {dir} does not exist\n  \
                 -> the first 'zeta run' or 'zeta lease acquire' creates it\n"
            );
        };
        let sharing = match sharing {
            Sharing::Private => "private (0700, one user)".to_owned(),
            Sharing::Group { gid } => format!("shared by group id {gid}"),
        };
        let node = match &view.node {
            Some(node) => node.to_string(),
            None => "not named yet".to_owned(),
        };
        let own = if ctx.node.is_some() {
            "selected by --node or ZETA_NODE"
        } else {
            "this machine's own"
        };
        let mut text = format!("tree    {dir}, {sharing}\n");
        text.push_str(&format!(
            "node    {node}, {own}; host name {}\n",
            printable(&view.host_name)
        ));
        if view.is_empty() {
            text.push_str("\nzeta has not been used here yet: there is no node in the tree\n");
        }
        text
    }

    /// Writes one node.
    pub fn node(&self, text: &mut String, status: &NodeStatus<'_>) {
        let now = &status.now;
        let seen = match status.last_seen {
            LastSeen::Unknown => "no beat on record".to_owned(),
            LastSeen::At(at_us) => format!("last beat {}", moment(at_us, now.reading.wall_us)),
        };
        text.push_str(&format!("\n{}: {seen}\n", status.name));
        let nothing = status.agents.is_empty()
            && status.leases.is_empty()
            && status.markers.is_empty()
            && status.findings.is_empty();
        if nothing {
            text.push_str("no agents, no leases\n");
            return;
        }
        self.agents(text, &status.agents, now);
        self.leases(text, &status.leases, now);
        self.markers(text, &status.markers, now);
        match status.findings.is_empty() {
            true => text.push_str("\nnothing wrong was found\n"),
            false => text.push_str(&self.findings(&status.findings)),
        }
    }

    fn agents(&self, text: &mut String, agents: &[Agent<'_>], now: &Now) {
        if agents.is_empty() {
            return;
        }
        let mut table = Table::new([
            "AGENT", "LIVENESS", "BEAT", "EVIDENCE", "STATUS", "TASK", "BRANCH", "SINCE", "PIDS",
        ]);
        for agent in agents {
            table.row(agent_cells(agent, now), agent_style(agent));
        }
        text.push('\n');
        table.write(text, self.width, self.colour);
    }

    fn leases(&self, text: &mut String, leases: &[Lease<'_>], now: &Now) {
        if leases.is_empty() {
            return;
        }
        let mut table =
            Table::new(["LEASE", "STANDING", "HOLDER", "EVIDENCE", "SINCE", "UNTIL", "PURPOSE"]);
        for lease in leases {
            table.row(lease_cells(lease, now), lease_style(&lease.view.standing));
        }
        text.push('\n');
        table.write(text, self.width, self.colour);
    }

    fn markers(&self, text: &mut String, markers: &[Marker<'_>], now: &Now) {
        if markers.is_empty() {
            return;
        }
        let mut table = Table::new(["MARKER", "STATE", "BY", "CHANGED"]);
        for marker in markers {
            let style = if marker.state == "set" { CellStyle::Plain } else { CellStyle::Doubt };
            let age_us = now.reading.wall_us.saturating_sub(marker.times.mtime_us);
            let changed = match u64::try_from(age_us) {
                Ok(us) => ago(us / 1000),
                Err(_) => "in the future".to_owned(),
            };
            let by = cell_of(&marker.fields, "agent");
            table.row([marker.name.to_owned(), marker.state.to_owned(), by, changed], style);
        }
        text.push('\n');
        table.write(text, self.width, self.colour);
    }

    /// Describes the findings; empty if there are none.
    fn findings(&self, findings: &[Finding]) -> String {
        let mut text = String::new();
        if findings.is_empty() {
            return text;
        }
        text.push_str("\nWRONG\n");
        for finding in findings {
            let line = format!("  {}", printable(&finding.text));
            text.push_str(&if self.colour { CellStyle::Bad.paint(&line) } else { line });
            text.push('\n');
            for hint in &finding.hints {
                text.push_str(&format!("    -> {}\n", printable(hint)));
            }
        }
        text
    }
}

/// Returns the value of a key as a cell.
fn cell_of(fields: &Fields<'_>, key: &str) -> String {
    match fields.text(key) {
        Some(value) => printable(&value).into_owned(),
        None => fields.raw(key).map(|raw| printable(raw).into_owned()).unwrap_or_default(),
    }
}

fn ago(ms: u64) -> String {
    format!("{} ago", format_duration(ms))
}

fn agent_cells(agent: &Agent<'_>, now: &Now) -> [String; 9] {
    let none = Fields::default();
    let (fields, pids) = match &agent.persona {
        Persona::Own(fields, beat) => (fields, pids(beat)),
        Persona::Foreign(fields) | Persona::NoBeat(fields) => (fields, cell_of(fields, "pid")),
        Persona::Damaged(_) => (&none, String::new()),
    };
    let started = ["started_at", "timestamp"].iter().find_map(|key| {
        let at_us = parse_utc(&fields.text(key)?).ok()?;
        u64::try_from(now.reading.wall_us.saturating_sub(at_us)).ok()
    });
    [
        agent.name.to_owned(),
        agent.judgement.liveness.word().to_owned(),
        agent.judgement.beat_age_ms.map(ago).unwrap_or_default(),
        agent.judgement.evidence.to_owned(),
        cell_of(fields, "status"),
        cell_of(fields, "task"),
        cell_of(fields, "branch"),
        started.map(|us| ago(us / 1000)).unwrap_or_default(),
        pids,
    ]
}

fn pids(beat: &Beat) -> String {
    let all = [beat.processes.own, beat.processes.child];
    let all: Vec<String> = all.iter().flatten().map(|process| process.pid.to_string()).collect();
    all.join("+")
}

fn agent_style(agent: &Agent<'_>) -> CellStyle {
    match (&agent.persona, agent.judgement.liveness) {
        (Persona::Damaged(_), _) | (_, Liveness::Hung) => CellStyle::Bad,
        (Persona::Own(_, beat), Liveness::Gone) if !beat.ended => CellStyle::Bad,
        (Persona::Foreign(_), _) | (_, Liveness::Late | Liveness::Silent) => CellStyle::Doubt,
        (_, Liveness::Live | Liveness::Gone) => CellStyle::Plain,
    }
}

fn lease_cells(lease: &Lease<'_>, now: &Now) -> [String; 7] {
    let view = &lease.view;
    let mut cells = <[String; 7]>::default();
    cells[0] = view.lease.to_string();
    cells[1] = report::standing_word(&view.standing).to_owned();
    match &view.observed {
        Observed::Ours(record, _, life) => {
            cells[2] = report::holder(record);
            cells[3] = match life {
                ProcessState::Alive => "process runs",
                ProcessState::Dead => "processes have ended",
                ProcessState::Unknown => "not tied to a process",
            }
            .to_owned();
            (cells[4], cells[5]) = since_until(record, now);
            let purpose = record.purpose.as_deref().unwrap_or_default();
            cells[6] = printable(purpose).into_owned();
        }
        Observed::Foreign { said, .. } => {
            cells[2] = printable(&report::foreign_holder(said)).into_owned();
            (cells[4], cells[5]) = foreign_times(&view.observed, now);
            cells[3] = "another program's record".to_owned();
        }
        Observed::Damaged(..) => {
            cells[2] = "unknown".to_owned();
            cells[3] = "its record is damaged".to_owned();
        }
        Observed::Absent => {}
    }
    cells
}

fn foreign_times(observed: &Observed, now: &Now) -> (String, String) {
    let apart = |at_us: Option<i64>| at_us.map_or(String::new(), |at_us| distance(at_us, now));
    let (since, until) = report::times(observed, now);
    (apart(since), apart(until))
}

fn distance(at_us: i64, now: &Now) -> String {
    let here = now.reading.wall_us;
    let ms = at_us.abs_diff(here) / 1000;
    if at_us <= here { ago(ms) } else { format!("in {}", format_duration(ms)) }
}

fn since_until(record: &Record, now: &Now) -> (String, String) {
    if !report::has_same_clock(record, now) {
        return ("another clock".to_owned(), "another clock".to_owned());
    }
    let apart = |boot_ns| distance(report::wall_of(boot_ns, now), now);
    (apart(record.acquired_boot_ns), apart(record.expires_boot_ns()))
}

fn lease_style(standing: &Standing) -> CellStyle {
    match standing {
        Standing::Held(held) => match held.why {
            HeldWhy::InTime => CellStyle::Plain,
            HeldWhy::InGrace | HeldWhy::Foreign => CellStyle::Doubt,
            HeldWhy::OverdueForever | HeldWhy::Damaged => CellStyle::Bad,
        },
        Standing::Grantable(Cause::Free) => CellStyle::Plain,
        Standing::Grantable(_) | Standing::MustKill(_) => CellStyle::Bad,
    }
}

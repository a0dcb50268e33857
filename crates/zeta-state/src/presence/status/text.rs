//! The status as text: the node, its agents, its leases, its markers, and the findings.

use std::sync::atomic::{AtomicUsize, Ordering};

use zeta_core::cluster::card::{Copied, is_silent};
use zeta_core::record::printable;
use zeta_core::time::{Now, format_duration, moment};

use super::rows;
use super::waiting::WaitingAgent;
use super::{
    Agent, Finding, Keep, LastSeen, Lease, Marker, NodeStatus, Persona, Sharing, StatusView,
};
use crate::context::Context;
use crate::table::Cell;
use crate::table::{CellStyle, Column, Table};

/// What the screen can show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    /// Its width in characters; `None` if lines may be as long as need be.
    pub width: Option<usize>,
    /// Whether it shows colours.
    pub colour: bool,
    /// Whether every node is shown, with its agents that have ended and a line of totals.
    pub all: bool,
}

impl Screen {
    /// Writes the whole screen in pieces.
    pub fn write(&self, view: &StatusView, ctx: &Context, mut emit: impl FnMut(&str) + Send) {
        emit(&self.head(view));
        let wrong = AtomicUsize::new(view.findings.len());
        let render = |_: usize, status: &NodeStatus<'_>, text: &mut String| {
            wrong.fetch_add(status.findings.len(), Ordering::Relaxed);
            self.node(text, status);
        };
        view.each(ctx, Keep::Judgements, render, &mut emit);
        for (at, (agent, messages)) in view.unread.iter().enumerate() {
            let unread = count(*messages, "unread message");
            let line = format!("{agent} has {unread}: zeta bus inbox --as {agent}");
            let space = if at == 0 { "\n" } else { "" };
            emit(&format!("{space}{}\n", printable(&line)));
        }
        emit(&self.findings(&view.findings));
        if self.all && !view.is_empty() {
            let wrong = wrong.load(Ordering::Relaxed);
            let (nodes, findings) = (count(view.len(), "node"), count(wrong, "finding"));
            emit(&format!("\n{nodes}, {findings}\n"));
        }
    }

    /// Describes the tree, and says so if there is nothing in it.
    fn head(&self, view: &StatusView) -> String {
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
        let own = match view.is_own {
            true => "this machine's own",
            false => "another one than this machine's own (--node, ZETA_NODE, configuration)",
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
            LastSeen::At(at_us) => format!("last beat {}", moment(at_us, now.reading.wall_us)),
            // Only calls that beat for the node write its line; an agent's own word is one, too.
            LastSeen::Unknown => {
                match status.agents.iter().filter_map(|a| a.judgement.beat_age_ms).min() {
                    Some(age_ms) => format!("last beat {} ago", format_duration(age_ms)),
                    None => "no beat on record".to_owned(),
                }
            }
        };
        text.push_str(&format!("\n{}: {seen}\n", status.name));
        if let Some(card) = &status.copied {
            text.push_str(&copied(card.as_ref(), now));
        }
        let nothing = status.agents.is_empty()
            && status.leases.is_empty()
            && status.markers.is_empty()
            && status.findings.is_empty();
        if nothing {
            text.push_str("no agents, no leases\n");
            return;
        }
        let waiting = status.agents.iter().filter_map(|a| Some((a.name, a.waiting.as_ref()?)));
        self.table(text, rows::WAITING, waiting, |(agent, waiting)| {
            (rows::waiting(status.name.as_str(), agent, waiting), CellStyle::Doubt)
        });
        self.agents(text, &status.agents, now);
        self.leases(text, &status.leases, now);
        self.markers(text, &status.markers, now);
        match status.findings.is_empty() {
            true => text.push_str("\nnothing wrong was found\n"),
            false => text.push_str(&self.findings(&status.findings)),
        }
    }

    /// Writes the table of agents; those that have recorded their end are only counted, except in a
    /// list of everything.
    fn agents(&self, text: &mut String, agents: &[Agent<'_>], now: &Now) {
        let is_shown = |agent: &&Agent<'_>| self.all || !has_ended(agent);
        let shown = agents.iter().filter(is_shown);
        self.table(text, rows::AGENTS, shown, |agent| {
            (rows::agent(agent, now), rows::agent_style(agent))
        });
        match agents.iter().filter(|agent| !is_shown(agent)).count() {
            0 => {}
            1 => text.push_str("\n1 agent has ended: zeta status --all shows it\n"),
            ended => text
                .push_str(&format!("\n{ended} agents have ended: zeta status --all shows them\n")),
        }
    }

    /// Writes the table of claims, and that of all other leases.
    fn leases(&self, text: &mut String, leases: &[Lease<'_>], now: &Now) {
        let claims = leases.iter().filter_map(|lease| Some((lease, lease.claim.as_ref()?)));
        self.table(text, rows::CLAIMS, claims, |(lease, claim)| {
            (rows::claim(lease, claim, now), rows::lease_style(&lease.view.standing))
        });
        let others = leases.iter().filter(|lease| lease.claim.is_none());
        self.table(text, rows::LEASES, others, |lease| {
            (rows::lease(lease, now), rows::lease_style(&lease.view.standing))
        });
    }

    /// Writes the agents that wait for a person, and nothing else.
    pub fn waiting(&self, agents: &[WaitingAgent]) -> String {
        let mut table = Table::new(rows::WAITING, agents.len());
        for WaitingAgent { node, agent, waiting } in agents {
            table.row(rows::waiting(node, agent, waiting), CellStyle::Plain);
        }
        let mut text = String::new();
        table.write(&mut text, self.width, false);
        text
    }

    fn markers(&self, text: &mut String, markers: &[Marker<'_>], now: &Now) {
        self.table(text, rows::MARKERS, markers, |marker| {
            (rows::marker(marker, now), rows::marker_style(marker))
        });
    }

    /// Writes a table with a row for each item; nothing if there is no item.
    fn table<'t, T, const N: usize>(
        &self,
        text: &mut String,
        columns: [Column; N],
        items: impl IntoIterator<Item = T>,
        row: impl Fn(T) -> ([Cell<'t>; N], CellStyle),
    ) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return;
        }
        let most = items.size_hint().1.unwrap_or(0);
        let mut table = Table::new(columns, most);
        for item in items {
            let (cells, style) = row(item);
            table.row(cells, style);
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
            let style = if self.colour { CellStyle::Bad } else { CellStyle::Plain };
            text.push_str(&style.paint(&line));
            text.push('\n');
            for hint in &finding.hints {
                text.push_str(&format!("    -> {}\n", printable(hint)));
            }
        }
        text
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Returns whether the agent's session has recorded its end.
fn has_ended(agent: &Agent<'_>) -> bool {
    matches!(&agent.persona, Persona::Own(_, beat) if beat.ended)
}

/// Says how fresh the copy of another machine's node is. A machine that is silent is not dead.
fn copied(card: Option<&Copied>, now: &Now) -> String {
    let Some(card) = card else {
        return "a copy of another machine's records, whose card has not come yet\n".to_owned();
    };
    let age = match card.age_ms(now) {
        Some(age_ms) => format!("{} ago", format_duration(age_ms)),
        None => "before this machine's last boot".to_owned(),
    };
    let silent = match is_silent(&card.seen, now) {
        true => "; it is silent: whether it works is not known",
        false => "",
    };
    let verified = if card.verified { "" } else { "; not signed with a key that is known" };
    format!("a copy of another machine's records, its last card came {age}{silent}{verified}\n")
}

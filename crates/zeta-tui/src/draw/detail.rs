//! All that is known of one row: of an agent, a lease, a message, a change or a finding.

use zeta_core::history::Entry;
use zeta_core::overview::{Agent, Finding, Lease, Message, Overview};
use zeta_core::time::format_utc;

use super::TextLine;
use super::row::{agent_tone, lease_state, rest_of, urgency};
use crate::change;
use crate::clock::Clock;
use crate::scene::{Pane, Scene, state};
use crate::theme::{Theme, Tone};

/// Most lines of the log, or messages, that the details of something repeat.
const LAST: usize = 8;

/// The lines about the row at a place.
pub fn lines(
    scene: &Scene<'_>,
    pane: Pane,
    at: usize,
    clock: &Clock,
    theme: &Theme,
) -> Vec<TextLine> {
    let mut page = Page { lines: Vec::new(), clock, theme };
    let known = scene.overview;
    match pane {
        Pane::Agents => known.agents.get(at).into_iter().for_each(|it| page.agent(scene, it)),
        Pane::Leases => known.leases.get(at).into_iter().for_each(|it| page.lease(scene, it)),
        Pane::Messages => known.messages.get(at).into_iter().for_each(|it| page.message(it)),
        Pane::Log => scene.log.get(at).into_iter().for_each(|it| page.change(scene, it)),
        Pane::Findings => known.findings.get(at).into_iter().for_each(|it| page.finding(it)),
    }
    page.lines
}

struct Page<'a> {
    lines: Vec<TextLine>,
    clock: &'a Clock,
    theme: &'a Theme,
}

impl Page<'_> {
    fn add(&mut self, label: &str, text: impl Into<String>, tone: Tone) {
        self.lines.push(TextLine { label: label.to_owned(), text: text.into(), tone });
    }

    fn fact(&mut self, label: &str, text: impl Into<String>) {
        self.add(label, text, Tone::Plain);
    }

    fn maybe(&mut self, label: &str, text: &Option<String>) {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            self.fact(label, text);
        }
    }

    /// A moment of the past, with its age.
    fn moment(&mut self, label: &str, at_us: Option<i64>) {
        if let Some(at_us) = at_us {
            let text = format!("{} ago, at {}", self.clock.age(at_us), utc(at_us));
            self.fact(label, text);
        }
    }

    /// A list under one label.
    fn all(&mut self, label: &str, texts: impl IntoIterator<Item = (String, Tone)>) {
        for (at, (text, tone)) in texts.into_iter().enumerate() {
            self.add(if at == 0 { label } else { "" }, text, tone);
        }
    }

    fn agent(&mut self, scene: &Scene<'_>, agent: &Agent) {
        let state = state(agent);
        let (sign, tone) = agent_tone(state, &self.theme.signs);
        self.add("agent", &agent.name, Tone::Strong);
        self.add("state", format!("{sign} {state}: {}", agent.evidence), tone);
        if let Some(waits) = &agent.waits {
            self.add("asks", &waits.question, Tone::Doubt);
            self.moment("asked", waits.since_us);
        }
        self.maybe("status", &agent.status);
        self.maybe("task", &agent.task);
        self.maybe("branch", &agent.branch);
        self.maybe("worktree", &agent.worktree);
        self.maybe("tool", &agent.tool);
        let pids: Vec<String> = agent.pids.iter().map(u64::to_string).collect();
        self.maybe("processes", &Some(pids.join(" ")));
        self.moment("began", agent.started_at_us);
        self.moment("last beat", agent.beat_at_us);
        self.fact("node", &agent.node);
        if agent.unread > 0 {
            let text = format!("{} unread: zeta bus inbox --as {}", agent.unread, agent.name);
            self.fact("mail", text);
        }
        let known = scene.overview;
        let holds =
            known.leases.iter().filter(|it| it.agent == agent.name && it.node == agent.node);
        let holds: Vec<(String, Tone)> = holds.map(|lease| self.held(lease)).collect();
        self.all("holds", holds);
        let waits = |lease: &&Lease| {
            let waiter = |it: &zeta_core::overview::Waiter| it.agent.as_ref() == Some(&agent.name);
            lease.node == agent.node && lease.waiters.iter().any(waiter)
        };
        let waits = known.leases.iter().filter(waits);
        let waits = waits.map(|it| (format!("{}, held by {}", it.subject, it.agent), Tone::Plain));
        self.all("waits for", waits);
        self.findings(known, &agent.node, &[&agent.name]);
        let of_agent = |it: &&Message| it.from == agent.name || it.to == agent.name;
        let messages = known.messages.iter().rev().filter(of_agent).take(LAST);
        let messages: Vec<(String, Tone)> = messages
            .map(|it| {
                let (at, arrow) = (self.clock.moment(it.at_us), self.theme.signs.arrow);
                (format!("{at}  {} {arrow} {}: {}", it.from, it.to, it.text), Tone::Plain)
            })
            .collect();
        self.all("messages", messages);
    }

    /// A lease in a line: what it is, how long it has, and where.
    fn held(&self, lease: &Lease) -> (String, Tone) {
        let (sign, _, tone) = lease_state(lease, &self.theme.signs);
        let word = standing(lease);
        let rest = rest_of(lease, self.clock, &self.theme.signs);
        let place = lease.branch.as_ref().map(|branch| format!(", branch {branch}"));
        let line = match lease.waiters.len() {
            0 => String::new(),
            count => format!(", {count} in line"),
        };
        let place = place.unwrap_or_default();
        (format!("{sign} {}: {word}, {rest}{place}{line}", lease.subject), tone)
    }

    fn lease(&mut self, scene: &Scene<'_>, lease: &Lease) {
        let (sign, _, tone) = lease_state(lease, &self.theme.signs);
        self.add("lease", &lease.subject, Tone::Strong);
        if lease.name != lease.subject {
            self.fact("name", &lease.name);
        }
        self.add("state", format!("{sign} {}", standing(lease)), tone);
        self.fact("holder", if lease.agent.is_empty() { "not known" } else { &lease.agent });
        self.add("evidence", &lease.evidence, tone);
        if lease.is_free {
            self.add("", "the next caller gets it", tone);
        }
        self.maybe("purpose", &lease.purpose);
        self.maybe("branch", &lease.branch);
        self.maybe("worktree", &lease.worktree);
        self.fact("token", lease.token.to_string());
        self.moment("granted", lease.acquired_at_us);
        if let Some(until) = lease.expires_at_us.filter(|_| !lease.is_free) {
            let rest = rest_of(lease, self.clock, &self.theme.signs);
            let ttl = zeta_core::time::format_duration(lease.ttl_ms);
            self.fact("rest", format!("{rest} of {ttl}, until {}", utc(until)));
        }
        if let Some(grace) = lease.grace_until_us {
            self.fact("grace", format!("until {} while its holder lives", utc(grace)));
        }
        self.fact("node", &lease.node);
        let line: Vec<(String, Tone)> = lease
            .waiters
            .iter()
            .enumerate()
            .map(|(at, waiter)| {
                let agent = waiter.agent.as_deref().unwrap_or("agent not known");
                let since = waiter.since_us.map(|since| self.clock.age(since));
                let since = since.map(|age| format!(", for {age}")).unwrap_or_default();
                (format!("{}. {agent} (pid {}){since}", at + 1, waiter.pid), Tone::Plain)
            })
            .collect();
        self.all("in line", line);
        self.findings(scene.overview, &lease.node, &[&lease.name, &lease.subject]);
        self.log(scene, &lease.node, &lease.name);
    }

    fn message(&mut self, message: &Message) {
        self.add("from", &message.from, Tone::Strong);
        self.fact("to", &message.to);
        self.fact("topic", &message.topic);
        self.moment("sent", Some(message.at_us));
        self.fact("text", &message.text);
        self.fact("whole", format!("zeta bus read {}", message.id));
    }

    fn change(&mut self, scene: &Scene<'_>, entry: &Entry) {
        self.add("lease", &entry.subject, Tone::Strong);
        let text = change::text(entry, self.theme.signs.arrow);
        self.add("what", text, change::tone(entry.event));
        self.moment("when", Some(entry.at_us));
        self.maybe("holder", &entry.agent);
        self.maybe("purpose", &entry.purpose);
        self.maybe("branch", &entry.branch);
        self.maybe("worktree", &entry.worktree);
        self.maybe("token", &entry.fencing_token.map(|token| token.to_string()));
        self.fact("node", &entry.node);
        self.log(scene, &entry.node, &entry.lease);
    }

    fn finding(&mut self, finding: &Finding) {
        let (sign, word, tone) = urgency(finding.urgency, &self.theme.signs);
        self.add("about", &finding.about, Tone::Strong);
        self.maybe("node", &finding.node);
        self.add("finding", format!("{sign} {word}: {}", finding.word), tone);
        self.fact("what", &finding.text);
        let hints = finding.hints.iter().map(|hint| (hint.clone(), Tone::Key));
        self.all("next step", hints);
    }

    /// The findings about something, each with its next steps.
    fn findings(&mut self, known: &Overview, node: &str, names: &[&str]) {
        let is_about = |it: &&Finding| names.iter().any(|name| it.is_about(node, name));
        for finding in known.findings.iter().filter(is_about) {
            let (sign, _, tone) = urgency(finding.urgency, &self.theme.signs);
            self.add("finding", format!("{sign} {}", finding.text), tone);
            let hints = finding.hints.iter().map(|hint| (hint.clone(), Tone::Key));
            self.all("next step", hints);
        }
    }

    /// The last changes of a lease, the newest first.
    fn log(&mut self, scene: &Scene<'_>, node: &str, name: &str) {
        let of_lease = scene.log.iter().rev().filter(|it| it.node == node && it.lease == name);
        let lines: Vec<(String, Tone)> = of_lease
            .take(LAST)
            .map(|it| {
                let text = change::text(it, self.theme.signs.arrow);
                (format!("{:8}  {text}", self.clock.moment(it.at_us)), change::tone(it.event))
            })
            .collect();
        self.all("history", lines);
    }
}

/// How a lease stands, in the words of `zeta lease list`.
fn standing(lease: &Lease) -> String {
    lease.standing.replace('_', " ")
}

/// A moment to the second.
fn utc(at_us: i64) -> String {
    let text = format_utc(at_us);
    match text.split_once('.') {
        Some((short, _)) => format!("{short}Z"),
        None => text,
    }
}

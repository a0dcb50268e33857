//! What there is to show: the overview and the log, the rows of each pane, and which of them a
//! filter lets pass.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use zeta_core::history::Entry;
use zeta_core::overview::{Agent, Finding, Lease, Message, Overview, Urgency};
use zeta_core::presence::Liveness;

/// Everything that a frame is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What is known now.
    pub overview: &'a Overview,
    /// What changed before, the newest last.
    pub log: &'a [Entry],
    /// The node that is meant, unless all are shown.
    pub node: Option<&'a str>,
}

/// Which rows of a pane are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// Only rows with this text.
    pub filter: String,
    /// Also other nodes, and agents that have ended.
    pub all: bool,
}

/// A list of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pane {
    /// Who is here.
    #[default]
    Agents,
    /// Who holds what.
    Leases,
    /// The messages of the bus.
    Messages,
    /// Who held what.
    Log,
    /// What is wrong.
    Findings,
}

/// All panes, in the order of their keys.
pub const PANES: [Pane; 5] =
    [Pane::Agents, Pane::Leases, Pane::Messages, Pane::Log, Pane::Findings];

impl Pane {
    /// Its place among the panes.
    pub fn at(self) -> usize {
        PANES.iter().position(|pane| *pane == self).unwrap_or_default()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Pane::Agents => "Agents",
            Pane::Leases => "Leases",
            Pane::Messages => "Messages",
            Pane::Log => "Log",
            Pane::Findings => "Findings",
        }
    }
}

/// What names a row: the same thing in the next overview, wherever it stands there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Id(String, String, u64);

impl Scene<'_> {
    /// The places of the rows of a pane, in the order of the screen: messages and the log begin
    /// with the newest.
    pub fn rows(&self, pane: Pane, shown: &Shown) -> Vec<usize> {
        let filter = shown.filter.to_lowercase();
        let newest_first = matches!(pane, Pane::Messages | Pane::Log);
        let is_here = self.is_here(pane, shown.all);
        let passes =
            |at: &usize| is_here(*at) && (filter.is_empty() || self.has(pane, *at, &filter));
        let places = 0..self.len(pane);
        match newest_first {
            true => places.rev().filter(passes).collect(),
            false => places.filter(passes).collect(),
        }
    }

    /// The number of rows of a pane without a filter.
    pub fn count(&self, pane: Pane, all: bool) -> usize {
        let is_here = self.is_here(pane, all);
        (0..self.len(pane)).filter(|at| is_here(*at)).count()
    }

    /// Whether a row is shown unless all are: one of the node that is meant, and no agent that
    /// ended as it should. Of one that did not, there is a finding.
    fn is_here(&self, pane: Pane, all: bool) -> impl Fn(usize) -> bool {
        let Overview { agents, leases, findings, .. } = self.overview;
        let about: HashSet<(Option<&str>, &str)> = match pane {
            Pane::Agents if !all => {
                findings.iter().map(|it| (it.node.as_deref(), it.about.as_str())).collect()
            }
            _ => HashSet::new(),
        };
        let (log, wanted) = (self.log, self.node);
        let meant = move |node: &str| wanted.is_none_or(|meant| meant == node);
        let is_there = move |it: &Agent| {
            let nodes = [None, Some(it.node.as_str())];
            it.liveness != Liveness::Gone
                || nodes.iter().any(|node| about.contains(&(*node, it.name.as_str())))
        };
        move |at| {
            all || match pane {
                Pane::Agents => agents.get(at).is_some_and(|it| meant(&it.node) && is_there(it)),
                Pane::Leases => leases.get(at).is_some_and(|it| meant(&it.node)),
                Pane::Log => log.get(at).is_some_and(|it| meant(&it.node)),
                Pane::Messages | Pane::Findings => true,
            }
        }
    }

    fn len(&self, pane: Pane) -> usize {
        let Overview { agents, leases, messages, findings, .. } = self.overview;
        match pane {
            Pane::Agents => agents.len(),
            Pane::Leases => leases.len(),
            Pane::Messages => messages.len(),
            Pane::Log => self.log.len(),
            Pane::Findings => findings.len(),
        }
    }

    /// What names the row at a place.
    pub fn id(&self, pane: Pane, at: usize) -> Option<Id> {
        let Overview { agents, leases, messages, findings, .. } = self.overview;
        let id = |a: &str, b: &str, number| Id(a.to_owned(), b.to_owned(), number);
        match pane {
            Pane::Agents => agents.get(at).map(|agent| id(&agent.node, &agent.name, 0)),
            Pane::Leases => leases.get(at).map(|lease| id(&lease.node, &lease.name, lease.token)),
            Pane::Messages => messages.get(at).map(|message| id(&message.id, "", 0)),
            Pane::Log => self.log.get(at).map(|entry| {
                let event = format!("{} {}", entry.event.word(), entry.lease);
                id(&entry.node, &event, entry.at_us.unsigned_abs())
            }),
            Pane::Findings => findings.get(at).map(|finding| {
                let node = finding.node.as_deref().unwrap_or_default();
                id(&finding.word, &format!("{node} {}", finding.about), 0)
            }),
        }
    }

    /// Finds the row that a name means now. A lease that has another holder is the same lease.
    pub fn find(&self, pane: Pane, rows: &[usize], id: &Id) -> Option<usize> {
        let same = |at: &usize| self.id(pane, *at).is_some_and(|found| found == *id);
        let alike = |at: &usize| {
            let found = self.id(pane, *at);
            found.is_some_and(|found| (found.0, found.1) == (id.0.clone(), id.1.clone()))
        };
        let found = rows.iter().position(same);
        found.or_else(|| rows.iter().position(alike).filter(|_| pane == Pane::Leases))
    }

    fn has(&self, pane: Pane, at: usize, filter: &str) -> bool {
        let mut texts: Vec<&str> = Vec::new();
        let Overview { agents, leases, messages, findings, .. } = self.overview;
        match pane {
            Pane::Agents => texts.extend(agents.get(at).into_iter().flat_map(texts_of_agent)),
            Pane::Leases => texts.extend(leases.get(at).into_iter().flat_map(texts_of_lease)),
            Pane::Messages => texts.extend(messages.get(at).into_iter().flat_map(texts_of_message)),
            Pane::Log => texts.extend(self.log.get(at).into_iter().flat_map(texts_of_entry)),
            Pane::Findings => texts.extend(
                findings.get(at).into_iter().flat_map(|it| [&*it.word, &it.about, &it.text]),
            ),
        }
        texts.iter().any(|text| text.to_lowercase().contains(filter))
    }
}

fn texts_of_agent(agent: &Agent) -> Vec<&str> {
    let optional = [&agent.status, &agent.task, &agent.branch, &agent.worktree, &agent.tool];
    let question = agent.waits.as_ref().map(|waits| waits.question.as_str());
    let texts = [agent.name.as_str(), &agent.node, state(agent), &agent.evidence];
    texts.into_iter().chain(question).chain(optional.into_iter().filter_map(some)).collect()
}

fn texts_of_lease(lease: &Lease) -> Vec<&str> {
    let optional = [&lease.purpose, &lease.branch, &lease.worktree];
    let waiters = lease.waiters.iter().filter_map(|waiter| waiter.agent.as_deref());
    let texts = [lease.name.as_str(), &lease.subject, &lease.agent, &lease.standing, &lease.node];
    texts.into_iter().chain(optional.into_iter().filter_map(some)).chain(waiters).collect()
}

fn texts_of_message(message: &Message) -> Vec<&str> {
    vec![&message.topic, &message.from, &message.to, &message.text]
}

fn texts_of_entry(entry: &Entry) -> Vec<&str> {
    let optional = [
        &entry.agent,
        &entry.from_agent,
        &entry.by,
        &entry.cause,
        &entry.reason,
        &entry.purpose,
        &entry.branch,
    ];
    let texts = [entry.event.word(), &entry.lease, &entry.subject];
    texts.into_iter().chain(optional.into_iter().filter_map(some)).collect()
}

fn some(text: &Option<String>) -> Option<&str> {
    text.as_deref()
}

/// The state of an agent in one word, the most urgent first.
pub fn state(agent: &Agent) -> &'static str {
    match agent {
        Agent { liveness: Liveness::Gone, .. } => Liveness::Gone.word(),
        Agent { waits: Some(_), .. } => "waits",
        Agent { is_stopped: true, .. } => "stopped",
        Agent { liveness, .. } => liveness.word(),
    }
}

/// Something that a person should see before all else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert<'a> {
    /// How urgent it is.
    pub urgency: Urgency,
    /// The node of what it is about, if that is of one node.
    pub node: Option<&'a str>,
    /// The agent or the lease that it is about.
    pub about: &'a str,
    /// What is the case, or the question.
    pub text: Cow<'a, str>,
    /// Since when.
    pub since_us: Option<i64>,
}

/// What needs a person, what is stuck and what collides, in this order. An agent's question stands
/// here once, with its own words.
pub fn alerts(overview: &Overview) -> Vec<Alert<'_>> {
    let asks = |agent: &'_ &Agent| state(agent) == "waits";
    let waiting: Vec<&Agent> = overview.agents.iter().filter(asks).collect();
    let mut alerts: Vec<Alert<'_>> = waiting
        .iter()
        .filter_map(|agent| {
            let waits = agent.waits.as_ref()?;
            Some(Alert {
                urgency: Urgency::Person,
                node: Some(&agent.node),
                about: &agent.name,
                text: waits.question.as_str().into(),
                since_us: waits.since_us,
            })
        })
        .collect();
    let is_shown = |finding: &&Finding| {
        finding.urgency == Urgency::Person
            && waiting.iter().any(|agent| finding.is_about(&agent.node, &agent.name))
    };
    let urgent = overview.findings.iter().filter(|finding| finding.urgency < Urgency::Notice);
    alerts.extend(urgent.filter(|finding| !is_shown(finding)).map(|finding| Alert {
        urgency: finding.urgency,
        node: finding.node.as_deref(),
        about: &finding.about,
        text: match overview.leases.iter().find(|lease| is_about(finding, lease)) {
            Some(lease) => stuck(lease).into(),
            None => finding.text.as_str().into(),
        },
        since_us: None,
    }));
    // Where nothing could be read, that nothing needs a person is not known.
    let Overview { agents, leases, messages, findings, .. } = overview;
    if agents.is_empty() && leases.is_empty() && messages.is_empty() {
        let notices = findings.iter().filter(|finding| finding.urgency == Urgency::Notice);
        alerts.extend(notices.map(|finding| Alert {
            urgency: Urgency::Notice,
            node: finding.node.as_deref(),
            about: &finding.about,
            text: finding.text.as_str().into(),
            since_us: None,
        }));
    }
    alerts.sort_by_key(|alert| alert.urgency);
    // The first one about a thing says what is urgent about it.
    let mut named = BTreeSet::new();
    alerts.retain(|alert| named.insert((alert.urgency, alert.node, alert.about)));
    alerts
}

/// Whether a finding says that a lease is in the way of those who wait for it.
fn is_about(finding: &Finding, lease: &Lease) -> bool {
    let is_stuck = finding.urgency == Urgency::Stuck && !lease.waiters.is_empty();
    is_stuck && finding.is_about(&lease.node, &lease.name)
}

/// A lease that is in the way: whose it is, and who waits for it.
fn stuck(lease: &Lease) -> String {
    let waiters: Vec<&str> =
        lease.waiters.iter().map(|it| it.agent.as_deref().unwrap_or("a process")).collect();
    let verb = if waiters.len() == 1 { "waits" } else { "wait" };
    let (holder, stands) = match (lease.agent.as_str(), lease.standing.as_str()) {
        ("", word) => ("the holder", word.replace('_', " ")),
        (holder, "holder_dead") => (holder, "has ended".to_owned()),
        (holder, "in_grace" | "overdue") => (holder, "does not renew it".to_owned()),
        (holder, word) => (holder, word.replace('_', " ")),
    };
    format!("{}: {holder} {stands}; {} {verb}", lease.subject, waiters.join(", "))
}

/// The alerts that fit into so many lines, in their order: of each urgency at least one, if that is
/// possible, and the most urgent ones first.
pub fn fitting<'a>(alerts: &[Alert<'a>], lines: usize) -> Vec<Alert<'a>> {
    let is_first = |at: usize, alert: &Alert<'_>| {
        alerts.iter().position(|it| it.urgency == alert.urgency) == Some(at)
    };
    let mut places: Vec<usize> = (0..alerts.len()).collect();
    places.sort_by_key(|at| !alerts.get(*at).is_some_and(|alert| is_first(*at, alert)));
    places.truncate(lines);
    places.sort_unstable();
    places.iter().filter_map(|at| alerts.get(*at).cloned()).collect()
}

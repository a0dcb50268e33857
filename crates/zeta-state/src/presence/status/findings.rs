//! Findings about a node: each has a stable word and, if there is one, a next step.

use zeta_core::layout;
use zeta_core::lease::{Cause, HeldWhy, Observed, Record, Standing};
use zeta_core::name::Label;
use zeta_core::presence::Liveness;
use zeta_core::record::{Damage, is_unprintable};
use zeta_core::time::format_duration;

use super::{Agent, Finding, Lease, NodeStatus, Persona};
use crate::lease::LeaseView;
use zeta_os::error::Error;

fn finding(word: &'static str, about: &str, text: String) -> Finding {
    Finding { word, about: about.to_owned(), text, hints: Vec::new() }
}

impl Finding {
    fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hints.push(hint.into());
        self
    }
}

/// Reports a file or directory that breaks the rules, with the reason.
pub(super) fn unsafe_file(about: &str, error: &Error) -> Finding {
    Finding {
        word: "unsafe_file",
        about: about.to_owned(),
        text: error.text.clone(),
        hints: error.hints.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn odd_name(name: &str) -> Finding {
    let name = if name.chars().any(is_unprintable) {
        name.escape_default().to_string()
    } else {
        name.to_owned()
    };
    finding(
        "odd_name",
        &name,
        format!("{name:?} is not a name of the standard, so zeta does not read it"),
    )
    .hint("if it is yours, move it away")
}

pub(super) fn too_many(about: &str, max: usize) -> Finding {
    let text = format!("{about} has more than {max} entries; the rest was not read");
    finding("too_many_entries", about, text).hint("list what can be removed: zeta clean --dry-run")
}

pub(super) fn no_nodes() -> Finding {
    let text = format!("the directory {}/ is missing from the tree", layout::NODES);
    finding("missing_directory", layout::NODES, text).hint("zeta doctor says what is expected")
}

pub(super) fn no_such_node(name: &Label) -> Finding {
    finding(
        "no_such_node",
        name.as_str(),
        format!("node {name} does not exist: no agent has used zeta on it yet"),
    )
    .hint("list all nodes: zeta status --all")
}

pub(super) fn odd_last_seen(node: &Label, why: &str) -> Finding {
    let text = format!("{} of node {node} is not valid: {why}", layout::LAST_SEEN);
    finding("odd_last_seen", layout::LAST_SEEN, text).hint("the next beat rewrites it")
}

pub(super) fn damaged_marker(name: &str, damage: &Damage) -> Finding {
    finding("damaged_record", name, format!("marker {name} is a damaged record: {damage}"))
        .hint(format!("read it, then: zeta marker clear {name}"))
}

/// Adds the findings about the agents of a node.
pub(super) fn of_agents(status: &mut NodeStatus<'_>) {
    for agent in &status.agents {
        status.findings.extend(of_agent(agent));
    }
}

fn of_agent(agent: &Agent<'_>) -> Option<Finding> {
    let name = agent.name;
    let age = agent.judgement.beat_age_ms.map(format_duration);
    let age =
        age.map_or("its clock lies ahead of this machine's".to_owned(), |a| format!("{a} ago"));
    match &agent.persona {
        Persona::Damaged(damage) => {
            let text = format!("the record of agent {name} is damaged: {damage}");
            return Some(
                finding("damaged_record", name, text)
                    .hint("if it is alive, its next beat rewrites it"),
            );
        }
        Persona::NoBeat(_) => {
            let text = format!("agent {name} has no heartbeat; only others wrote its record");
            return Some(
                finding("silent_agent", name, text)
                    .hint(format!("to give it one: zeta heartbeat --as {name}, or zeta run")),
            );
        }
        Persona::Foreign(_) => {
            let text = format!(
                "the record of agent {name} was written by another program ({age}); it is judged \
                 by its age alone"
            );
            return Some(finding("foreign_record", name, text));
        }
        Persona::Own(_, beat) if beat.ended => return None,
        Persona::Own(..) => {}
    }
    let why = agent.judgement.evidence;
    match agent.judgement.liveness {
        Liveness::Live => None,
        Liveness::Late => {
            let text = format!("agent {name} is late: last beat {age}, {why}");
            Some(finding("late_agent", name, text))
        }
        Liveness::Hung => {
            let text = format!("agent {name} is hung: last beat {age}, {why}");
            Some(finding("hung_agent", name, text).hint(
                "it may be stopped (SIGSTOP) or stuck: examine its process, continue or kill it",
            ))
        }
        Liveness::Silent => {
            let text = format!("agent {name} is silent: last beat {age}, {why}");
            Some(
                finding("silent_agent", name, text)
                    .hint("it may be alive or not; its leases are free when their TTL runs out"),
            )
        }
        Liveness::Gone => {
            let text = format!("agent {name} ended without recording it: {why}");
            Some(finding("dead_agent", name, text).hint("zeta clean removes what it left"))
        }
    }
}

/// Adds the findings about the leases of a node.
pub(super) fn of_leases(status: &mut NodeStatus<'_>) {
    for lease in &status.leases {
        status.findings.extend(of_lease(&lease.view));
        status.findings.extend(of_holder(lease, &status.agents));
    }
}

fn of_lease(view: &LeaseView) -> Option<Finding> {
    let name = &view.lease;
    let holder = match &view.observed {
        Observed::Ours(record, ..) => record.agent.to_string(),
        _ => "its holder".to_owned(),
    };
    let free = format!("free to take: zeta lease acquire {name}");
    let (word, why, hint) = match &view.standing {
        Standing::Held(held) => return of_held(view, held.why, &holder),
        Standing::MustKill(_) => (
            "overdue_lease",
            format!("{holder} is alive but past TTL and grace"),
            "the next acquire kills its processes (policy kill)".to_owned(),
        ),
        Standing::Grantable(cause) => match cause {
            Cause::Free => return None,
            Cause::HolderDead | Cause::Killed => {
                ("dead_holder", format!("the processes of {holder} have ended"), free)
            }
            Cause::OtherBoot => (
                "dead_holder",
                format!("{holder} acquired it before the machine was restarted"),
                free,
            ),
            Cause::Expired => {
                ("expired_lease", format!("{holder} let its TTL run out and may be dead"), free)
            }
            Cause::Overdue => {
                ("overdue_lease", format!("{holder} is alive but past TTL and grace"), free)
            }
            Cause::ForeignExpired => {
                ("foreign_record", "another program wrote it, and it has expired".to_owned(), free)
            }
            Cause::DamagedExpired => {
                ("damaged_record", format!("{}, and was not repaired in time", damage(view)), free)
            }
        },
    };
    Some(finding(word, name.as_str(), format!("lease {name}: {why}")).hint(hint))
}

fn of_held(view: &LeaseView, why: HeldWhy, holder: &str) -> Option<Finding> {
    let name = &view.lease;
    let by_force = format!("if you know that it is abandoned: zeta lease break {name}");
    let found = |word, text: &str| finding(word, name.as_str(), format!("lease {name}: {text}"));
    match (why, &view.observed) {
        (HeldWhy::InTime, _) => None,
        (HeldWhy::InGrace, _) => Some(
            found("late_renewal", &format!("{holder} is alive but has not renewed it in time"))
                .hint(format!("{holder} should renew it now, or release it")),
        ),
        (HeldWhy::OverdueForever, Observed::Ours(record, ..)) => Some(
            found("overdue_lease", &format!("{holder} is past TTL and grace, policy never"))
                .hint(format!("{by_force} --expect {} --reason WHY", record.fencing_token)),
        ),
        (HeldWhy::OverdueForever, _) => None,
        (HeldWhy::Foreign, _) => Some(
            found("foreign_record", "another program wrote it; it is judged by its age alone")
                .hint(format!("{by_force} --damaged --reason WHY")),
        ),
        (HeldWhy::Damaged, _) => Some(
            found("damaged_record", &damage(view))
                .hint(format!("{by_force} --damaged --reason WHY")),
        ),
    }
}

fn damage(view: &LeaseView) -> String {
    match &view.observed {
        Observed::Damaged(damage, _) => format!("its record is damaged: {damage}"),
        _ => "its record is damaged".to_owned(),
    }
}

/// Reports a lease in time whose holder's session does not beat: it will not be renewed.
fn of_holder(lease: &Lease<'_>, agents: &[Agent<'_>]) -> Option<Finding> {
    let Observed::Ours(record, ..) = &lease.view.observed else { return None };
    let Standing::Held(_) = &lease.view.standing else { return None };
    let agent = agents.iter().find(|agent| is_session(agent, record))?;
    let liveness = agent.judgement.liveness;
    if matches!(liveness, Liveness::Live | Liveness::Late) {
        return None;
    }
    let name = &record.lease;
    let text = format!("lease {name}: its holder {} is {}", record.agent, liveness.word());
    let step = "it is free when its TTL runs out";
    Some(finding("holder_not_live", name.as_str(), text).hint(step))
}

fn is_session(agent: &Agent<'_>, record: &Record) -> bool {
    match &agent.persona {
        Persona::Own(_, beat) => record.session.is_some() && beat.session == record.session,
        _ => false,
    }
}

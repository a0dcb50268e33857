//! Findings about a node: each has a stable word and, if there is one, a next step.

use std::path::Path;

use zeta_core::bus::grant::{HeldClaim, SharedPlace, shared_places};
use zeta_core::bus::item::is_claim_lease;
use zeta_core::evidence::ProcessState;
use zeta_core::layout;
use zeta_core::lease::{Cause, HeldWhy, Observed, Policy, Record, Standing};
use zeta_core::name::Label;
use zeta_core::presence::Liveness;
use zeta_core::record::{Damage, is_unprintable};
use zeta_core::shell::quote_word;
use zeta_core::time::format_duration;

use super::{Agent, Finding, Lease, NodeStatus, Persona};
use crate::directory::listing::NOT_READ;
use crate::lease::LeaseView;
use zeta_os::error::Error;
use zeta_os::process::Survivor;

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
pub(crate) fn unsafe_file(about: &str, error: &Error) -> Finding {
    Finding {
        word: "unsafe_file",
        about: about.to_owned(),
        text: error.text.clone(),
        hints: error.hints.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn odd_name(name: &str) -> Finding {
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
    .hint(NOT_READ)
}

pub(super) fn too_many(about: &str, max: usize) -> Finding {
    let text = format!("{about} has more than {max} entries; the rest was not read");
    finding("too_many_entries", about, text).hint("list what can be removed: zeta clean --dry-run")
}

pub(crate) fn no_nodes() -> Finding {
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

pub(crate) fn damaged_marker(name: &str, damage: &Damage) -> Finding {
    finding("damaged_record", name, format!("marker {name} is a damaged record: {damage}"))
        .hint(format!("read it, then: zeta marker clear {name}"))
}

/// Whether findings say how old things are. A view that shows moments counts ages by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ages {
    /// They do.
    Said,
    /// They do not, so they change only when something happens.
    LeftOut,
}

/// Adds the findings about the agents and leases of a node. `bus_dir` is the bus that a claim of
/// the caller would be announced on.
pub(super) fn of_node(status: &mut NodeStatus<'_>, bus_dir: &Path) {
    let NodeStatus { agents, leases, findings, .. } = status;
    findings.extend(agents.iter().filter_map(|agent| of_agent(agent, Ages::Said)));
    let session_of = |record: &Record| {
        let agent = agents.iter().find(|agent| is_session(agent, record))?;
        Some(agent.judgement.liveness)
    };
    for lease in &*leases {
        findings.extend(of_lease(lease, bus_dir));
        findings.extend(of_holder(lease, session_of, Ages::Said));
    }
    findings.extend(of_claims(&*leases));
}

/// Reports an agent that is not well, or whose record is not.
pub(crate) fn of_agent(agent: &Agent<'_>, ages: Ages) -> Option<Finding> {
    let name = agent.name;
    let age = agent.judgement.beat_age_ms.map(format_duration);
    let age =
        age.map_or("its clock lies ahead of this machine's".to_owned(), |a| format!("{a} ago"));
    let (beat, age) = match ages {
        Ages::Said => (format!("last beat {age}, "), format!(" ({age})")),
        Ages::LeftOut => (String::new(), String::new()),
    };
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
                "the record of agent {name} was written by another program{age}; it is judged \
                 by its age alone"
            );
            return Some(finding("foreign_record", name, text));
        }
        Persona::Own(_, beat) if beat.ended => return None,
        Persona::Own(..) => {}
    }
    if let Some(survivor) = agent.survivor {
        return Some(lost_wrapper(name, survivor));
    }
    let why = agent.judgement.evidence;
    match agent.judgement.liveness {
        Liveness::Live => None,
        Liveness::Late => {
            let text = format!("agent {name} is late: {beat}{why}");
            Some(finding("late_agent", name, text))
        }
        Liveness::Hung => {
            let text = format!("agent {name} is hung: {beat}{why}");
            Some(finding("hung_agent", name, text).hint(
                "it may be stopped (SIGSTOP) or stuck: examine its process, continue or kill it",
            ))
        }
        Liveness::Silent => {
            let text = format!("agent {name} is silent: {beat}{why}");
            Some(
                finding("silent_agent", name, text)
                    .hint("it may be alive or not; its leases are free when their TTL runs out"),
            )
        }
        Liveness::Gone => {
            let text = format!("agent {name} ended without recording it: {why}");
            Some(
                finding("dead_agent", name, text)
                    .hint(format!("when you have seen it: zeta persona clear {name}"))
                    .hint("its record stays for a day; zeta clean removes it after that"),
            )
        }
    }
}

/// Reports a command that runs on without its `zeta run`.
fn lost_wrapper(name: &str, survivor: Survivor) -> Finding {
    let Survivor { wrapper, command } = survivor;
    let text = format!(
        "agent {name}: its zeta run (pid {wrapper}) is gone, and its command (pid {command}) runs \
         without it: no beat and no renewal of its leases comes any more"
    );
    finding("lost_wrapper", name, text)
        .hint(format!("end the command: kill {command}"))
        .hint(format!("then start it again: zeta run --as {name} -- ..."))
}

/// Returns what a lease is called: a claim by its item.
fn name_of(lease: &Lease<'_>) -> String {
    match &lease.claim {
        Some(claim) => format!("claim {}", claim.item),
        None => format!("lease {}", lease.view.lease),
    }
}

fn holder_of<'l>(lease: &'l Lease<'_>) -> &'l str {
    match (&lease.claim, &lease.view.observed) {
        (Some(claim), _) => &claim.from,
        (_, Observed::Ours(record, ..)) => record.agent.as_str(),
        _ => "its holder",
    }
}

/// Reports a lease that its holder does not hold in time, or whose record is damaged.
pub(crate) fn of_lease(lease: &Lease<'_>, bus_dir: &Path) -> Option<Finding> {
    let holder = holder_of(lease);
    let cause = match &lease.view.standing {
        Standing::Held(held) => return of_held(lease, held.why, holder),
        Standing::MustKill(_) => {
            let text = format!("{}: {holder} is alive but past TTL and grace", name_of(lease));
            let hint = "the next acquire kills its processes (policy kill)";
            return Some(finding("overdue_lease", lease.view.lease.as_str(), text).hint(hint));
        }
        Standing::Grantable(Cause::Free) => return None,
        Standing::Grantable(cause) => cause,
    };
    let (word, why) = match cause {
        Cause::Free | Cause::HolderDead | Cause::Killed => {
            ("dead_holder", format!("the processes of {holder} have ended"))
        }
        Cause::OtherBoot => {
            ("dead_holder", format!("{holder} acquired it before the machine was restarted"))
        }
        Cause::Expired => {
            ("expired_lease", format!("{holder} let its TTL run out and may be dead"))
        }
        Cause::Overdue => ("overdue_lease", format!("{holder} is alive but past TTL and grace")),
        Cause::ForeignExpired => {
            ("foreign_record", "another program wrote it, and it has expired".to_owned())
        }
        Cause::DamagedExpired => {
            let damage = damage(&lease.view);
            ("damaged_record", format!("{damage}, and was not repaired in time"))
        }
    };
    let text = format!("{}: {why}", name_of(lease));
    Some(finding(word, lease.view.lease.as_str(), text).hint(how_to_take(lease, bus_dir)))
}

/// Returns how to take a lease that is free. A claim is taken as a claim: only so it is announced.
fn how_to_take(lease: &Lease<'_>, bus_dir: &Path) -> String {
    let name = &lease.view.lease;
    let Some(claim) = &lease.claim else {
        return match is_claim_lease(name.as_str()) {
            true => "free to take: zeta claim acquire with the item that it was about".to_owned(),
            false => format!("free to take: zeta lease acquire {name}"),
        };
    };
    let bus = match &claim.bus_dir {
        Some(dir) if Path::new(dir) != bus_dir => format!(" --bus-dir {}", quote_word(dir)),
        _ => String::new(),
    };
    format!("free to take: zeta claim acquire --item {}{bus}", quote_word(&claim.item))
}

fn of_held(lease: &Lease<'_>, why: HeldWhy, holder: &str) -> Option<Finding> {
    let name = &lease.view.lease;
    let by_force = || format!("if you know that it is abandoned: zeta lease break {name}");
    let found =
        |word, text: &str| finding(word, name.as_str(), format!("{}: {text}", name_of(lease)));
    match (why, &lease.view.observed) {
        (HeldWhy::InTime, _) => None,
        (HeldWhy::InGrace, _) => Some(
            found("late_renewal", &format!("{holder} is alive but has not renewed it in time"))
                .hint(format!("{holder} should renew it now, or release it")),
        ),
        (HeldWhy::OverdueForever, Observed::Ours(record, ..)) => Some(
            found("overdue_lease", &format!("{holder} is past TTL and grace, policy never"))
                .hint(format!("{} --expect {} --reason WHY", by_force(), record.fencing_token)),
        ),
        (HeldWhy::OverdueForever, _) => None,
        (HeldWhy::Foreign, _) => Some(
            found("foreign_record", "another program wrote it; it is judged by its age alone")
                .hint(format!("{} --damaged --reason WHY", by_force())),
        ),
        (HeldWhy::Damaged, _) => Some(
            found("damaged_record", &damage(&lease.view))
                .hint(format!("{} --damaged --reason WHY", by_force())),
        ),
    }
}

fn damage(view: &LeaseView) -> String {
    match &view.observed {
        Observed::Damaged(damage, _) => format!("its record is damaged: {damage}"),
        _ => "its record is damaged".to_owned(),
    }
}

/// Reports a lease that counts as held, and whose holder's session does not beat: it will not be
/// renewed. `liveness_of` finds the session that a record names.
pub(crate) fn of_holder(
    lease: &Lease<'_>,
    liveness_of: impl FnOnce(&Record) -> Option<Liveness>,
    ages: Ages,
) -> Option<Finding> {
    let Observed::Ours(record, _, life) = &lease.view.observed else { return None };
    let Standing::Held(held) = &lease.view.standing else { return None };
    let liveness = liveness_of(record)?;
    if matches!(liveness, Liveness::Live | Liveness::Late) {
        return None;
    }
    let within = |ms| match ages {
        Ages::Said => format!(" in {}", format_duration(ms)),
        Ages::LeftOut => String::new(),
    };
    let hint = match (held.why, held.rest_ms.map(within)) {
        (HeldWhy::InGrace, Some(rest)) => format!("it is free{rest}, when its grace ends"),
        (_, Some(rest)) if *life == ProcessState::Alive && record.policy != Policy::Never => {
            let grace = format_duration(record.grace_ms);
            format!("its TTL runs out{rest}, and it is free after {grace} of grace")
        }
        (_, Some(rest)) if *life != ProcessState::Alive => {
            format!("it is free{rest}, when its TTL runs out")
        }
        _ => "it stays held until its holder or a person ends it".to_owned(),
    };
    let text = format!("{}: its holder {} is {}", name_of(lease), record.agent, liveness.word());
    Some(finding("holder_not_live", record.lease.as_str(), text).hint(hint))
}

/// Reports held claims that are on one worktree or branch.
pub(crate) fn of_claims<'l>(leases: impl IntoIterator<Item = &'l Lease<'l>>) -> Vec<Finding> {
    let held = leases.into_iter().filter_map(|lease| match (&lease.view.standing, &lease.claim) {
        (Standing::Held(_), Some(claim)) => {
            let session = match &lease.view.observed {
                Observed::Ours(record, ..) => record.session.as_deref(),
                _ => None,
            };
            Some(HeldClaim { claim, session })
        }
        _ => None,
    });
    let held: Vec<HeldClaim<'_>> = held.collect();
    let found = shared_places(&held).into_iter().map(|shared: SharedPlace<'_>| {
        finding(shared.word(), shared.place, shared.text()).hint(shared.hint())
    });
    found.collect()
}

fn is_session(agent: &Agent<'_>, record: &Record) -> bool {
    match &agent.persona {
        Persona::Own(_, beat) => record.session.is_some() && beat.session == record.session,
        _ => false,
    }
}

//! What a person should know of the whole: how urgent a finding is, and the findings that no single
//! record shows.

use std::collections::BTreeMap;

use super::{Agent, Finding, Urgency};
use crate::hook::edits::{Edit, WINDOW_MS};
use crate::presence::Liveness;
use crate::record::printable;
use crate::time::NS_PER_MS;

/// Judges how urgent a finding is. A lease whose holder is not well is in the way of work only if
/// other agents wait for it.
pub fn judge_urgency(word: &str, waiting: usize) -> Urgency {
    match word {
        "waits_for_person" => Urgency::Person,
        "hung_agent" | "stopped_agent" | "lost_wrapper" => Urgency::Stuck,
        "same_file" | "shared_worktree" | "shared_branch" => Urgency::Collision,
        _ if waiting > 0 => Urgency::Stuck,
        _ => Urgency::Notice,
    }
}

/// Returns the finding about an agent that waits for a person, or else about one that was stopped.
/// Either says why it does not beat, so no other finding about its beat is needed.
pub fn of_agent(agent: &Agent) -> Option<Finding> {
    let (name, node) = (&agent.name, Some(agent.node.as_str()));
    if let Some(waits) = &agent.waits {
        let question = printable(&waits.question);
        let place = agent.worktree.as_deref().map(|place| format!(", which runs in {place}"));
        let text = format!("agent {name} waits for a person: {question}");
        let hint = format!("answer it in its terminal or window{}", place.unwrap_or_default());
        return Some(found("waits_for_person", node, name, text, &[&printable(&hint)]));
    }
    if !agent.is_stopped || agent.liveness == Liveness::Gone {
        return None;
    }
    let pids: Vec<String> = agent.pids.iter().map(u64::to_string).collect();
    let text = format!("agent {name} is stopped (SIGSTOP, or Ctrl-Z in its terminal)");
    let hint = format!("let it go on: kill -CONT {}", pids.join(" "));
    Some(found("stopped_agent", node, name, text, &[&hint]))
}

/// The edits of an agent, by its record.
#[derive(Debug, Clone, Copy)]
pub struct Edits<'a> {
    /// The agent's node: paths of two machines are not one file.
    pub node: &'a str,
    /// The agent's name.
    pub agent: &'a str,
    /// What it wrote, and when.
    pub edits: &'a [Edit],
}

/// Returns the files that several agents of one node wrote within half a minute, and for how many
/// ms this stays so if none of them writes.
pub fn same_file(all: &[Edits<'_>], now_ns: u64) -> (Vec<Finding>, Option<u64>) {
    let now_ms = now_ns / NS_PER_MS;
    let mut writers: BTreeMap<(&str, &str), Vec<(&str, u64)>> = BTreeMap::new();
    for Edits { node, agent, edits } in all {
        for Edit { at_ms, path } in *edits {
            // The boot clock of a record of another boot can lie ahead.
            let rest_ms = now_ms.checked_sub(*at_ms).and_then(|age| WINDOW_MS.checked_sub(age));
            let of_path = writers.entry((node, path)).or_default();
            if let Some(rest_ms) = rest_ms
                && !of_path.iter().any(|(known, _)| known == agent)
            {
                of_path.push((agent, rest_ms));
            }
        }
    }
    writers.retain(|_, writers| writers.len() > 1);
    let rest_ms = writers.values().flatten().map(|(_, rest_ms)| rest_ms + 1).min();
    let findings = writers.iter().map(|((node, path), writers)| {
        let names: Vec<&str> = writers.iter().map(|(agent, _)| *agent).collect();
        let path = printable(path);
        let text = format!("{} write one file: {path}", names.join(" and "));
        let hint = "let one of them claim it: zeta claim acquire --path";
        found("same_file", Some(node), &path, text, &[hint])
    });
    (findings.collect(), rest_ms)
}

/// Returns the recipients whose mail nobody reads: no agent of that name is there, or it has ended.
/// `unread` has the number of unread messages by recipient.
pub fn unread_mail<'u>(
    unread: impl IntoIterator<Item = (&'u str, usize)>,
    agents: &[Agent],
) -> Vec<Finding> {
    let reads = |agent: &Agent| agent.liveness != Liveness::Gone;
    let readers: std::collections::HashSet<&str> =
        agents.iter().filter(|agent| reads(agent)).map(|agent| agent.name.as_str()).collect();
    let unread = unread.into_iter().filter(|(name, count)| *count > 0 && !readers.contains(name));
    let finding = |(name, count): (&str, usize)| {
        let (messages, name) = (if count == 1 { "message" } else { "messages" }, printable(name));
        let text = format!("{name} has {count} unread {messages}, and no such agent runs");
        let hint = format!("read them: zeta bus inbox --as {name}");
        found("unread_mail", None, &name, text, &[&hint])
    };
    unread.map(finding).collect()
}

fn found(word: &str, node: Option<&str>, about: &str, text: String, hints: &[&str]) -> Finding {
    Finding {
        word: word.to_owned(),
        node: node.map(str::to_owned),
        about: about.to_owned(),
        text,
        hints: hints.iter().map(|hint| (*hint).to_owned()).collect(),
        urgency: judge_urgency(word, 0),
    }
}

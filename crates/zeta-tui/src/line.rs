//! The view where there is no terminal: a line of text for each change.

use zeta_core::history::Entry;
use zeta_core::overview::{Agent, Finding, Lease, Overview, Urgency};
use zeta_core::time::format_utc;

use crate::change;
use crate::scene::{alerts, state};
use crate::text::one_line;

/// What is so at the beginning: what needs a person, or that nothing does, and how much is there.
pub fn first(known: &Overview) -> Vec<String> {
    let alerts = alerts(known);
    let (agents, leases) = (known.agents.len(), known.leases.len());
    let mut lines = vec![format!("{}: {agents} agents, {leases} leases", known.state_dir)];
    if alerts.iter().all(|alert| alert.urgency == Urgency::Notice) {
        lines.push("nothing needs a person".to_owned());
    }
    let alerts = alerts.iter().filter(|alert| alert.urgency < Urgency::Notice);
    lines.extend(alerts.map(|alert| match alert.urgency {
        Urgency::Person => format!("{} waits for a person: {}", alert.about, alert.text),
        urgency => urgent(urgency, &alert.text),
    }));
    let notices = known.findings.iter().filter(|it| it.urgency == Urgency::Notice);
    lines.extend(notices.map(|it| urgent(it.urgency, &it.text)));
    lines.iter().map(|line| at(known.at_us, line)).collect()
}

/// What changed from one overview to the next, in words, and the entries of the history meanwhile.
pub fn changes(old: &Overview, known: &Overview, log: &[Entry]) -> Vec<String> {
    let of_entry = |entry: &Entry| {
        let text = change::text(entry, "->");
        at(entry.at_us, &format!("{}: {text}", entry.subject))
    };
    let mut lines: Vec<String> = log.iter().map(of_entry).collect();
    let mut add = |line: String| lines.push(at(known.at_us, &line));
    of_agents(old, known, &mut add);
    of_leases(old, known, &mut add);
    for finding in known.findings.iter().filter(|it| is_new(it, &old.findings)) {
        add(urgent(finding.urgency, &finding.text));
    }
    let before: Vec<&str> = old.messages.iter().map(|it| it.id.as_str()).collect();
    for message in known.messages.iter().filter(|it| !before.contains(&it.id.as_str())) {
        let text = format!("{} -> {}: {}", message.from, message.to, message.text);
        lines.push(at(message.at_us, &text));
    }
    lines
}

fn of_agents(old: &Overview, new: &Overview, add: &mut impl FnMut(String)) {
    for agent in &new.agents {
        let (name, now) = (&agent.name, state(agent));
        let before = find(&old.agents, agent);
        let question = |agent: &Agent| agent.waits.as_ref().map(|waits| waits.question.clone());
        match (before, now) {
            (Some(before), _) if state(before) == now && question(before) == question(agent) => {}
            (_, "waits") => {
                let question = question(agent).unwrap_or_default();
                add(format!("{name} waits for a person: {question}"));
            }
            (None, _) => add(format!("{name} is here: {now}, {}", agent.evidence)),
            (Some(before), _) => {
                add(format!("{name} was {}, is {now}: {}", state(before), agent.evidence));
            }
        }
        if let Some(does) = does(agent).filter(|it| before.and_then(does) != Some(it)) {
            add(format!("{name} does: {does}"));
        }
    }
    for agent in old.agents.iter().filter(|agent| find(&new.agents, agent).is_none()) {
        add(format!("{} is not here any more", agent.name));
    }
}

fn find<'a>(all: &'a [Agent], agent: &Agent) -> Option<&'a Agent> {
    all.iter().find(|it| it.node == agent.node && it.name == agent.name)
}

fn does(agent: &Agent) -> Option<&str> {
    agent.task.as_deref().or(agent.status.as_deref())
}

/// A lease that stands otherwise with the same holder; who took it is in the log.
fn of_leases(old: &Overview, new: &Overview, add: &mut impl FnMut(String)) {
    for lease in &new.leases {
        let same =
            |it: &&Lease| it.node == lease.node && it.name == lease.name && it.token == lease.token;
        let Some(before) = old.leases.iter().find(same) else { continue };
        if before.standing != lease.standing {
            let words = [&before.standing, &lease.standing].map(|word| word.replace('_', " "));
            let [was, is] = words;
            add(format!("{}: was {was}, is {is} (holder {})", lease.subject, lease.agent));
        }
        for waiter in lease.waiters.iter().filter(|it| !before.waiters.contains(it)) {
            let agent = waiter.agent.as_deref().unwrap_or("a process");
            add(format!("{agent} (pid {}) waits for {}", waiter.pid, lease.subject));
        }
    }
}

/// A finding is new if none of its kind was about the same; the question of an agent is a change of
/// the agent.
fn is_new(finding: &Finding, before: &[Finding]) -> bool {
    let key = |it: &'_ Finding| (it.word.clone(), it.node.clone(), it.about.clone());
    let same = |it: &Finding| key(it) == key(finding);
    finding.urgency != Urgency::Person && !before.iter().any(same)
}

fn urgent(urgency: Urgency, text: &str) -> String {
    match urgency {
        Urgency::Person | Urgency::Notice => text.to_owned(),
        Urgency::Stuck => format!("stuck: {text}"),
        Urgency::Collision => format!("collides: {text}"),
    }
}

/// A line with its time of day, in UTC.
fn at(at_us: i64, line: &str) -> String {
    let time = format_utc(at_us);
    format!("{} {}", time.get(11..19).unwrap_or_default(), one_line(line))
}

#[cfg(test)]
mod tests {
    use zeta_core::history::Event;
    use zeta_core::overview::{Message, Waits};
    use zeta_core::presence::Liveness;

    use super::*;
    use crate::fixture::{NOW, shop};

    #[test]
    fn the_first_lines_say_what_needs_a_person() {
        let lines = first(&shop().overview);
        assert_eq!(lines[0], "10:11:12 /tmp/zeta-cluster-state: 8 agents, 5 leases");
        assert_eq!(
            lines[1],
            "10:11:12 rex waits for a person: May I delete the branch feat/old-checkout on origin?"
        );
        assert_eq!(
            lines[4],
            "10:11:12 collides: vera and max write one file: \
             /home/shop/worktrees/fix-cart-total/src/cart.rs"
        );
        assert!(lines.last().unwrap().contains("is not a name of the standard"), "{lines:?}");
        let quiet = first(&Overview::default());
        assert_eq!(quiet[1], "00:00:00 nothing needs a person");
    }

    #[test]
    fn each_change_is_a_line_and_nothing_else_is() {
        let old = shop().overview;
        assert_eq!(changes(&old, &old, &[]), [""; 0]);
        let mut new = shop().overview;
        let known = &mut new;
        known.at_us = NOW + 1_000_000;
        known.agents[0].waits = None;
        known.agents[3].waits = Some(Waits { question: "push\nto main?".into(), since_us: None });
        known.agents[4].task = Some("tests".into());
        known.agents[5].liveness = Liveness::Gone;
        known.agents[5].evidence = "its processes have ended".into();
        known.agents.remove(6);
        // A beat is no change that a person wants to read.
        known.agents[1].beat_at_us = Some(NOW);
        known.leases[2].standing = "in_grace".into();
        known.leases[3].expires_at_us = Some(NOW + 90_000_000);
        known.messages.push(Message {
            id: "a4".into(),
            at_us: NOW + 500_000,
            topic: "note".into(),
            from: "otto".into(),
            to: "max".into(),
            text: "done\u{1b}[2J".into(),
        });
        let mut over = Entry::new("nestor", Event::TakenOver, "deploy", NOW).because("expired");
        (over.from_agent, over.agent) = (Some("bob".into()), Some("otto".into()));
        assert_eq!(
            changes(&old, &new, &[over]),
            [
                "10:11:12 deploy: bob -> otto (bob: its time was over)",
                "10:11:13 rex was waits, is live: its process runs",
                "10:11:13 otto waits for a person: push to main?",
                "10:11:13 日本-エージェント does: tests",
                "10:11:13 max was live, is gone: its processes have ended",
                "10:11:13 bob is not here any more",
                "10:11:13 SHOP-118: was held, is in grace (holder otto)",
                "10:11:12 otto -> max: done\\u001b[2J",
            ]
        );
    }
}

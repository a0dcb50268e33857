//! The status as JSON: the keys of the records, and the judgements beside them.

use zeta_core::cluster::card::is_silent;
use zeta_core::evidence::ProcessState;
use zeta_core::hook::waiting::Waiting;
use zeta_core::json::Object;
use zeta_core::layout;
use zeta_core::presence::Judgement;
use zeta_core::record::Fields;
use zeta_core::time::format_utc;

use super::waiting::WaitingAgent;
use super::{Agent, Finding, Keep, LastSeen, Marker, NodeStatus, Persona, Sharing, StatusView};
use crate::context::Context;
use crate::lease::report::json::add_view;

/// Keys of judgements; a record cannot set them.
const AGENT_KEYS: [&str; 9] = [
    "file",
    "agent",
    "liveness",
    "evidence",
    "beat_age_ms",
    "life",
    "waits_ms",
    "foreign",
    "damage",
];
const MARKER_KEYS: [&str; 3] = ["marker", "marker_state", "age_ms"];

/// Writes the whole answer, one object on one line, in pieces: ten thousand nodes are never in
/// memory at once.
pub fn write(view: &StatusView, ctx: &Context, mut emit: impl FnMut(&str) + Send) {
    let mut start = Object::new();
    head(&mut start, view);
    // The object stays open: the nodes follow one by one, the findings of the tree last.
    let start = start.done();
    emit(start.strip_suffix('}').unwrap_or(&start));
    emit(",\"nodes\":[");
    let render = |number: usize, status: &NodeStatus<'_>, text: &mut String| {
        if number > 0 {
            text.push(',');
        }
        let mut object = Object::after(std::mem::take(text));
        node(&mut object, status);
        *text = object.into_text();
    };
    view.each(ctx, Keep::Fields, render, &mut emit);
    let mut end = Object::new();
    end.objects("unread", &view.unread, |object, (agent, messages)| {
        object.text("agent", agent).number("messages", *messages as u64);
    });
    if let Some(signed) = &view.signed {
        end.raw("signed_commits", &signed.done());
    }
    findings(&mut end, &view.findings);
    let end = end.done();
    emit(&format!("],{}\n", end.strip_prefix('{').unwrap_or(&end)));
}

/// Adds the facts about the tree.
fn head(object: &mut Object, view: &StatusView) {
    object.text("state_dir", &view.state_dir.display().to_string());
    match view.sharing {
        None => object.raw("sharing", "null"),
        Some(Sharing::Private) => object.text("sharing", "private"),
        Some(Sharing::Group { .. }) => object.text("sharing", "group"),
    };
    match &view.node {
        None => object.raw("node", "null"),
        Some(node) => object.text("node", node.as_str()),
    };
}

/// Adds one node.
pub fn node(object: &mut Object, status: &NodeStatus<'_>) {
    let now = &status.now;
    object.text("node", status.name.as_str());
    if let Some(card) = &status.copied {
        object.flag("copied", true);
        object.flag("silent", card.as_ref().is_some_and(|card| is_silent(&card.seen, now)));
        object.flag("copy_verified", card.as_ref().is_some_and(|card| card.verified));
        if let Some(age_ms) = card.as_ref().and_then(|card| card.age_ms(now)) {
            object.number("card_age_ms", age_ms);
        }
    }
    match status.last_seen {
        LastSeen::Unknown => object.raw("last_seen", "null"),
        LastSeen::At(at_us) => {
            let age_us = u64::try_from(now.reading.wall_us.saturating_sub(at_us)).unwrap_or(0);
            object.text("last_seen", &format_utc(at_us)).number("last_seen_age_ms", age_us / 1000)
        }
    };
    object.objects("agents", &status.agents, agent);
    object.objects("leases", &status.leases, |object, lease| {
        add_view(object, &lease.view, lease.fields.as_deref(), now);
    });
    object.objects("markers", &status.markers, |object, found| {
        marker(object, found, now.reading.wall_us);
    });
    findings(object, &status.findings);
}

fn agent(object: &mut Object, agent: &Agent<'_>) {
    let named = |fields: &Fields<'_>| fields.text("agent").map(|name| name.into_owned());
    match &agent.persona {
        Persona::Own(fields, _) | Persona::NoBeat(fields) => {
            object.text("agent", named(fields).as_deref().unwrap_or(agent.name));
            object.fields_but(fields, &AGENT_KEYS);
        }
        Persona::Foreign(fields) => {
            object.text("agent", named(fields).as_deref().unwrap_or(agent.name));
            object.flag("foreign", true).fields_but(fields, &AGENT_KEYS);
        }
        Persona::Damaged(damage) => {
            object.text("agent", agent.name).text("damage", &damage.to_string());
        }
    }
    let Judgement { liveness, beat_age_ms, evidence } = &agent.judgement;
    object.text("file", &layout::persona_file(agent.name));
    object.text("liveness", liveness.word()).text("evidence", evidence);
    match beat_age_ms {
        Some(ms) => object.number("beat_age_ms", *ms),
        None => object.raw("beat_age_ms", "null"),
    };
    if let Some(waiting) = &agent.waiting {
        waits_ms(object, waiting);
    }
    if agent.life != ProcessState::Unknown || matches!(agent.persona, Persona::Own(..)) {
        object.text("life", agent.life.word());
    }
}

fn waits_ms(object: &mut Object, waiting: &Waiting) {
    match waiting.age_ms {
        Some(ms) => object.number("waits_ms", ms),
        None => object.raw("waits_ms", "null"),
    };
}

/// Writes the agents that wait for a person.
pub fn waiting(agents: &[WaitingAgent]) -> String {
    let mut object = Object::new();
    object.objects("waiting", agents, |object, agent| {
        object.text("node", &agent.node).text("agent", &agent.agent);
        object.text("question", &agent.waiting.question);
        waits_ms(object, &agent.waiting);
    });
    format!("{}\n", object.done())
}

fn marker(object: &mut Object, marker: &Marker<'_>, wall_us: i64) {
    object.text("marker", marker.name).text("marker_state", marker.state);
    object.fields_but(&marker.fields, &MARKER_KEYS);
    if let Ok(age_us) = u64::try_from(wall_us.saturating_sub(marker.times.mtime_us)) {
        object.number("age_ms", age_us / 1000);
    }
}

/// Adds the list of findings.
fn findings(object: &mut Object, findings: &[Finding]) {
    object.objects("findings", findings, |object, finding| {
        object.text("about", &finding.about);
        let hints = finding.hints.iter().map(String::as_str);
        object.finding(finding.word, &finding.text, hints);
    });
}

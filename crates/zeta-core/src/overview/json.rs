//! Overviews and their changes as JSON: the names of the fields are the keys, and what is not known
//! is left out. Rows have their `rank`, too: a reader of changes need not know the rules of the
//! order.

use super::changes::Changes;
use super::order::{agent_place, lease_place};
use super::{
    Agent, Cluster, Finding, Lag, Lease, LeaseKind, Message, Overview, Quorum, Urgency, Waiter,
};
use crate::json::Object;
use crate::record::quote;

impl LeaseKind {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            LeaseKind::Lease => "lease",
            LeaseKind::Claim => "claim",
            LeaseKind::Paths => "paths",
            LeaseKind::Slot => "slot",
        }
    }
}

impl Urgency {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Urgency::Person => "person",
            Urgency::Stuck => "stuck",
            Urgency::Collision => "collision",
            Urgency::Notice => "notice",
        }
    }
}

/// Returns an overview as one object.
pub fn overview(overview: &Overview) -> Object {
    let mut object = Object::new();
    time(&mut object, "at_us", Some(overview.at_us));
    object.text("state_dir", &overview.state_dir);
    object.text_if("node", overview.node.as_deref());
    if let Some(of) = &overview.cluster {
        object.raw("cluster", &cluster(of).into_text());
    }
    object.objects("agents", &overview.agents, agent);
    object.objects("leases", &overview.leases, lease);
    object.objects("messages", &overview.messages, message);
    object.objects("findings", &overview.findings, finding);
    object
}

/// Returns changes as one object; a list in which nothing changed is left out.
pub fn changes(changes: &Changes) -> Object {
    let mut object = Object::new();
    time(&mut object, "now_us", Some(changes.now_us));
    if let Some(node) = &changes.node {
        object.raw("node", &node.as_ref().map_or("null".to_owned(), |node| quote(node)));
    }
    if let Some(of) = &changes.cluster {
        let text = of.as_ref().map_or("null".to_owned(), |of| cluster(of).into_text());
        object.raw("cluster", &text);
    }
    let Changes { agents, agents_gone, leases, leases_gone, messages, messages_gone, .. } = changes;
    if !agents.is_empty() {
        object.objects("agents", agents, agent);
    }
    if !agents_gone.is_empty() {
        object.objects("agents_gone", agents_gone, |object, (node, name)| {
            object.text("node", node).text("name", name);
        });
    }
    if !leases.is_empty() {
        object.objects("leases", leases, lease);
    }
    if !leases_gone.is_empty() {
        object.objects("leases_gone", leases_gone, |object, (node, name, token)| {
            object.text("node", node).text("name", name).number("token", *token);
        });
    }
    if !messages.is_empty() {
        object.objects("messages", messages, message);
    }
    if !messages_gone.is_empty() {
        object.list("messages_gone", messages_gone.iter().map(|id| quote(id)));
    }
    if let Some(findings) = &changes.findings {
        object.objects("findings", findings, finding);
    }
    object
}

fn cluster(cluster: &Cluster) -> Object {
    let mut object = Object::new();
    object.text("state", &cluster.state);
    time(&mut object, "since_us", cluster.since_us);
    object.text_if("server", cluster.server.as_deref());
    if let Some(epoch) = cluster.epoch {
        object.number("epoch", epoch);
    }
    time(&mut object, "no_grant_before_us", cluster.no_grant_before_us);
    object.text("summary", &cluster.summary());
    if let Some(has_quorum) = cluster.has_quorum() {
        object.flag("has_quorum", has_quorum);
    }
    object.text_if("quorum", cluster.quorum.map(Quorum::text).as_deref());
    let Lag { values, unsent, messages, unsent_messages } = cluster.lag;
    if let Some(values) = values {
        object.number("behind", values);
    }
    object.number("unsent", unsent);
    object.number("messages_behind", messages).number("messages_unsent", unsent_messages);
    object.objects("peers", &cluster.peers, |object, peer| {
        object.text("node", &peer.node);
        time(object, "silent_since_us", peer.silent_since_us);
        object.flag("is_verified", peer.is_verified);
    });
    object
}

fn agent(object: &mut Object, agent: &Agent) {
    object.number("rank", agent_place(agent).0.into());
    object.text("node", &agent.node).text("name", &agent.name);
    object.text("liveness", agent.liveness.word()).text("evidence", &agent.evidence);
    time(object, "beat_at_us", agent.beat_at_us);
    time(object, "started_at_us", agent.started_at_us);
    if let Some(waits) = &agent.waits {
        let mut inner = Object::new();
        inner.text("question", &waits.question);
        time(&mut inner, "since_us", waits.since_us);
        object.raw("waits", &inner.into_text());
    }
    object.text_if("status", agent.status.as_deref());
    object.text_if("task", agent.task.as_deref());
    object.text_if("branch", agent.branch.as_deref());
    object.text_if("worktree", agent.worktree.as_deref());
    object.text_if("tool", agent.tool.as_deref());
    object.list("pids", agent.pids.iter().map(u64::to_string));
    object.flag("is_stopped", agent.is_stopped).number("unread", agent.unread as u64);
}

fn lease(object: &mut Object, lease: &Lease) {
    object.number("rank", lease_place(lease).0.into());
    object.text("node", &lease.node).text("name", &lease.name).number("token", lease.token);
    object.text("kind", lease.kind.word()).text("subject", &lease.subject);
    object.text("agent", &lease.agent).text("standing", &lease.standing);
    object.text("evidence", &lease.evidence).flag("is_free", lease.is_free);
    time(object, "acquired_at_us", lease.acquired_at_us);
    time(object, "expires_at_us", lease.expires_at_us);
    time(object, "grace_until_us", lease.grace_until_us);
    object.number("ttl_ms", lease.ttl_ms);
    object.text_if("purpose", lease.purpose.as_deref());
    object.text_if("branch", lease.branch.as_deref());
    object.text_if("worktree", lease.worktree.as_deref());
    object.objects("waiters", &lease.waiters, waiter);
}

fn waiter(object: &mut Object, waiter: &Waiter) {
    object.text_if("agent", waiter.agent.as_deref());
    object.number("pid", waiter.pid);
    time(object, "since_us", waiter.since_us);
}

fn message(object: &mut Object, message: &Message) {
    object.text("id", &message.id);
    time(object, "at_us", Some(message.at_us));
    object.text("topic", &message.topic).text("from", &message.from).text("to", &message.to);
    object.text("text", &message.text);
}

fn finding(object: &mut Object, finding: &Finding) {
    object.text_if("node", finding.node.as_deref()).text("about", &finding.about);
    object.finding(&finding.word, &finding.text, finding.hints.iter().map(String::as_str));
    object.text("urgency", finding.urgency.word());
}

fn time(object: &mut Object, key: &str, at_us: Option<i64>) {
    if let Some(at_us) = at_us {
        object.raw(key, &at_us.to_string());
    }
}

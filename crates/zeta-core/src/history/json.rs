//! Entries and spans as JSON. What is not known is left out.

use super::{Entry, Span};
use crate::json::Object;
use crate::time::format_utc;

/// Adds what is known of an entry.
pub fn entry(object: &mut Object, entry: &Entry) {
    time(object, ["at", "at_us"], Some(entry.at_us));
    object.text("event", entry.event.word());
    grant(object, entry);
    object.text_if("from_agent", entry.from_agent.as_deref());
    number(object, "from_fencing_token", entry.from_fencing_token);
    object.text_if("cause", entry.cause.as_deref());
    object.text_if("by", entry.by.as_deref());
    object.text_if("reason", entry.reason.as_deref());
}

/// Adds what is known of a span.
pub fn span(object: &mut Object, span: &Span) {
    grant(object, &span.grant);
    time(object, ["from", "from_us"], span.from_us);
    if span.from_us.is_some() {
        object.text("began", span.grant.event.word());
        object.text_if("from_agent", span.grant.from_agent.as_deref());
        number(object, "from_fencing_token", span.grant.from_fencing_token);
        object.text_if("cause", span.grant.cause.as_deref());
    }
    time(object, ["until", "until_us"], span.until_us);
    object.text_if("ended", span.ended.map(super::Ended::word));
    object.text_if("to_agent", span.to_agent.as_deref());
    object.text_if("ended_by", span.ended_by.as_deref());
    object.text_if("ended_cause", span.ended_cause.as_deref());
    object.text_if("ended_reason", span.ended_reason.as_deref());
}

fn grant(object: &mut Object, entry: &Entry) {
    object.text("node", &entry.node).text("lease", &entry.lease);
    object.text("kind", entry.kind.word()).text("subject", &entry.subject);
    number(object, "fencing_token", entry.fencing_token);
    object.text_if("agent", entry.agent.as_deref());
    object.text_if("session", entry.session.as_deref());
    number(object, "ttl_ms", entry.ttl_ms);
    object.text_if("branch", entry.branch.as_deref());
    object.text_if("worktree", entry.worktree.as_deref());
    object.text_if("purpose", entry.purpose.as_deref());
}

/// Adds a moment twice: as a text, and in µs since 1970, by which programs compare.
fn time(object: &mut Object, [text, number]: [&str; 2], at_us: Option<i64>) {
    if let Some(at_us) = at_us {
        object.text(text, &format_utc(at_us)).raw(number, &at_us.to_string());
    }
}

fn number(object: &mut Object, key: &str, value: Option<u64>) {
    if let Some(value) = value {
        object.number(key, value);
    }
}

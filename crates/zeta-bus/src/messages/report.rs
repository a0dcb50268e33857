//! Messages as text and as JSON. Text shows the age, because an old message looks like a new one.

use std::fmt::Write as _;

use serde_json::Value;
use zeta_core::bus::{EVERYBODY, Envelope, Fate, Header, topic};
use zeta_core::json::Object;
use zeta_core::record::printable;
use zeta_core::time::parse_utc;

use super::follow::{Delivery, FAILURES_MAX};
use super::status::{DeliveryState, Status, field};
use super::{Listing, MessageView, Row};
use crate::report::{Shape, add_compact, add_indented, age, count, json_line};
use zeta_os::error::{Error, Kind};
use zeta_state::finding;

/// The keys of [`status`] that the original writes in camelCase.
pub const STATUS_CAMEL: &[&str] = &["review_requests", "shadow_catches", "item_id", "expires_at"];

/// A message as JSON, with the keys of its file.
pub fn envelope(envelope: &Envelope) -> Value {
    Value::Object(envelope.to_object())
}

/// A message that was published, as JSON.
pub fn published(envelope: &Envelope) -> Value {
    let mut object = envelope.to_object();
    object.insert("result".to_owned(), "stored".into());
    Value::Object(object)
}

/// Several messages that were published, as JSON.
pub fn all_published(envelopes: &[Envelope]) -> Object {
    let mut object = Object::new();
    object.list("messages", envelopes.iter().map(|one| json_line(&published(one))));
    object
}

/// A message in one line, with its age; its payload is cut.
pub fn line(seen: &MessageView, payload_max: usize) -> String {
    let MessageView { envelope, sent_us, fate, .. } = seen;
    let over = if matches!(fate, Fate::Lives(_)) { "" } else { " (expired)" };
    format!("{} {}{over}", age(*sent_us), short(envelope, payload_max))
}

/// As [`line`], without the age.
pub fn short(envelope: &Envelope, payload_max: usize) -> String {
    let payload: String = envelope.payload.to_string().chars().take(payload_max).collect();
    let Envelope { id, topic, from, to, .. } = envelope;
    printable(&format!("[{topic}] {from} -> {to} {id} {payload}")).into_owned()
}

/// A message that is delivered now in one line, with its age; its payload is cut.
pub fn delivered(envelope: &Envelope, payload_max: usize) -> String {
    let sent_us = parse_utc(&envelope.timestamp).unwrap_or(i64::MIN);
    format!("{} {}", age(sent_us), short(envelope, payload_max))
}

/// A message that was sent to an agent, as JSON; `known` says whether such an agent was here.
pub fn sent(envelope: &Envelope, known: bool) -> Value {
    let mut object = envelope.to_object();
    object.insert("result".to_owned(), "stored".into());
    object.insert("recipient_known".to_owned(), known.into());
    Value::Object(object)
}

/// The note about a message to an agent that was never here.
pub fn recipient_unknown(envelope: &Envelope) -> String {
    let Envelope { to, expires_at, .. } = envelope;
    printable(&format!(
        "no agent {to:?} was here yet; the message waits for it until {expires_at} ('zeta status' \
         lists the agents)"
    ))
    .into_owned()
}

/// An inbox as JSON.
pub fn inbox(listing: &Listing) -> Object {
    let mut object = Object::new();
    let messages = listing.messages.iter();
    object.list("messages", messages.map(|one| json_line(&envelope(&one.envelope))));
    finding::add_errors(&mut object, &listing.findings);
    object
}

/// An inbox as text, a message on each line: free text whole, any other payload as JSON.
pub fn inbox_text(listing: &Listing) -> String {
    if listing.messages.is_empty() {
        return "no unread messages".to_owned();
    }
    let line = |seen: &MessageView| {
        let e = &seen.envelope;
        let to_all = if e.to == EVERYBODY { " to all" } else { "" };
        let said = match field(e, "text").filter(|_| e.topic == topic::TEXT) {
            Some(text) => text.to_owned(),
            None => format!("[{}] {} ({})", e.topic, e.payload, e.id),
        };
        printable(&format!("{} {}{to_all}: {said}", age(seen.sent_us), e.from)).into_owned()
    };
    listing.messages.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A whole message as text.
pub fn whole(seen: &MessageView) -> String {
    let envelope = &seen.envelope;
    let payload = crate::report::json_lines(&envelope.payload);
    let safe = |text: &str| printable(text).into_owned();
    format!(
        "id:      {}\ntopic:   {}\nfrom:    {}\nto:      {}\nsent:    {} ({})\nexpires: {}{}\n{}",
        envelope.id,
        safe(&envelope.topic),
        safe(&envelope.from),
        safe(&envelope.to),
        safe(&envelope.timestamp),
        age(seen.sent_us),
        safe(&envelope.expires_at),
        if matches!(seen.fate, Fate::Lives(_)) { "" } else { " (expired)" },
        payload
    )
}

/// A list of messages and findings as JSON. Payloads are not parsed.
pub fn rows_json(rows: &[Row<'_>], findings: &[Error], shape: Shape) -> String {
    let mut text = String::with_capacity(rows.iter().map(|row| row.header.text.len() + 64).sum());
    match (shape, rows.is_empty()) {
        (Shape::Original, true) => text.push_str("[]"),
        (Shape::Original, false) => {
            text.push('[');
            for (at, row) in rows.iter().enumerate() {
                text.push_str(if at == 0 { "\n" } else { ",\n" });
                add_indented(&mut text, row.header.text);
            }
            text.push_str("\n]");
        }
        (Shape::Zeta, _) => {
            text.push_str("{\"messages\":[");
            for (at, row) in rows.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                add_compact(&mut text, row.header.text);
            }
            let mut end = Object::new();
            finding::add_errors(&mut end, findings);
            text.push_str("],");
            text.push_str(end.done().trim_start_matches('{'));
        }
    }
    text
}

/// A list of messages as text, a line each.
pub fn rows_text(rows: &[Row<'_>]) -> String {
    if rows.is_empty() {
        return "no messages".to_owned();
    }
    let mut text = String::with_capacity(rows.iter().map(|row| row.header.text.len() + 64).sum());
    for (at, row) in rows.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "\n" });
        add_row(&mut text, row);
    }
    text
}

fn add_row(text: &mut String, row: &Row<'_>) {
    let Header { topic, from, to, id, payload, .. } = &row.header;
    let over = if matches!(row.fate, Fate::Lives(_)) { "" } else { " (expired)" };
    let payload = payload.map_or("null", |payload| payload.get());
    // The part of the payload that is shown, in one line.
    let payload: String = squeezed(payload).take(60).collect();
    let line = format!("[{topic}] {from} -> {to} {id} {payload}");
    let _ = write!(text, "{}{over} {}", age(row.sent_us), printable(&line));
}

/// Returns JSON without the blanks between its tokens, as an iterator that reads only what is used.
fn squeezed(json: &str) -> impl Iterator<Item = char> {
    let (mut quoted, mut escaped) = (false, false);
    json.chars().filter(move |c| {
        let keep = quoted || !c.is_ascii_whitespace();
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        keep
    })
}

/// The dead letters as JSON.
pub fn dead_letters(envelopes: &[Envelope]) -> Object {
    let mut object = Object::new();
    object.list("dead", envelopes.iter().map(|one| json_line(&envelope(one))));
    object
}

/// The dead letters as text, a line each.
pub fn dead_letters_text(envelopes: &[Envelope]) -> String {
    match envelopes {
        [] => "no messages".to_owned(),
        all => all.iter().map(|envelope| short(envelope, 60)).collect::<Vec<_>>().join("\n"),
    }
}

/// Makes the error for an id that no message has; `hint` says how messages are removed.
pub fn no_such_message(id: &str, hint: &str) -> Error {
    Error::new(Kind::NotFound, format!("no message with id {id}")).hint(hint)
}

/// Makes the error for a failed delivery; `None` if it succeeded.
pub fn failed_delivery(delivery: &Delivery) -> Option<Error> {
    let text = match delivery {
        Delivery::Delivered(_) => return None,
        Delivery::Failed(Envelope { id, to, .. }, times) => match to.as_str() {
            // A message for all agents never becomes a dead letter.
            EVERYBODY => format!("message {id}: its handler failed (attempt {times})"),
            _ => format!("message {id}: its handler failed (attempt {times} of {FAILURES_MAX})"),
        },
        Delivery::DeadLetter(Envelope { id, .. }) => {
            format!(
                "message {id}: its handler failed {FAILURES_MAX} times; it is a dead letter now"
            )
        }
    };
    Some(Error::new(Kind::Fault, text).hint(match delivery {
        Delivery::DeadLetter(_) => "see it with 'zeta bus list --dead'",
        _ => "it will be retried by the next 'zeta bus subscribe'",
    }))
}

/// Adds the texts that are present, as the original does.
fn add_texts(object: &mut Object, pairs: &[(&str, Option<&str>)]) {
    for (key, text) in pairs {
        if let Some(text) = text {
            object.text(key, text);
        }
    }
}

/// The heartbeats, claim messages and review requests of a bus as JSON.
pub fn status(status: &Status) -> Object {
    let mut object = Object::new();
    object.objects("agents", &status.agents, |object, e| {
        let since = [("since", Some(&*e.timestamp)), ("expires_at", Some(&*e.expires_at))];
        add_texts(object, &[("agent", Some(&e.from)), ("status", field(e, "status"))]);
        add_texts(object, &[("note", field(e, "note"))]);
        add_texts(object, &since);
    });
    object.objects("claims", &status.claims, |object, e| {
        add_texts(object, &[("from", Some(&e.from)), ("action", field(e, "action"))]);
        add_texts(object, &[("item_id", field(e, "itemId")), ("branch", field(e, "branch"))]);
        add_texts(object, &[("since", Some(&e.timestamp)), ("expires_at", Some(&e.expires_at))]);
    });
    object.objects("review_requests", &status.review_requests, |object, e| {
        add_texts(object, &[("from", Some(&e.from)), ("to", Some(&e.to))]);
        add_texts(object, &[("artifact", field(e, "artifact"))]);
        add_texts(object, &[("question", field(e, "question")), ("since", Some(&e.timestamp))]);
    });
    let mut totals = Object::new();
    totals.number("agents", status.agents.len() as u64);
    totals.number("claims", status.claims.len() as u64);
    totals.number("shadow_catches", status.shadow_catches as u64);
    totals.number("review_requests", status.review_requests.len() as u64);
    object.raw("totals", &totals.done());
    finding::add_errors(&mut object, &status.findings);
    object
}

/// The status of a bus as text.
pub fn status_text(status: &Status) -> String {
    if status.messages == 0 {
        return "bus: empty".to_owned();
    }
    let mut lines = vec![format!(
        "bus: {}; {} with a heartbeat message, {}, {}, {}",
        count(status.messages, "message"),
        count(status.agents.len(), "agent"),
        count(status.claims.len(), "claim message"),
        count(status.review_requests.len(), "review request"),
        match status.shadow_catches {
            1 => "1 shadow catch".to_owned(),
            number => format!("{number} shadow catches"),
        }
    )];
    let sent = |e: &Envelope| age(parse_utc(&e.timestamp).unwrap_or(i64::MIN));
    for e in &status.agents {
        let note = field(e, "note").map(|note| format!(", {note}")).unwrap_or_default();
        let word = field(e, "status").unwrap_or_default();
        lines.push(format!("  agent   {}: {word}{note} ({})", e.from, sent(e)));
    }
    for e in &status.claims {
        let (action, item) = (field(e, "action"), field(e, "itemId"));
        lines.push(format!(
            "  {:<7} {} {} ({})",
            action.unwrap_or_default(),
            e.from,
            item.unwrap_or_default(),
            sent(e)
        ));
    }
    for e in &status.review_requests {
        let artifact = field(e, "artifact").unwrap_or_default();
        lines.push(format!("  review  {} -> {}: {artifact} ({})", e.from, e.to, sent(e)));
    }
    if !status.claims.is_empty() {
        lines.push("who holds an item now: zeta claim check --item ITEM".to_owned());
    }
    lines.iter().map(|line| printable(line).into_owned()).collect::<Vec<_>>().join("\n")
}

/// The state of a message as JSON.
pub fn fate(id: &str, state: DeliveryState, at: &[(String, DeliveryState)]) -> Object {
    let mut object = Object::new();
    object.text("id", id).text("result", state.word());
    object.objects("at", at, |object, (surface, state)| {
        object.text("surface", surface).text("result", state.word());
        if let DeliveryState::Failed(times) = state {
            object.number("failures", u64::from(*times));
        }
    });
    object
}

/// The state of a message as text.
pub fn fate_text(state: DeliveryState, at: &[(String, DeliveryState)]) -> String {
    let mut lines = vec![state.word().to_owned()];
    lines.extend(at.iter().map(|(surface, state)| format!("  {surface}: {}", state.word())));
    lines.join("\n")
}

/// Makes the error for a dead letter, which will not be delivered.
pub fn is_dead(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("message {id} is a dead letter"))
        .hint("see it with 'zeta bus list --dead'")
}

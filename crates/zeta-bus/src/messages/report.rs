//! Messages as text and as JSON. Text shows the age, because an old message looks like a new one.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use zeta_core::bus::{EVERYBODY, Envelope, Fate, Header, Means, is_for_many, topic};
use zeta_core::hook::cut;
use zeta_core::json::Object;
use zeta_core::record::printable;
use zeta_core::time::{format_utc, parse_utc};

use super::follow::{Delivery, FAILURES_MAX};
use super::send::{Reached, SentText};
use super::status::{At, DeliveryState, Status, field};
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

/// A text that was sent, as JSON.
pub fn sent(sent: &SentText) -> Value {
    let SentText { envelope, reached } = sent;
    let mut object = envelope.to_object();
    object.insert("result".to_owned(), "stored".into());
    object.insert("recipient_known".to_owned(), reached.iter().all(|one| one.known).into());
    let recipient = |one: &Reached| {
        let mut recipient = Map::new();
        recipient.insert("agent".to_owned(), one.agent.as_str().into());
        recipient.insert("known".to_owned(), one.known.into());
        recipient.insert("lives".to_owned(), one.lives.into());
        if let Some(means) = one.wakes_by {
            recipient.insert("wakes_by".to_owned(), means.word().into());
        }
        Value::Object(recipient)
    };
    object.insert("recipients".to_owned(), reached.iter().map(recipient).collect());
    Value::Object(object)
}

/// What is known of the recipients of a text, in one sentence.
pub fn sent_note(sent: &SentText) -> String {
    let SentText { envelope, reached } = sent;
    let Envelope { to, expires_at, .. } = envelope;
    let text = match reached.as_slice() {
        [] if to == EVERYBODY => {
            "no other agent is here; those that come find it in 'zeta bus inbox'".to_owned()
        }
        [] => format!("no other agent is in {to}, so none gets it: see 'zeta bus join'"),
        [one] if !is_for_many(to) => {
            let agent = &one.agent;
            if let Some(node) = &one.node {
                return format!("{agent} is on {node}, to which the bridge carries the message");
            }
            match (one.wakes_by, one.lives, one.known) {
                (Some(means), ..) => format!("{agent}: {}", tells(means)),
                (None, true, _) => format!(
                    "{agent} lives, and nothing wakes it: it gets the message with its next turn, \
                     or by 'zeta bus inbox'"
                ),
                (None, false, true) => {
                    format!("{agent} does not run; the message waits for it until {expires_at}")
                }
                (None, false, false) => format!(
                    "no agent {agent:?} was here yet; the message waits for it until {expires_at} \
                     ('zeta status' lists the agents)"
                ),
            }
        }
        all => {
            let told = all.iter().filter(|one| one.wakes_by.is_some()).count();
            let asleep = all.iter().filter(|one| one.wakes_by.is_none() && one.lives).count();
            format!(
                "{}: {told} told at once, {asleep} with the next turn, {} not running",
                count(all.len(), "agent"),
                all.len() - told - asleep
            )
        }
    };
    printable(&text).into_owned()
}

/// How an agent is told of its mail.
fn tells(means: Means) -> &'static str {
    match means {
        Means::Wait => "its 'zeta bus wait' ends now and wakes it",
        Means::Hook => "its turn runs, or a person stopped it: its next hook gives it the message",
        Means::Pty => "its terminal wakes it when it is idle",
    }
}

/// Mail that waits, as JSON: who sent what, without the texts.
pub fn waiting(agent: &str, listing: &Listing) -> Object {
    let mut object = Object::new();
    object.text("result", "mail").text("agent", agent);
    object.objects("messages", &listing.messages, |object, seen| {
        let e = &seen.envelope;
        object.text("id", &e.id).text("from", &e.from).text("to", &e.to);
        object.text("topic", &e.topic).text("thread", e.thread());
        object.text("timestamp", &e.timestamp);
    });
    object
}

/// Mail that waits, as text.
pub fn waiting_text(agent: &str, listing: &Listing) -> String {
    let mut senders: Vec<&str> = Vec::new();
    for seen in &listing.messages {
        if !senders.contains(&seen.envelope.from.as_str()) {
            senders.push(&seen.envelope.from);
        }
    }
    let more = senders.len().saturating_sub(SENDERS_MAX);
    senders.truncate(SENDERS_MAX);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let text = format!(
        "{} for {agent} from {}{and_more}: zeta bus inbox --as {agent}",
        count(listing.messages.len(), "message"),
        senders.into_iter().map(|one| cut(one, SENDER_MAX)).collect::<Vec<_>>().join(", ")
    );
    printable(&text).into_owned()
}

/// Most senders that are named in one line.
const SENDERS_MAX: usize = 5;
/// Longest name of a sender in it, in characters.
const SENDER_MAX: usize = 80;

/// Makes the error of a wait that took as long as it may.
pub fn no_mail(agent: &str, limit: &str) -> Error {
    Error::new(Kind::Busy, format!("no message for {agent} within {limit}"))
}

/// Makes the error of a wait whose agent has ended.
pub fn agent_ended(agent: &str) -> Error {
    Error::new(
        Kind::Lost,
        format!("the process of {agent} has ended, so nothing waits for its mail"),
    )
}

/// An agent that came into a channel or left it, as JSON.
pub fn membership(agent: &str, channel: &str, word: &str, members: &[String]) -> Object {
    let mut object = Object::new();
    object.text("result", word).text("agent", agent).text("channel", channel);
    object.list("members", members.iter().map(|one| zeta_core::record::quote(one)));
    object
}

/// The same as text.
pub fn membership_text(agent: &str, channel: &str, word: &str, members: &[String]) -> String {
    let what = match word {
        "joined" => "is in",
        "already_joined" => "was in",
        "left" => "is not in",
        _ => "was not in",
    };
    let others = match members {
        [] => "nobody is in it now".to_owned(),
        all => format!("in it: {}", all.join(", ")),
    };
    printable(&format!("{agent} {what} {channel}; {others}")).into_owned()
}

/// An inbox as JSON.
pub fn inbox(listing: &Listing) -> Object {
    let mut object = Object::new();
    let messages = listing.messages.iter();
    object.list("messages", messages.map(|one| json_line(&envelope(&one.envelope))));
    finding::add_errors(&mut object, &listing.findings);
    object
}

/// An inbox as text, a message on each line, with its id: free text whole, any other payload as
/// JSON.
pub fn inbox_text(listing: &Listing) -> String {
    if listing.messages.is_empty() {
        return "no unread messages".to_owned();
    }
    let line = |seen: &MessageView| {
        let e = &seen.envelope;
        let to_all = match e.to.as_str() {
            EVERYBODY => " to all".to_owned(),
            to if is_for_many(to) => format!(" to {to}"),
            _ => String::new(),
        };
        let said = match field(e, "text").filter(|_| e.topic == topic::TEXT) {
            Some(text) => text.to_owned(),
            None => format!("[{}] {}", e.topic, e.payload),
        };
        let Envelope { from, id, .. } = e;
        printable(&format!("{} {id} {from}{to_all}: {said}", age(seen.sent_us))).into_owned()
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
        Delivery::Failed(Envelope { id, to, .. }, times) => match is_for_many(to) {
            // A message for many never becomes a dead letter.
            true => format!("message {id}: its handler failed (attempt {times})"),
            false => {
                format!("message {id}: its handler failed (attempt {times} of {FAILURES_MAX})")
            }
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
    object.objects("channels", &status.channels, |object, (channel, members)| {
        object.text("channel", channel);
        object.list("members", members.iter().map(|one| zeta_core::record::quote(one)));
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
    if status.messages == 0 && status.channels.is_empty() {
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
    for (channel, members) in &status.channels {
        lines.push(format!("  channel {channel}: {}", members.join(", ")));
    }
    if !status.claims.is_empty() {
        lines.push("who holds an item now: zeta claim check --item ITEM".to_owned());
    }
    lines.iter().map(|line| printable(line).into_owned()).collect::<Vec<_>>().join("\n")
}

/// The state of a message as JSON.
pub fn fate(id: &str, state: DeliveryState, at: &[At]) -> Object {
    let mut object = Object::new();
    object.text("id", id).text("result", state.word());
    object.objects("at", at, |object, at| {
        object.text("surface", &at.surface).text("result", at.state.word());
        if let DeliveryState::Failed(times) = at.state {
            object.number("failures", u64::from(times));
        }
        if let Some(woken) = at.woken {
            object.text("woken_at", &format_utc(woken.at_us)).text("woken_by", woken.by.word());
        }
    });
    object
}

/// The state of a message as text.
pub fn fate_text(state: DeliveryState, at: &[At]) -> String {
    let mut lines = vec![state.word().to_owned()];
    for At { surface, state, woken } in at {
        let woken = woken.map_or(String::new(), |woken| {
            format!(" (woken {} by {})", age(woken.at_us), woken.by.word())
        });
        lines.push(format!("  {surface}: {}{woken}", state.word()));
    }
    lines.join("\n")
}

/// Makes the error for a dead letter, which will not be delivered.
pub fn is_dead(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("message {id} is a dead letter"))
        .hint("see it with 'zeta bus list --dead'")
}

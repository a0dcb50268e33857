//! How messages are shown: a line each, with the age, because a late message looks like a new one.

use std::fmt::Write as _;

use serde_json::{Value, json};
use zeta_core::bus::{Envelope, Fate, Header};
use zeta_core::record::{is_unprintable, printable};
use zeta_core::time::{format_duration, parse_utc};

use crate::output::Output;
use zeta_bus::messages::status::{DeliveryState, Status, field};
use zeta_bus::messages::{MessageView, Row};
use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};

/// JSON as the original prints it, safe on a terminal.
pub(crate) fn json_text(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut safe = String::with_capacity(text.len());
    add_safe_json(&mut safe, &text);
    safe
}

/// JSON in one line, safe on a terminal.
pub(crate) fn json_line(value: &Value) -> String {
    let mut safe = String::new();
    add_safe_json(&mut safe, &value.to_string());
    safe
}

/// "3m 2s ago".
fn age(sent_us: i64) -> String {
    match sent_us {
        i64::MIN => "undated".to_owned(),
        us => format!("{} ago", format_duration(zeta_os::host::wall_us().abs_diff(us) / 1000)),
    }
}

/// A message in one line, its payload cut.
pub(super) fn line(seen: &MessageView, payload_max: usize) -> String {
    let MessageView { envelope, sent_us, fate } = seen;
    let over = if matches!(fate, Fate::Lives(_)) { "" } else { " (expired)" };
    format!("{} {}{over}", age(*sent_us), short(envelope, payload_max))
}

/// As [`line`], without what the clock says.
pub(super) fn short(envelope: &Envelope, payload_max: usize) -> String {
    let payload: String = envelope.payload.to_string().chars().take(payload_max).collect();
    let Envelope { id, topic, from, to, .. } = envelope;
    printable(&format!("[{topic}] {from} -> {to} {id} {payload}")).into_owned()
}

/// A whole message for people.
pub(super) fn whole(seen: &MessageView) -> String {
    let envelope = &seen.envelope;
    let payload = json_text(&envelope.payload);
    let said = |text: &str| printable(text).into_owned();
    format!(
        "id:      {}\ntopic:   {}\nfrom:    {}\nto:      {}\nsent:    {} ({})\nexpires: {}{}\n{}",
        envelope.id,
        said(&envelope.topic),
        said(&envelope.from),
        said(&envelope.to),
        said(&envelope.timestamp),
        age(seen.sent_us),
        said(&envelope.expires_at),
        if matches!(seen.fate, Fate::Lives(_)) { "" } else { " (over)" },
        payload
    )
}

/// Prints messages, as an array with `--json`, and what was not understood on stderr.
pub(super) fn print_rows(out: Output, rows: &[Row<'_>], findings: &[Error]) -> Result<u8> {
    let mut text = String::with_capacity(rows.iter().map(|row| row.header.text.len() + 64).sum());
    match (out.json, rows.is_empty()) {
        (true, true) => text.push_str("[]"),
        (false, true) => text.push_str("no messages"),
        (true, false) => {
            text.push('[');
            for (at, row) in rows.iter().enumerate() {
                text.push_str(if at == 0 { "\n" } else { ",\n" });
                add_indented(&mut text, row.header.text);
            }
            text.push_str("\n]");
        }
        (false, false) => {
            for (at, row) in rows.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "\n" });
                add_row(&mut text, row);
            }
        }
    }
    out.data(&text)?;
    findings.iter().for_each(|finding| out.note_finding(finding));
    Ok(0)
}

/// Adds a message as it stands, further in: JSON has no line breaks inside of strings.
fn add_indented(text: &mut String, json: &str) {
    for (at, line) in json.trim().lines().enumerate() {
        text.push_str(if at == 0 { "  " } else { "\n  " });
        add_safe_json(text, line);
    }
}

/// JSON that every reader reads and that is safe on a terminal.
fn add_safe_json(text: &mut String, json: &str) {
    if json.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.push_str(json);
    }
    for c in json.chars() {
        match c != '\n' && is_unprintable(c) {
            // Only strings can hold such a character.
            true => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
            false => text.push(c),
        }
    }
}

fn add_row(text: &mut String, row: &Row<'_>) {
    let Header { topic, from, to, id, payload, .. } = &row.header;
    let over = if matches!(row.fate, Fate::Lives(_)) { "" } else { " (expired)" };
    let payload = payload.map_or("null", |payload| payload.get());
    // The payload in one line, as far as it is shown.
    let payload: String = squeezed(payload).take(60).collect();
    let line = format!("[{topic}] {from} -> {to} {id} {payload}");
    let _ = write!(text, "{}{over} {}", age(row.sent_us), printable(&line));
}

/// JSON without the blanks between its words.
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

/// Prints messages that nobody asks the time of.
pub(super) fn print_envelopes(out: Output, envelopes: &[Envelope]) -> Result<u8> {
    if out.json {
        let all = envelopes.iter().map(|envelope| Value::Object(envelope.to_object())).collect();
        out.data(&json_text(&Value::Array(all)))?;
    } else if envelopes.is_empty() {
        out.data("no messages")?;
    } else {
        let lines: Vec<String> = envelopes.iter().map(|envelope| short(envelope, 60)).collect();
        out.data(&lines.join("\n"))?;
    }
    Ok(0)
}

/// Prints who is on the bus.
pub(super) fn print_status(out: Output, status: &Status) -> Result<u8> {
    match out.json {
        true => out.data(&json_text(&status_value(status)))?,
        false => out.data(&status_text(status))?,
    }
    status.findings.iter().for_each(|finding| out.note_finding(finding));
    Ok(0)
}

/// Only the keys that have something to say, as the original does.
fn object(pairs: &[(&str, Option<&str>)]) -> Value {
    let said = pairs.iter().filter_map(|(key, text)| Some(((*key).to_owned(), (*text)?.into())));
    Value::Object(said.collect())
}

fn status_value(status: &Status) -> Value {
    let agents = status.agents.iter().map(|e| {
        object(&[
            ("agent", Some(&e.from)),
            ("status", field(e, "status")),
            ("note", field(e, "note")),
            ("since", Some(&e.timestamp)),
            ("expiresAt", Some(&e.expires_at)),
        ])
    });
    let claims = status.claims.iter().map(|e| {
        object(&[
            ("from", Some(&e.from)),
            ("action", field(e, "action")),
            ("itemId", field(e, "itemId")),
            ("branch", field(e, "branch")),
            ("since", Some(&e.timestamp)),
            ("expiresAt", Some(&e.expires_at)),
        ])
    });
    let reviews = status.review_requests.iter().map(|e| {
        object(&[
            ("from", Some(&e.from)),
            ("to", Some(&e.to)),
            ("artifact", field(e, "artifact")),
            ("question", field(e, "question")),
            ("since", Some(&e.timestamp)),
        ])
    });
    json!({
        "agents": agents.collect::<Vec<_>>(),
        "claims": claims.collect::<Vec<_>>(),
        "reviewRequests": reviews.collect::<Vec<_>>(),
        "totals": {
            "agents": status.agents.len(),
            "claims": status.claims.len(),
            "shadowCatches": status.shadow_catches,
            "reviewRequests": status.review_requests.len(),
        },
    })
}

fn status_text(status: &Status) -> String {
    if status.messages == 0 {
        return "bus: empty".to_owned();
    }
    let mut lines = vec![format!(
        "bus: {} messages; {} agents, {} claim messages, {} review requests, {} shadow catches",
        status.messages,
        status.agents.len(),
        status.claims.len(),
        status.review_requests.len(),
        status.shadow_catches
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
            "  {:<7} {} {} ({}; who holds it: 'zeta claim check')",
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
    lines.iter().map(|line| printable(line).into_owned()).collect::<Vec<_>>().join("\n")
}

/// Prints what became of a message.
pub(super) fn print_fate(
    out: Output,
    id: &str,
    came: DeliveryState,
    at: &[(String, DeliveryState)],
) -> Result<u8> {
    let object = || {
        let mut object = Object::new();
        object.text("id", id).text("result", came.word());
        object.objects("at", at, |object, (surface, came)| {
            object.text("surface", surface).text("result", came.word());
            if let DeliveryState::Failed(times) = came {
                object.number("failures", u64::from(*times));
            }
        });
        object
    };
    let text = || {
        let mut lines = vec![came.word().to_owned()];
        lines.extend(at.iter().map(|(surface, came)| format!("  {surface}: {}", came.word())));
        lines.join("\n")
    };
    out.either(object, text)?;
    Ok(if came == DeliveryState::Dead { Kind::NotFound.status() } else { 0 })
}

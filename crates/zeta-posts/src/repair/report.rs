//! The answers of the gate, its rules and its log, as text and as JSON.

use std::fmt::Write as _;

use zeta_core::json::Object;
use zeta_core::record::quote;
use zeta_core::repair::{Entry, Permission, Policy, Scope, Unit};
use zeta_core::time::format_utc;

use super::Asked;

/// The word for an answer that allows.
pub const ALLOWED: &str = "allowed";
/// The word for one that refuses.
pub const REFUSED: &str = "refused";

/// What was asked, as JSON: the begin of both answers.
pub fn asked_json(outcome: &str, asked: &Asked) -> Object {
    let mut object = Object::new();
    object.text("outcome", outcome).text("persona", asked.persona.as_str());
    object.text("scope", asked.scope.word());
    object.text_if("unit", asked.unit.as_ref().map(Unit::as_str));
    if let Some(token) = asked.token {
        object.number("fencing_token", token.get());
    }
    object.text("policy", &asked.policy.display().to_string());
    object
}

/// An answer that allows, as JSON.
pub fn allowed_json(asked: &Asked, permission: &Permission) -> Object {
    let mut object = asked_json(ALLOWED, asked);
    object.text_if("until", permission.until_us.map(format_utc).as_deref());
    object.text_if("reason", permission.reason.as_deref());
    object
}

/// An answer that allows, as text.
pub fn allowed_text(asked: &Asked, permission: &Permission) -> String {
    let Asked { persona, scope, unit, .. } = asked;
    let what = match (scope, unit) {
        (Scope::Restart, Some(unit)) => format!("restart {unit}"),
        (scope, _) => scope.to_string(),
    };
    format!("{persona}: {what} is allowed: {}", permission_text(permission))
}

/// A permission in words.
pub fn permission_text(permission: &Permission) -> String {
    let Permission { scope, units, until_us, reason } = permission;
    let mut text = match until_us {
        None => format!("the policy goes as far as {scope}"),
        Some(until_us) => format!("{scope} is granted until {}", format_utc(*until_us)),
    };
    if let Some(units) = units {
        let units: Vec<&str> = units.iter().map(|unit| unit.as_str()).collect();
        let _ = write!(text, ", for restarts of {}", units.join(", "));
    }
    if let Some(reason) = reason {
        let _ = write!(text, " ({reason})");
    }
    text
}

/// The rules of all personas, as JSON.
pub fn policy_json(path: &str, policy: &Policy, now_us: i64) -> Object {
    let mut object = Object::new();
    object.text("policy", path);
    object.objects("personas", &policy.personas, |object, (persona, rules)| {
        object.text("persona", persona.as_str()).flag("needs_post", rules.needs_post);
        object.objects("permissions", &rules.permissions, |object, one| {
            object.text("scope", one.scope.word());
            if let Some(units) = &one.units {
                object.list("units", units.iter().map(|unit| quote(unit.as_str())));
            }
            object.text_if("until", one.until_us.map(format_utc).as_deref());
            object.text_if("reason", one.reason.as_deref());
            object.flag("over", one.until_us.is_some_and(|until_us| until_us <= now_us));
        });
    });
    object
}

/// The rules of all personas, as lines of text.
pub fn policy_text(policy: &Policy, now_us: i64) -> String {
    let mut lines = Vec::new();
    for (persona, rules) in &policy.personas {
        for one in &rules.permissions {
            let over = one.until_us.is_some_and(|until_us| until_us <= now_us);
            let end = if over { "; it is over" } else { "" };
            lines.push(format!("{persona}: {}{end}", permission_text(one)));
        }
        if !rules.needs_post {
            lines.push(format!("{persona}: needs no guard post"));
        }
    }
    match lines.is_empty() {
        true => "the policy has no persona: nothing is allowed".to_owned(),
        false => lines.join("\n"),
    }
}

/// Entries of the log, as JSON.
pub fn log_json(entries: &[Entry], left_out: bool) -> Object {
    let line = |entry: &Entry| serde_json::to_string(entry).unwrap_or_default();
    let mut object = Object::new();
    object.list("entries", entries.iter().map(line)).flag("left_out", left_out);
    object
}

/// Entries of the log, as lines of text.
pub fn log_text(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let Entry { at, outcome, persona, scope, agent, reason, .. } = entry;
        let unit = entry.unit.as_ref().map_or(String::new(), |unit| format!(" of {unit}"));
        let token = entry.fencing_token.map_or(String::new(), |token| format!(", token {token}"));
        format!("{at}  {outcome}  {persona}: {scope}{unit}, by agent {agent}{token}: {reason}")
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

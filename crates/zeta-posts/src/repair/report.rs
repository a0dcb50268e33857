//! The answers of the gate, its rules and its log, as text and as JSON.

use std::fmt::Write as _;
use std::str::FromStr;

use zeta_core::json::Object;
use zeta_core::name::Label;
use zeta_core::record::{printable, quote};
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
    printable(&format!("{persona}: {what} is allowed: {}", permission_text(permission)))
        .into_owned()
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
        false => lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n"),
    }
}

/// Entries of the log, as JSON.
pub fn log_json(entries: &[Entry], left_out: bool) -> Object {
    let line = |entry: &Entry| serde_json::to_string(entry).unwrap_or_default();
    let mut object = Object::new();
    object.list("entries", entries.iter().map(line)).flag("left_out", left_out);
    object
}

/// Entries of the log, as lines of text: one for each. What a call named wrongly is in quotes.
pub fn log_text(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let [at, outcome, reason] =
            [&entry.at, &entry.outcome, &entry.reason].map(|t| printable(t));
        let agent = named::<Label>(&entry.agent);
        let (persona, scope) = (named::<Label>(&entry.persona), named::<Scope>(&entry.scope));
        let unit = entry.unit.as_deref().map_or(String::new(), |unit| match Unit::new(unit) {
            Ok(_) => format!(" of {unit}"),
            Err(_) => format!(" of {}", quote(unit)),
        });
        let token = entry.fencing_token.map_or(String::new(), |token| format!(", token {token}"));
        format!("{at}  {outcome}  {persona}: {scope}{unit}, by agent {agent}{token}: {reason}")
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A name as it is if it can be one, and in quotes if not: a sentence in its place is seen as such.
fn named<T: FromStr>(text: &str) -> String {
    match text.parse::<T>() {
        Ok(_) => text.to_owned(),
        Err(_) => quote(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_argument_of_a_call_makes_a_line_or_a_name_of_the_log() {
        let forged = "x: read-only, by agent x: no\n2026-11-30T11:00:00Z  allowed  otto: rebuild";
        let entry = |persona: &str, scope: &str, unit: &str| Entry {
            at: "2026-11-30T09:00:00Z".to_owned(),
            outcome: REFUSED.to_owned(),
            persona: persona.to_owned(),
            scope: scope.to_owned(),
            unit: Some(unit.to_owned()),
            agent: "otto-post1".to_owned(),
            reason: "a\u{1b}[2Jb\nc".to_owned(),
            ..Entry::default()
        };
        let text =
            log_text(&[entry(forged, "re\u{1b}[2J", "a\nb"), entry("otto", "restart", "k3s")]);
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("refused  \"x: read-only, by agent x: no\\n2026"), "{text}");
        assert!(
            lines[1].contains("refused  otto: restart of k3s, by agent otto-post1: a"),
            "{text}"
        );
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }

    #[test]
    fn no_reason_of_a_policy_makes_a_line_of_the_answer() {
        let text = "[personas.otto]\nscope = \"restart\"\n[[personas.otto.grants]]\n\
                    scope = \"rebuild\"\nuntil = \"2999-01-01T00:00:00Z\"\n\
                    reason = \"a\\nb\\u001b[2J\"\n";
        let policy = crate::repair::policy::of_toml(text.as_bytes()).unwrap();
        let shown = policy_text(&policy, 0);
        assert_eq!(shown.split('\n').count(), 2, "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
}

//! The meaning of a refusal by GitHub, and what would help: from status, headers and message.
//!
//! GitHub gives the same status to refusals of different kinds. Its sentences are read in this file
//! and nowhere else; what leaves it is a [`ForgeError`].

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::forge::ForgeError;
use crate::forge::github::response::Response;

/// The length of a secondary limit if GitHub does not say: its documentation asks for a minute.
const SECONDARY_S: u64 = 60;
/// No limit lasts longer than a day, whatever a header says.
const LIMIT_MOST_S: u64 = 86_400;
/// A message is cut after so many characters.
const MAX_CHARS: usize = 300;

/// The body of a refusal.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

/// Names a refusal: `what` was asked for, of whom.
pub fn judge(what: &str, reply: &Response) -> ForgeError {
    let said = message(reply);
    let told = |more: &str| match said.is_empty() {
        true => format!("{what}: {} without a reason{more}", reply.status),
        false => format!("{what}: {} {said}{more}", reply.status),
    };
    if let Some(s) = limited(reply, &said) {
        return ForgeError::RateLimited(s, told(&format!("; not before {s} s from now")));
    }
    match reply.status {
        300..=399 => ForgeError::Refused(told(
            "; the repository has moved: configure the name that it has now",
        )),
        401 if reply.header("x-github-otp").starts_with("required") => ForgeError::Unauthenticated(
            told("; the account has two-factor authentication: use a personal access token"),
        ),
        401 => ForgeError::Unauthenticated(told("; log in again: 'gh auth login', or a new token")),
        403 | 404 if reply.header("x-github-sso").starts_with("required") => {
            ForgeError::Forbidden(told(
                "; the organization wants single sign-on: authorize the token for it at \
                 https://github.com/settings/tokens",
            ))
        }
        403 | 404 if missing_scopes(reply).is_some() => {
            let scopes = missing_scopes(reply).unwrap_or_default();
            ForgeError::Forbidden(told(&format!("; {scopes}: 'gh auth refresh --scopes repo'")))
        }
        403 => ForgeError::Forbidden(told(&hint(reply, &said))),
        404 => ForgeError::Refused(told("; it does not exist, or the token may not see it")),
        405 | 409 => ForgeError::Conflict(told(&protected(&said))),
        422 if said.to_lowercase().contains("already exists") => ForgeError::Conflict(told("")),
        // The change may have been made before the fault.
        408 | 500..=599 => ForgeError::Lost(told("")),
        _ => ForgeError::Refused(told(&protected(&said))),
    }
}

/// Reads the answer of the GraphQL API to "arm auto-merge": an error has the status 200 there.
pub fn armed(answer: &serde_json::Value) -> Result<bool, ForgeError> {
    let errors = answer.get("errors").and_then(|errors| errors.as_array());
    let Some(error) = errors.and_then(|errors| errors.first()) else {
        let done = answer.pointer("/data/enablePullRequestAutoMerge").is_some_and(|d| !d.is_null());
        let lost = || ForgeError::Lost("arming auto-merge: the answer does not say so".to_owned());
        return done.then_some(true).ok_or_else(lost);
    };
    let text = |key: &str| error.get(key).and_then(|v| v.as_str()).unwrap_or("");
    let said: String = text("message").chars().take(300).collect();
    let lower = said.to_lowercase();
    let has = |words: &str| lower.contains(words);
    let told = format!("arming auto-merge: {said}");
    match text("type") {
        "RATE_LIMITED" => Err(ForgeError::RateLimited(60, told)),
        "FORBIDDEN" | "INSUFFICIENT_SCOPES" => Err(ForgeError::Forbidden(format!(
            "{told}; this needs write access and the scope repo: ask a maintainer to merge"
        ))),
        _ if has("auto merge is not allowed") || has("protected branch rules not configured") => {
            Ok(false)
        }
        _ if has("clean status") => {
            Err(ForgeError::Conflict(format!("{told}; it waits for nothing and can be merged now")))
        }
        _ => Err(ForgeError::Refused(told)),
    }
}

/// The reason in a body, in one bounded line.
pub fn message(reply: &Response) -> String {
    let refusal: Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
    let mut words = vec![refusal.message];
    for error in &refusal.errors {
        let field = |name: &str| error.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let parts = ["field", "code"].iter().filter_map(|name| field(name));
        let parts = || parts.clone().collect::<Vec<_>>().join(" ");
        words.push(field("message").or(error.as_str().map(str::to_owned)).unwrap_or_else(parts));
    }
    words.retain(|word| !word.is_empty());
    let line: String = words.join(": ").chars().take(MAX_CHARS).collect();
    line.replace(|c: char| c.is_control(), " ")
}

/// The seconds until a rate limit ends, if that is what this is.
fn limited(reply: &Response, said: &str) -> Option<u64> {
    if !matches!(reply.status, 403 | 429) {
        return None;
    }
    let number = |name: &str| reply.header(name).trim().parse::<u64>().ok();
    if let Some(s) = number("retry-after") {
        return Some(s.clamp(1, LIMIT_MOST_S));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs());
        let reset = number("x-ratelimit-reset").unwrap_or(now + SECONDARY_S);
        return Some(reset.saturating_sub(now).clamp(1, LIMIT_MOST_S));
    }
    let known = said.to_lowercase().contains("rate limit");
    (reply.status == 429 || known).then_some(SECONDARY_S)
}

/// The scopes that would do. Only a classic token lists its own, and the answer the right ones.
fn missing_scopes(reply: &Response) -> Option<String> {
    // Tokens of another kind have no such header, not an empty one.
    let has = reply.headers.get("x-oauth-scopes")?.to_str().ok()?;
    let wants = reply.header("x-accepted-oauth-scopes");
    let list = |text: &str| -> Vec<String> {
        text.split(',').map(|scope| scope.trim().to_owned()).filter(|s| !s.is_empty()).collect()
    };
    let (has, wants) = (list(has), list(wants));
    if wants.is_empty() || wants.iter().any(|scope| has.contains(scope)) {
        return None;
    }
    let shown = if has.is_empty() { "no scope".to_owned() } else { has.join(", ") };
    Some(format!("the token has {shown}, and this needs one of {}", wants.join(", ")))
}

fn hint(reply: &Response, said: &str) -> String {
    let needs = reply.header("x-accepted-github-permissions");
    let lower = said.to_lowercase();
    let known = protected(said);
    if !known.is_empty() {
        known
    } else if lower.contains("resource not accessible") && !needs.is_empty() {
        format!("; the token needs the permission {needs}")
    } else if lower.contains("archived") {
        "; only its owner can open an archived repository again".to_owned()
    } else if lower.contains("suspended") || lower.contains("blocked") {
        "; ask the forge about the account".to_owned()
    } else if lower.contains("actions is not permitted") {
        "; allow it in the repository's settings for GitHub Actions, or use another token"
            .to_owned()
    } else {
        "; without write access, push the branch to a fork: --fork OWNER/NAME".to_owned()
    }
}

fn protected(said: &str) -> String {
    let lower = said.to_lowercase();
    let so = lower.contains("protected branch") || lower.contains("rule violation");
    if so { "; the branch is protected: use a pull request".to_owned() } else { String::new() }
}

//! Logins that are refreshed: which of two is the newer one, when one is refreshed, and what came
//! of it.
//!
//! Many issuers give a refresh token that counts once, and end the whole login if an older one
//! comes back. So an older login never replaces a newer one, and of many processes one refreshes.
//! Which login is newer is read from what its tool wrote into it, never from the time of its file:
//! a copy has another time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::bake::{BadBake, below, check_value};
use super::manifest::{Entry, Rule};
use crate::time::parse_utc;

type Keys = &'static [&'static str];

/// Where a tool keeps a time in its login.
#[derive(Clone, Copy)]
enum Clock {
    /// A number of milliseconds since 1970.
    Millis(Keys),
    /// A text in ISO 8601.
    Text(Keys),
    /// The key `exp` of a JSON Web Token, in seconds; its signature is not looked at.
    Jwt(Keys),
}

/// What is known of the login of a tool: its id in the manifest, its tokens, until when it is good,
/// since when, and whose it is.
type Shape = (&'static str, &'static [Keys], Option<Clock>, Option<Clock>, Option<Keys>);

const SHAPES: [Shape; 3] = [
    (
        "claude",
        &[&["claudeAiOauth", "refreshToken"], &["claudeAiOauth", "accessToken"]],
        Some(Clock::Millis(&["claudeAiOauth", "expiresAt"])),
        None,
        None,
    ),
    (
        "codex",
        &[&["tokens", "refresh_token"], &["tokens", "access_token"], &["OPENAI_API_KEY"]],
        Some(Clock::Jwt(&["tokens", "access_token"])),
        Some(Clock::Text(&["last_refresh"])),
        Some(&["tokens", "account_id"]),
    ),
    (
        "gemini",
        &[&["refresh_token"], &["access_token"]],
        Some(Clock::Millis(&["expiry_date"])),
        None,
        None,
    ),
];

/// A login, as far as it can be compared. It shows no part of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Login<'a> {
    tokens: Vec<Option<&'a str>>,
    account: Option<&'a str>,
    /// Until when it is good without a refresh, in µs since 1970.
    pub expires_us: Option<i64>,
    /// Since when it is there, in µs since 1970.
    pub issued_us: Option<i64>,
}

/// By which of its times a login is the newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// It is good for longer.
    Expiry,
    /// It was issued later.
    Issue,
}

/// Two times, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// What was compared.
    pub by: By,
    /// The time of the first login, in µs since 1970.
    pub first_us: i64,
    /// The time of the second one.
    pub second_us: i64,
}

/// How the first of two logins stands to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// It is newer.
    Newer(Compared),
    /// It is older.
    Older(Compared),
    /// Both have the same tokens.
    Same,
    /// Nothing in them shows it, or they belong to two accounts.
    Unknown,
}

/// Returns whether a credential is a login that its tool refreshes.
pub fn is_refreshed(entry: &Entry) -> bool {
    matches!(entry.rule, Rule::Login(_))
}

impl<'a> Login<'a> {
    /// Reads a login.
    ///
    /// # Errors
    /// It is not what its manifest entry asks for: half of a file, say.
    pub fn read(entry: &Entry, value: &'a [u8]) -> Result<Login<'a>, BadBake> {
        check_value(entry.rule, value)?;
        let shape = SHAPES.iter().find(|(id, ..)| *id == entry.id);
        let (_, tokens, expires, issued, account) =
            shape.ok_or(BadBake::NoLogin("no tool refreshes it"))?;
        Ok(Login {
            tokens: tokens.iter().map(|keys| below(value, keys)).collect(),
            account: account.and_then(|keys| below(value, keys)),
            expires_us: expires.and_then(|clock| clock.read(value)),
            issued_us: issued.and_then(|clock| clock.read(value)),
        })
    }
}

impl Login<'_> {
    /// Returns whether it has a refresh token, which stands first.
    fn refreshes(&self) -> bool {
        self.refresh_token().is_some()
    }

    fn refresh_token(&self) -> Option<&str> {
        let token = self.tokens.first().copied().flatten();
        token.filter(|token| !matches!(*token, "null" | "\"\""))
    }

    /// Returns whether both are shown to belong to one account: by its name, or by a refresh token
    /// that has not changed.
    fn is_of_account(&self, other: &Login<'_>) -> bool {
        match (self.account, other.account) {
            (Some(account), Some(other)) => account == other,
            _ => self.refreshes() && self.refresh_token() == other.refresh_token(),
        }
    }
}

impl Clock {
    /// Reads the time, in µs since 1970; `None` for what is none between 1970 and 9999.
    fn read(self, value: &[u8]) -> Option<i64> {
        const LAST_US: f64 = 253_402_300_800e6;
        let us = |number: f64, factor: f64| {
            let us = number * factor;
            (us > 0.0 && us < LAST_US).then_some(us as i64)
        };
        match self {
            Clock::Millis(keys) => us(serde_json::from_str(below(value, keys)?).ok()?, 1e3),
            Clock::Text(keys) => {
                let text: String = serde_json::from_str(below(value, keys)?).ok()?;
                parse_utc(&text).ok().filter(|at| *at > 0)
            }
            Clock::Jwt(keys) => {
                let token: String = serde_json::from_str(below(value, keys)?).ok()?;
                let token = Zeroizing::new(token);
                let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
                let claims = Zeroizing::new(claims);
                us(serde_json::from_str(below(&claims, &["exp"])?).ok()?, 1e6)
            }
        }
    }
}

/// Judges which of two logins is the newer one.
///
/// The time limit counts first: an issuer may have written it, and the time of the issue is always
/// that of a machine, whose clock may be wrong.
pub fn judge_age(first: &Login<'_>, second: &Login<'_>) -> Age {
    if first.tokens == second.tokens {
        return Age::Same;
    }
    if first.account.is_some() && second.account.is_some() && first.account != second.account {
        return Age::Unknown;
    }
    let pairs = [
        (By::Expiry, first.expires_us, second.expires_us),
        (By::Issue, first.issued_us, second.issued_us),
    ];
    for (by, first_us, second_us) in pairs {
        if let (Some(first_us), Some(second_us)) = (first_us, second_us) {
            let compared = Compared { by, first_us, second_us };
            match first_us.cmp(&second_us) {
                std::cmp::Ordering::Greater => return Age::Newer(compared),
                std::cmp::Ordering::Less => return Age::Older(compared),
                std::cmp::Ordering::Equal => {}
            }
        }
    }
    Age::Unknown
}

/// What a restore does where another file stands already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The file gets the login of the blob, which is newer.
    Newer(Compared),
    /// The file gets the login of the blob: it is not whole, so no tool can read it.
    Broken,
    /// The file stays: the login of the blob is older.
    Older(Compared),
    /// The file stays: nothing shows which is newer, or that both belong to one account.
    Unknown,
}

/// Decides which of two different logins stays: that of the blob, or that of the file. A login that
/// may belong to another account is not replaced: only its file has it.
pub fn decide_restore(entry: &Entry, blob: &[u8], file: &[u8]) -> Choice {
    if !is_refreshed(entry) {
        return Choice::Unknown;
    }
    let Ok(ours) = Login::read(entry, blob) else { return Choice::Unknown };
    match Login::read(entry, file) {
        Ok(there) => match judge_age(&ours, &there) {
            Age::Newer(compared) if ours.is_of_account(&there) => Choice::Newer(compared),
            Age::Older(compared) => Choice::Older(compared),
            Age::Newer(_) | Age::Same | Age::Unknown => Choice::Unknown,
        },
        Err(BadBake::Blank) => Choice::Broken,
        Err(BadBake::NotJson) if is_cut_off(file) => Choice::Broken,
        // A login of a kind that a later version of its tool writes, or a logout.
        Err(_) => Choice::Unknown,
    }
}

/// Returns whether a text is the first part of a JSON object.
fn is_cut_off(text: &[u8]) -> bool {
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(text);
    text.trim_ascii_start().starts_with(b"{") && read.is_err_and(|error| error.is_eof())
}

/// What is asked of a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What time it is, in µs since 1970.
    pub now_us: i64,
    /// A login that is good for longer than this is not refreshed, in ms.
    pub margin_ms: u64,
    /// True to refresh one that is good for longer, too.
    pub force: bool,
}

/// What a guard does once it has the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It runs the command that refreshes.
    Refresh,
    /// Nothing: another process has refreshed it since the guard was called.
    Renewed,
    /// Nothing: it is good until then, in µs since 1970.
    Valid(i64),
}

/// Decides whether the command of a guard runs. `before` is what was there when the guard was
/// called, `None` if that was no login; `now` is what is there under the lease.
pub fn decide_refresh(before: Option<&Login<'_>>, now: &Login<'_>, ask: &Ask) -> Next {
    let left_us = now.expires_us.map(|at| at.saturating_sub(ask.now_us));
    let renewed =
        before.is_some_and(|before| !matches!(judge_age(now, before), Age::Same | Age::Older(_)));
    if renewed && left_us.is_none_or(|left| left > 0) {
        return Next::Renewed;
    }
    let margin_us = i64::try_from(ask.margin_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    match (now.expires_us, left_us) {
        (Some(at), Some(left)) if !ask.force && left > margin_us => Next::Valid(at),
        _ => Next::Refresh,
    }
}

/// What comes of the copy of a login in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// The blob gets the login of the file.
    Renewed,
    /// It stays: it has the tokens of the file.
    Current,
    /// It stays: its login is newer.
    KeptNewer,
    /// It stays: its login names another account.
    KeptAccount,
}

/// Decides whether a blob gets the login of a file; `there` is the one that it has.
pub fn decide_seal(there: Option<&Login<'_>>, file: &Login<'_>) -> Seal {
    let Some(there) = there else { return Seal::Renewed };
    if there.account.is_some() && file.account.is_some() && there.account != file.account {
        return Seal::KeptAccount;
    }
    match judge_age(file, there) {
        Age::Same => Seal::Current,
        Age::Older(_) => Seal::KeptNewer,
        Age::Newer(_) | Age::Unknown => Seal::Renewed,
    }
}

/// What a command that should refresh a login left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A newer login.
    Refreshed,
    /// The login that was there.
    Unchanged,
    /// An older login than the one that was there.
    Older(Compared),
    /// What is no login.
    Broken(BadBake),
    /// No file: the tool has logged out.
    Removed,
}

/// Judges what a command left behind; `after` is `None` if there is no file. `succeeded` says that
/// the command ended by itself and with 0: one that did not may have died between the removal of a
/// file and the writing of the next one.
pub fn judge_refreshed(
    entry: &Entry,
    before: &Login<'_>,
    after: Option<&[u8]>,
    succeeded: bool,
) -> Verdict {
    let Some(after) = after else {
        return match succeeded {
            true => Verdict::Removed,
            false => Verdict::Broken(BadBake::NoLogin("the file is gone")),
        };
    };
    match Login::read(entry, after) {
        Err(bad) => Verdict::Broken(bad),
        // Without it the login ends for good with its access token.
        Ok(after) if before.refreshes() && !after.refreshes() => {
            Verdict::Broken(BadBake::NoLogin("its refresh token is gone"))
        }
        Ok(after) => match judge_age(&after, before) {
            Age::Same => Verdict::Unchanged,
            Age::Older(compared) => Verdict::Older(compared),
            Age::Newer(_) | Age::Unknown => Verdict::Refreshed,
        },
    }
}

/// A watch over the end of a login, which calls a guard each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// How long before the end it should refresh, in µs.
    pub wish_us: i64,
    /// How long before the end it does, in µs: less than the wish if the logins are good for less.
    pub margin_us: i64,
    /// After how long it tries again if a call fails, in µs.
    pub retry_us: i64,
}

/// The shortest time between two calls of a watch, in µs, and the longest one between two that
/// fail.
pub const RETRY_US: (i64, i64) = (60_000_000, 900_000_000);

impl Watch {
    /// A watch that should refresh that long before the end.
    pub fn new(margin_ms: u64) -> Watch {
        let wish_us = i64::try_from(margin_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        Watch { wish_us, margin_us: wish_us, retry_us: RETRY_US.0 }
    }

    /// Decides how long it waits with the next call, in µs; 0 for not at all. A login without an
    /// end is looked at again: its tool may be writing it.
    pub fn decide_call(&self, ends_us: Option<i64>, now_us: i64) -> i64 {
        ends_us.map_or(i64::MAX, |ends_us| {
            ends_us.saturating_sub(self.margin_us).saturating_sub(now_us).max(0)
        })
    }

    /// Decides what follows on a call: the watch from now on, and how long it does nothing, in µs.
    /// A login that is due although it was refreshed is good for less than the margin: half of what
    /// it is good for has to do.
    pub fn decide_after(&self, succeeded: bool, ends_us: Option<i64>, now_us: i64) -> (Watch, i64) {
        let left_us = ends_us.map_or(i64::MAX, |ends_us| ends_us.saturating_sub(now_us));
        if !succeeded || left_us <= 0 {
            let retry_us = self.retry_us.saturating_mul(2).min(RETRY_US.1);
            return (Watch { retry_us, ..*self }, self.retry_us);
        }
        let margin_us = if left_us > self.wish_us { self.wish_us } else { left_us / 2 };
        (Watch { margin_us, retry_us: RETRY_US.0, ..*self }, RETRY_US.0)
    }
}

#[cfg(test)]
mod tests;

//! What a persona may repair: the gate that an agent asks before it repairs its node or cluster.
//!
//! [`decide`] is the whole gate. It gets the policy of the operator, the question, who asks and the
//! time. Whatever it is asked, it allows or refuses, with the reason.
//!
//! - [`unit`]: names of systemd units, and patterns of them.
//! - [`entry`]: the line that the log keeps of each answer.

pub mod entry;
#[cfg(test)]
mod tests;
pub mod unit;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::entry::Entry;
pub use self::unit::{Unit, UnitPattern};
use crate::lease::FencingToken;
use crate::name::Label;
use crate::time::{format_utc, parse_utc};

/// How far a repair goes. Each scope includes those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// To look: logs, states, descriptions.
    ReadOnly,
    /// To restart services of the node, or pods.
    Restart,
    /// To build the node anew.
    Rebuild,
    /// To change the cluster.
    WriteCluster,
}

impl Scope {
    /// All scopes, the narrowest first.
    pub const ALL: [Scope; 4] =
        [Scope::ReadOnly, Scope::Restart, Scope::Rebuild, Scope::WriteCluster];

    /// Its word on disk and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Scope::ReadOnly => "read-only",
            Scope::Restart => "restart",
            Scope::Rebuild => "rebuild",
            Scope::WriteCluster => "write-cluster",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Scope {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Scope, &'static str> {
        let found = Scope::ALL.into_iter().find(|scope| scope.word() == word);
        found.ok_or("a scope is read-only, restart, rebuild or write-cluster")
    }
}

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The rules of each persona. A persona without rules may nothing.
    #[serde(default)]
    pub personas: BTreeMap<Label, Rules>,
}

/// What one persona may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawRules")]
pub struct Rules {
    /// What changes something is allowed only to a session that stands at a guard post.
    pub needs_post: bool,
    /// What it may do; one that covers the question is enough.
    pub permissions: Vec<Permission>,
}

/// A scope, and how far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The widest scope.
    pub scope: Scope,
    /// The units that may be restarted; `None` for all of them.
    pub units: Option<Vec<UnitPattern>>,
    /// When it ends, in µs since 1970 (UTC); `None` if it does not.
    pub until_us: Option<i64>,
    /// Why it was given.
    pub reason: Option<String>,
}

impl Permission {
    fn holds(&self, now_us: i64) -> bool {
        self.until_us.is_none_or(|until_us| now_us < until_us)
    }

    /// Returns whether it covers the unit of a restart; other scopes are about no single unit.
    fn covers(&self, scope: Scope, unit: Option<&Unit>) -> bool {
        match (&self.units, unit) {
            _ if scope != Scope::Restart => true,
            (None, _) => true,
            (Some(patterns), Some(unit)) => patterns.iter().any(|pattern| pattern.matches(unit)),
            (Some(_), None) => false,
        }
    }
}

/// The rules as their text has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    scope: Scope,
    units: Option<Vec<UnitPattern>>,
    #[serde(default = "needs_post")]
    needs_post: bool,
    #[serde(default)]
    grants: Vec<RawGrant>,
}

fn needs_post() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrant {
    scope: Scope,
    units: Option<Vec<UnitPattern>>,
    until: Until,
    reason: Option<String>,
}

/// A time in the text of a policy.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Until(i64);

impl TryFrom<String> for Until {
    type Error = String;
    fn try_from(text: String) -> Result<Until, String> {
        parse_utc(&text).map(Until).map_err(|error| error.to_string())
    }
}

impl TryFrom<RawRules> for Rules {
    type Error = &'static str;
    fn try_from(raw: RawRules) -> Result<Rules, &'static str> {
        let RawRules { scope, units, needs_post, grants } = raw;
        if scope == Scope::WriteCluster {
            return Err("write-cluster is granted for one incident: write a grant with 'until'");
        }
        let standing = Permission { scope, units, until_us: None, reason: None };
        let granted = grants.into_iter().map(|RawGrant { scope, units, until, reason }| {
            Permission { scope, units, until_us: Some(until.0), reason }
        });
        Ok(Rules { needs_post, permissions: std::iter::once(standing).chain(granted).collect() })
    }
}

/// Who asks, as far as zeta knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A process of the tick of a guard post, which holds the persona's lease.
    AtPost(FencingToken),
    /// A session that holds the persona's lease, and no supervisor of a post is seen above the
    /// holder.
    NoTick(FencingToken),
    /// An agent with the name of the persona, while no session stands at a post as it.
    Named,
    /// An agent with the name of the persona, while another session stands at a post as it, with
    /// this token if that can be read.
    NotAtPost(Option<FencingToken>),
    /// An agent of another name, or of none.
    Stranger,
}

/// What the name of the lease of a persona begins with.
const LEASE: &str = "guard-post.";

/// The name of the lease that the session of a persona holds at its guard post.
pub fn lease_of(persona: &Label) -> String {
    format!("{LEASE}{persona}")
}

/// Returns whether a lease is that of the supervisor of a post: `guard-post-1`.
pub fn is_of_supervisor(lease: &str) -> bool {
    lease.strip_prefix("guard-post-").is_some_and(|post| post.parse::<u32>().is_ok())
}

/// The persona of a lease of [`lease_of`].
pub fn persona_of(lease: &str) -> Option<Label> {
    lease.strip_prefix(LEASE)?.parse().ok()
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The persona that would repair.
    pub persona: &'q Label,
    /// How far the repair goes.
    pub scope: Scope,
    /// The unit that would be restarted.
    pub unit: Option<&'q Unit>,
    /// Who asks.
    pub who: Who,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// By this permission.
    Allowed(&'p Permission),
    /// For this reason.
    Refused(Refusal),
}

/// Why a repair is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The policy does not name the persona.
    #[error("the policy has no persona {0}")]
    UnknownPersona(Label),
    /// The caller is not the persona.
    #[error("the caller is not {0}: it has another name, and no post of that persona")]
    Stranger(Label),
    /// Another session stands at the post.
    #[error("another session stands at a guard post as {0}")]
    NotAtPost(Label),
    /// No session stands at a post.
    #[error("{0} stands at no guard post, and its rules ask for one")]
    NeedsPost(Label),
    /// The lease was taken by other means than a tick.
    #[error("the lease guard-post.{0} is held, but no supervisor of a guard post is seen above it")]
    NoTick(Label),
    /// The scope is wider than any permission.
    #[error("{persona} may go as far as {most}, and {asked} is more")]
    TooWide {
        /// The persona.
        persona: Label,
        /// What was asked.
        asked: Scope,
        /// The widest scope that it has now.
        most: Scope,
    },
    /// The grant is over.
    #[error("the grant of {asked} to {persona} ended at {}", format_utc(*until_us))]
    Over {
        /// The persona.
        persona: Label,
        /// What was asked.
        asked: Scope,
        /// When it ended, in µs since 1970 (UTC).
        until_us: i64,
    },
    /// Only some units may be restarted, and none was named.
    #[error("{0} may restart some units only, and none was named")]
    UnitMissing(Label),
    /// The unit may not be restarted.
    #[error("{persona} may not restart {unit}")]
    UnitRefused {
        /// The persona.
        persona: Label,
        /// The unit.
        unit: Unit,
    },
}

/// Decides whether a repair is allowed. To look is allowed to each persona of the policy; what
/// changes something only to the one session that is the persona now.
pub fn decide<'p>(policy: &'p Policy, asked: &Question<'_>, now_us: i64) -> Verdict<'p> {
    let Question { persona, scope, unit, who } = *asked;
    let name = || persona.clone();
    let Some(rules) = policy.personas.get(persona) else {
        return Verdict::Refused(Refusal::UnknownPersona(name()));
    };
    let who = match who {
        Who::Stranger => Some(Refusal::Stranger(name())),
        Who::AtPost(_) => None,
        _ if scope == Scope::ReadOnly => None,
        Who::NotAtPost(_) => Some(Refusal::NotAtPost(name())),
        Who::Named => rules.needs_post.then(|| Refusal::NeedsPost(name())),
        Who::NoTick(_) => rules.needs_post.then(|| Refusal::NoTick(name())),
    };
    if let Some(refusal) = who {
        return Verdict::Refused(refusal);
    }
    let holding = || rules.permissions.iter().filter(|one| one.holds(now_us));
    let mut wide = holding().filter(|one| one.scope >= scope).peekable();
    if wide.peek().is_none() {
        let ended = rules.permissions.iter().filter(|one| one.scope >= scope);
        return Verdict::Refused(match ended.filter_map(|one| one.until_us).max() {
            Some(until_us) => Refusal::Over { persona: name(), asked: scope, until_us },
            None => {
                let most = holding().map(|one| one.scope).max().unwrap_or(Scope::ReadOnly);
                Refusal::TooWide { persona: name(), asked: scope, most }
            }
        });
    }
    match (wide.find(|one| one.covers(scope, unit)), unit) {
        (Some(permission), _) => Verdict::Allowed(permission),
        (None, None) => Verdict::Refused(Refusal::UnitMissing(name())),
        (None, Some(unit)) => {
            Verdict::Refused(Refusal::UnitRefused { persona: name(), unit: unit.clone() })
        }
    }
}

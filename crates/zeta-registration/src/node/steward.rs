//! The steward, which carries an intent out: one agent of the node at a time opens or adopts the
//! pull request, lets it be merged, and watches until it is.
//!
//! A service that boots before any account is logged in writes its wish down (the *intent*, a
//! marker of the tree); the first agent that runs the steward carries it out. Every step looks
//! first, so one that was cut off is taken up by the next tick.

use std::time::{Duration, Instant};

use zeta_core::name::RecordName;
use zeta_core::record::Fields;
use zeta_core::registration::receipt::Receipt;
use zeta_core::registration::{From, Pull, body_marker};

use super::keep_receipt;
use crate::node::exclusive::with_lease;
use crate::node::register::register;
use crate::node::request::{RegisterOutcome, RegisterRequest};
use zeta_os::error::{Kind, Result};
use zeta_state::context::Context;
use zeta_state::lease::acquire::Refusal;
use zeta_state::presence::records;
use zeta_state::presence::records::RecordKey;

/// The marker that says what is wanted.
pub const INTENT: &str = "register-intent";
/// The least pause between ticks.
const LEAST: Duration = Duration::from_secs(1);
/// The lease that makes it one at a time.
pub const STEWARD: &str = "register-steward";

/// The result of one tick.
#[derive(Debug, Clone)]
pub enum Tick {
    /// There is no intent.
    Nothing,
    /// Another agent is the steward right now.
    Taken(Box<Refusal>),
    /// The state of the registration.
    Stands(RegisterOutcome, Box<Receipt>),
}

fn marker(name: &str) -> Result<RecordKey> {
    Ok(RecordKey::Marker(RecordName::new("marker", name)?))
}

/// Writes the intent: that this node wants to be registered, and as what.
pub fn intend(ctx: &Context, pairs: &[(String, String)]) -> Result<()> {
    records::set(ctx, &marker(INTENT)?, pairs).map(|_| ())
}

/// The intent; `None` if there is none.
pub fn intent(ctx: &Context) -> Result<Option<Fields<'static>>> {
    Ok(records::get(ctx, &marker(INTENT)?)?.and_then(|seen| seen.own()))
}

/// Runs one tick: `asked` is made of the intent, once there is one and no other agent is the
/// steward.
pub fn tick<'a>(
    ctx: &Context,
    asked: impl FnOnce(&Fields<'static>) -> Result<RegisterRequest<'a>>,
) -> Result<Tick> {
    let Some(wanted) = intent(ctx)? else { return Ok(Tick::Nothing) };
    let purpose = "steward of this node's registration".to_owned();
    let stands = with_lease(ctx, STEWARD, purpose, |held| {
        let asked = asked(&wanted)?;
        let (came, mut receipt) = register(ctx, &asked)?;
        match &came {
            RegisterOutcome::Registered => {
                records::clear(ctx, &marker(INTENT)?)?;
            }
            RegisterOutcome::Waiting(pull) | RegisterOutcome::Opened(pull) => {
                held.still()?;
                // The wish to reopen counts once: a second refusal stands.
                if asked.reopen {
                    intend(ctx, &[("reopen".to_owned(), false.to_string())])?;
                }
                for trouble in care_for(&asked, pull) {
                    receipt.detail += &format!("; {trouble}");
                    keep_receipt(ctx, &asked.receipt, &receipt)?;
                }
            }
            RegisterOutcome::Stopped(_) | RegisterOutcome::InFlight(_) => {}
        }
        Ok((came, receipt))
    })?;
    Ok(match stands {
        Ok((came, receipt)) => Tick::Stands(came, Box::new(receipt)),
        Err(refusal) => Tick::Taken(refusal),
    })
}

/// Lets a pull request be merged, and comments once that this node waits for it, if another account
/// opened it.
///
/// One from a foreign fork is left to people: its author may not write to the repository, and this
/// node's token would carry it in. Both steps look before they act, so that another boot or another
/// steward repeats nothing. A refusal by the forge is part of the result and does not end the
/// watch: a person can still merge.
fn care_for(asked: &RegisterRequest<'_>, pull: &Pull) -> Vec<String> {
    let forge = &asked.site.forge;
    let mut troubles = Vec::new();
    if pull.from == From::Ours {
        match forge.arm_auto_merge(pull) {
            Ok(true) => {}
            Ok(false) => {
                troubles.push("it has no auto-merge here: a maintainer has to merge it".into());
            }
            Err(trouble) => troubles.push(trouble.to_string()),
        }
    }
    if pull.from != From::Stranger && !pull.body.contains(&body_marker(asked.node.as_str())) {
        let mark = format!("<!-- zeta-node-waits: {} -->", asked.node);
        let text = format!(
            "Node `{}` waits for this to be merged, and opens no pull request of its own.\n\n\
             {mark}\n",
            asked.node
        );
        let said = forge.comment_once(pull.number, &mark, &text);
        troubles.extend(said.err().map(|trouble| trouble.to_string()));
    }
    troubles
}

/// Ticks until the node is registered or `limit` is over; `tell` gets each tick. A fault that may
/// pass, as a line that is cut, does not end the watch.
pub fn watch(
    every: Duration,
    limit: Option<Duration>,
    mut tick: impl FnMut() -> Result<Tick>,
    mut tell: impl FnMut(&Tick),
) -> Result<Tick> {
    let started = Instant::now();
    let every = every.max(LEAST);
    loop {
        let came = tick();
        let over = match &came {
            Ok(came) => {
                tell(came);
                matches!(came, Tick::Stands(RegisterOutcome::Registered, _) | Tick::Nothing)
            }
            Err(error) => matches!(error.kind, Kind::Usage | Kind::Unsafe | Kind::NotFound),
        };
        let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
        if over || left == Some(Duration::ZERO) {
            return came;
        }
        std::thread::sleep(every.min(left.unwrap_or(every)));
    }
}

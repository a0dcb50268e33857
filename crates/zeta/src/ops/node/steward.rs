//! Carrying an intent across: one agent of the node at a time opens or adopts the pull request,
//! lets it be merged, and watches until it is.
//!
//! A service that boots before anybody is logged in writes down what it wants (the *intent*, a
//! marker of the tree); whichever agent comes by, now or later, does it. Every step looks first, so
//! one that was cut off is taken up by the next tick.

use std::time::{Duration, Instant};

use zeta_core::lease::{Checked, TTL_SESSION_MS};
use zeta_core::name::RecordName;
use zeta_core::record::Fields;
use zeta_core::registration::receipt::Receipt;
use zeta_core::registration::{Pull, body_marker};

use super::register::{Asked, Came, register, said};
use crate::adapters::process;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::ops::acquire::{Outcome, Patience, Refusal, acquire, draft};
use crate::ops::document::{self, Name};
use crate::ops::lease::{check, release};

/// The marker that says what is wanted.
pub const INTENT: &str = "register-intent";
/// The marker that says what the steward did, so that it does nothing twice.
const DONE: &str = "register-steward";
/// The lease that makes it one at a time.
pub const STEWARD: &str = "register-steward";

/// What one tick came to.
#[derive(Debug, Clone)]
pub enum Tick {
    /// There is no intent.
    Nothing,
    /// Another agent is the steward right now.
    Taken(Box<Refusal>),
    /// This is how the registration stands.
    Stands(Came, Box<Receipt>),
}

fn marker(name: &str) -> Result<Name> {
    Ok(Name::Marker(RecordName::new("marker", name)?))
}

/// Writes down that this node wants to be registered, and as what.
pub fn intend(ctx: &Context, pairs: &[(String, String)]) -> Result<()> {
    document::set(ctx, &marker(INTENT)?, pairs).map(|_| ())
}

/// What is wanted; `None` if nothing is.
pub fn intent(ctx: &Context) -> Result<Option<Fields<'static>>> {
    Ok(document::get(ctx, &marker(INTENT)?)?.and_then(|seen| seen.own()))
}

/// One tick: `asked` is made of the intent, once there is one and nobody else is at it.
pub fn tick<'a>(
    ctx: &Context,
    asked: impl FnOnce(&Fields<'static>) -> Result<Asked<'a>>,
) -> Result<Tick> {
    let Some(wanted) = intent(ctx)? else { return Ok(Tick::Nothing) };
    let (tree, node) = ctx.open()?;
    let lease = RecordName::new("lease", STEWARD)?;
    let mut ask = draft(ctx, lease.clone(), TTL_SESSION_MS)?;
    ask.processes.own = Some(process::identify_self());
    ask.processes.pid_ns = ctx.host.pid_ns;
    ask.purpose = Some("steward of this node's registration".to_owned());
    let mut patience = Patience { limit_ms: None, on_wait: &mut |_, _| {} };
    let token = match acquire(ctx, &tree, &node, &ask, &mut patience, &mut |_| Ok(()))? {
        Outcome::Granted { record, .. } => record.fencing_token,
        Outcome::Refused(refusal) => return Ok(Tick::Taken(Box::new(refusal))),
    };
    let stands = (|| {
        let asked = asked(&wanted)?;
        let (came, receipt) = register(ctx, &asked)?;
        match &came {
            Came::Registered => {
                document::clear(ctx, &marker(INTENT)?)?;
            }
            Came::Waiting(pull) | Came::Opened(pull) => {
                if !matches!(check(ctx, &lease, token)?, Ok(Checked::Good { .. })) {
                    return Err(Error::new(Kind::Lost, format!("lease {lease} was lost"))
                        .hint("another steward goes on"));
                }
                care_for(ctx, &asked, pull)?;
            }
            Came::Stopped(_) | Came::InFlight(_) => {}
        }
        Ok((came, receipt))
    })();
    let released = release(ctx, &lease, token);
    let (came, receipt) = stands?;
    released?.ok();
    Ok(Tick::Stands(came, Box::new(receipt)))
}

/// Lets a pull request be merged, and says once that this node waits for it, if it is not ours.
fn care_for(ctx: &Context, asked: &Asked<'_>, pull: &Pull) -> Result<()> {
    let name = marker(DONE)?;
    let done = document::get(ctx, &name)?.and_then(|seen| seen.own());
    let did = |what: &str| {
        done.as_ref().is_some_and(|done| done.text(what).is_some_and(|url| *url == *pull.url))
    };
    let note =
        |what: &str| document::set(ctx, &name, &[(what.to_owned(), pull.url.clone())]).map(|_| ());
    if !did("auto_merge") {
        // Armed twice is armed once: it may be noted after it was done.
        asked.forge.arm_auto_merge(pull).map_err(|trouble| said(&trouble, asked))?;
        note("auto_merge")?;
    }
    let ours = pull.body.contains(&body_marker(asked.node.as_str()));
    if !ours && !did("commented") {
        // A comment twice is worse than none: it is noted before it is made.
        note("commented")?;
        let text = format!(
            "Node `{}` waits for this to be merged; it opens no pull request of its own.",
            asked.node
        );
        asked.forge.comment(pull.number, &text).map_err(|trouble| said(&trouble, asked))?;
    }
    Ok(())
}

/// Ticks until the node is registered or `limit` is over; `tell` gets each tick.
pub fn watch(
    every: Duration,
    limit: Option<Duration>,
    mut tick: impl FnMut() -> Result<Tick>,
    mut tell: impl FnMut(&Tick),
) -> Result<Tick> {
    let started = Instant::now();
    loop {
        let came = tick()?;
        tell(&came);
        let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
        let over = matches!(came, Tick::Stands(Came::Registered, _) | Tick::Nothing);
        if over || left == Some(Duration::ZERO) {
            return Ok(came);
        }
        std::thread::sleep(every.min(left.unwrap_or(every)));
    }
}

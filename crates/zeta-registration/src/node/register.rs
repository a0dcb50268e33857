//! The registration of this node: look, decide, and open one pull request if there is none.
//!
//! The order is what keeps it single: ask without any lock; take the lease that one agent of the
//! node holds; ask again, and thoroughly; write down the attempt; push the branch, whose name is
//! fixed; check the lease; open; and where an answer is lost, ask again instead of repeating.

use zeta_core::registration::receipt::{Receipt, State};
use zeta_core::registration::{From, Next, Pull, Seen, Stop, body_marker, branch, decide, title};

use super::{IN_FLIGHT, keep_receipt, renew};
use crate::forge::Search;
use crate::node::exclusive::{Held, with_lease};
use crate::node::proposal::{Before, Proposal, Proposed, found_elsewhere, is_elsewhere, propose};
use crate::node::request::{OPENED, RegisterOutcome, RegisterRequest, WAITS};
use crate::node_yaml;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::Context;

/// Converges: after this the node is registered, or a pull request waits, or a reason is known.
pub fn register(ctx: &Context, asked: &RegisterRequest<'_>) -> Result<(RegisterOutcome, Receipt)> {
    let seen = asked.seen(Search::Quick)?;
    let next = decide(&seen, asked.policy());
    if let Next::Registered(blob) = next {
        return renew::registered(ctx, asked, &blob, seen.receipt.as_ref());
    }
    if !matches!(next, Next::Open { .. }) {
        return conclude(ctx, asked, &seen, next);
    }
    let purpose = format!("pull request that registers {}", asked.node);
    match with_lease(ctx, IN_FLIGHT, purpose, |held| open_once(ctx, asked, held))? {
        Ok(came) => Ok(came),
        Err(refusal) => {
            let detail = "another agent of this node opens it".to_owned();
            let receipt = asked.receipt(State::Converging, detail, seen.receipt.as_ref());
            Ok((RegisterOutcome::InFlight(refusal), receipt))
        }
    }
}

/// The note for people about a pull request that waits.
fn waits(pull: &Pull) -> &'static str {
    match pull.from {
        From::Ours => WAITS,
        From::Member => "a pull request waits; it is from a fork: a maintainer has to merge it",
        From::Stranger => {
            "a pull request waits; it comes from a stranger's fork: merge it only if it is right; \
             once it is closed, this node opens its own"
        }
    }
}

/// The result that follows without opening anything.
fn conclude(
    ctx: &Context,
    asked: &RegisterRequest<'_>,
    seen: &Seen,
    next: Next,
) -> Result<(RegisterOutcome, Receipt)> {
    let before = seen.receipt.as_ref();
    let with = |state, detail: String| asked.receipt(state, detail, before);
    let of = |pull: &Pull, receipt: Receipt| Receipt {
        pr_url: Some(pull.url.clone()),
        branch: Some(pull.branch.clone()),
        ..receipt
    };
    let (came, receipt) = match next {
        Next::Registered(blob) => return renew::registered(ctx, asked, &blob, before),
        Next::Watch(pull) => {
            let receipt = of(&pull, with(State::Converging, waits(&pull).to_owned()));
            (RegisterOutcome::Waiting(pull), receipt)
        }
        Next::Open { .. } => return Err(Error::new(Kind::Fault, "nothing is opened here")),
        Next::Stop(stop) => {
            if let Stop::Removed(_) = &stop
                && let Ok(Some(other)) = found_elsewhere(asked.site, &asked.path())
            {
                return Err(is_elsewhere(&other));
            }
            let receipt = match &stop {
                Stop::CouldNotAsk(why) => with(State::CheckFailed, why.clone()),
                Stop::Merging(pull) => of(pull, with(State::Converging, "merged".to_owned())),
                Stop::Closed(pull) => of(pull, with(State::Closed, "it was closed".to_owned())),
                Stop::Removed(pull) => of(pull, with(State::Closed, "it was removed".to_owned())),
                Stop::Throttled { refused, .. } => {
                    // The reason why the last one failed stays: it has to be put right.
                    let why = before.filter(|_| *refused).map(|before| before.detail.clone());
                    let gone = "of the last attempt nothing is to be seen".to_owned();
                    with(State::Throttled, why.unwrap_or(gone))
                }
            };
            (RegisterOutcome::Stopped(stop), receipt)
        }
    };
    keep_receipt(ctx, &asked.receipt, &receipt)?;
    Ok((came, receipt))
}

/// Opens the pull request, inside the lease.
fn open_once(
    ctx: &Context,
    asked: &RegisterRequest<'_>,
    held: &Held<'_>,
) -> Result<(RegisterOutcome, Receipt)> {
    // The holder of the lease before may just have opened it.
    let seen = asked.seen(Search::Exhaustive)?;
    let next = decide(&seen, asked.policy());
    let Next::Open { after } = next else { return conclude(ctx, asked, &seen, next) };
    let interrupted = seen.receipt.as_ref().filter(|before| before.state == State::Registering);
    let began_s = interrupted.and_then(|before| before.last_attempt_s);
    let began_s = began_s.unwrap_or_else(|| host::wall_us() / 1_000_000);
    let before = seen.receipt.as_ref();
    let receipt = Receipt {
        last_attempt_s: Some(began_s),
        retry_after_s: None,
        branch: Some(branch(asked.node.as_str())),
        ..asked.receipt(State::Registering, "an attempt was begun".to_owned(), before)
    };
    keep_receipt(ctx, &asked.receipt, &receipt)?;
    let proposal = proposal(asked, after.as_ref())?;
    match propose(asked.site, &proposal, (&asked.author, began_s), || held.still()) {
        Ok(Proposed::Opened(pull)) => opened(ctx, asked, pull, &receipt),
        // Another agent, without this lease, opened one, and it was merged between our two looks.
        Ok(Proposed::Overtaken(base)) => {
            let detail = format!("on the default branch: {}", base.commit);
            let receipt = asked.receipt(State::Converged, detail, before);
            keep_receipt(ctx, &asked.receipt, &receipt)?;
            Ok((RegisterOutcome::Registered, receipt))
        }
        Err(failed) => {
            keep_receipt(ctx, &asked.receipt, &failed.receipt(receipt, before))?;
            Err(failed.error())
        }
    }
}

fn opened(
    ctx: &Context,
    asked: &RegisterRequest<'_>,
    pull: Pull,
    receipt: &Receipt,
) -> Result<(RegisterOutcome, Receipt)> {
    let receipt = Receipt {
        state: State::PullOpened,
        pr_url: Some(pull.url.clone()),
        opened_url: Some(pull.url.clone()),
        detail: OPENED.to_owned(),
        observed_us: host::wall_us(),
        ..receipt.clone()
    };
    keep_receipt(ctx, &asked.receipt, &receipt)?;
    Ok((RegisterOutcome::Opened(pull), receipt))
}

fn proposal(asked: &RegisterRequest<'_>, after: Option<&Pull>) -> Result<Proposal> {
    let node = asked.node.as_str();
    let mut body = format!(
        "Adds `{}`.\n\nOpened by `zeta node register` on the node itself. Closing this says no: it \
         is not opened again unless a person asks for it (`--reopen`).\n",
        asked.path()
    );
    if let Some(after) = after {
        body += &format!("\nIt follows {}, which was closed.\n", after.url);
    }
    body += &format!("\n{}\n", body_marker(node));
    Ok(Proposal {
        branch: branch(node),
        title: title(node),
        message: format!("Registered by {}.", asked.maintainer),
        body,
        path: asked.path(),
        content: Some(node_yaml::write(&asked.file)?),
        before: Before::Absent,
    })
}

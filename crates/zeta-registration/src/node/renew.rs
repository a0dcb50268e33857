//! A node that is registered: its receipt, and its end, which is moved while it lives.

use zeta_core::registration::expiry::{expiry, is_due, with_end};
use zeta_core::registration::node::EXPIRES_AT;
use zeta_core::registration::receipt::{Receipt, State};
use zeta_core::registration::{Answer, PullState, refresh_branch, rest_s};

use super::{IN_FLIGHT, keep_receipt};
use crate::git::Repo;
use crate::node::exclusive::with_lease;
use crate::node::proposal::{Before, Proposal, Proposed, propose};
use crate::node::request::{RegisterOutcome, RegisterRequest};
use crate::node_yaml;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::Context;

/// Writes the receipt of a node that is on the default branch; if an end is asked for, it is moved
/// by a pull request when it is near.
pub fn registered(
    ctx: &Context,
    asked: &RegisterRequest<'_>,
    blob: &str,
    before: Option<&Receipt>,
) -> Result<(RegisterOutcome, Receipt)> {
    let detail = format!("on the default branch: {blob}");
    let mut receipt = asked.receipt(State::Converged, detail, before);
    let until = asked.file.metadata.annotations.get(EXPIRES_AT);
    // A fault with the end is part of the answer, and the node is registered all the same.
    if let Some(until) = until {
        match moved(ctx, asked, until, &mut receipt) {
            Ok(None) => {}
            Ok(Some(what)) => receipt.detail += &format!("; {what}"),
            Err(error) => receipt.detail += &format!("; its end was not moved: {}", error.text),
        }
    }
    keep_receipt(ctx, &asked.receipt, &receipt)?;
    Ok((RegisterOutcome::Registered, receipt))
}

/// Moves the end, if it is due; returns what was done or found, for people.
fn moved(
    ctx: &Context,
    asked: &RegisterRequest<'_>,
    until: &str,
    receipt: &mut Receipt,
) -> Result<Option<String>> {
    let repo = Repo::new(asked.site.remote.clone())?;
    let base = repo.fetch(asked.site.base.as_deref())?;
    let text = repo.content(&base.commit, &asked.path())?;
    let mut node = node_yaml::read(text.as_bytes())?;
    if !is_due(expiry(&node, host::wall_us())) {
        return Ok(None);
    }
    if let Some(what) = stands(asked) {
        return Ok(Some(what));
    }
    let branch = refresh_branch(asked.node.as_str());
    let now_s = host::wall_us() / 1_000_000;
    if rest_s(receipt, asked.min_interval_s, now_s).is_some() && !asked.reopen {
        return Ok(Some("its end is moved at the next attempt".to_owned()));
    }
    let content = with_end(&text, until);
    node.metadata.annotations.insert(EXPIRES_AT.to_owned(), until.to_owned());
    // Nothing but the end may have changed by what was done to the text.
    let content =
        content.filter(|text| node_yaml::read(text.as_bytes()).is_ok_and(|read| read == node));
    let content = content.ok_or_else(|| {
        Error::new(Kind::Unsafe, format!("{}: there is no place for an end", asked.path()))
    })?;
    let proposal = Proposal {
        branch,
        title: format!("node-refresh: {}", asked.node),
        message: "The node lives.".to_owned(),
        body: format!("Moves the end of `{}` to {until}: the node lives.\n", asked.path()),
        path: asked.path(),
        content: Some(content),
        before: Before::Content(text),
    };
    let before = receipt.clone();
    (receipt.last_attempt_s, receipt.retry_after_s) = (Some(now_s), None);
    keep_receipt(ctx, &asked.receipt, receipt)?;
    let purpose = format!("pull request that moves the end of {}", asked.node);
    let opened = with_lease(ctx, IN_FLIGHT, purpose, |held| {
        // The holder of the lease before may just have opened it.
        if let Some(what) = stands(asked) {
            return Ok(what);
        }
        match propose(asked.site, &proposal, (&asked.author, now_s), || held.still()) {
            Ok(Proposed::Opened(pull)) => Ok(format!("{} moves its end", pull.url)),
            Ok(Proposed::Overtaken(_)) => Ok("its file has just been changed".to_owned()),
            Err(failed) => {
                let after = failed.receipt(receipt.clone(), Some(&before));
                (receipt.last_attempt_s, receipt.retry_after_s) =
                    (after.last_attempt_s, after.retry_after_s);
                Err(failed.error())
            }
        }
    })?;
    Ok(Some(match opened {
        Ok(what) => what,
        Err(_) => "another agent of this node moves its end".to_owned(),
    }))
}

/// The reason why no pull request is opened that moves the end; `None` if one may be.
fn stands(asked: &RegisterRequest<'_>) -> Option<String> {
    let pulls = match asked.site.forge.of_branch(&refresh_branch(asked.node.as_str())) {
        Answer::Unknown(why) => return Some(format!("about its end nobody answered: {why}")),
        Answer::Absent => return None,
        Answer::Found(pulls) => pulls,
    };
    if let Some(pull) = pulls.iter().find(|pull| pull.state == PullState::Open) {
        return Some(format!("{} moves its end", pull.url));
    }
    let newest = pulls.iter().max_by_key(|pull| pull.number);
    let closed = newest.filter(|pull| pull.state == PullState::Closed && !asked.reopen)?;
    Some(format!("its end stays: {} was closed", closed.url))
}

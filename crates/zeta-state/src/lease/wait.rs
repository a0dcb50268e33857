//! Waiting until a lease can be taken, without taking it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use zeta_core::layout;
use zeta_core::lease::{Cause, Observed, Standing};
use zeta_core::name::RecordName;
use zeta_core::time::NS_PER_MS;

use super::LeaseView;
use super::acquire::{OnWait, Refusal};
use super::joint::Grants;
use crate::context::{Context, NodeHandle};
use zeta_os::error::Result;
use zeta_os::inotify::{Watch, poll_readable};
use zeta_os::{host, process};

/// The longest sleep between two looks, whatever is watched.
const RECHECK: Duration = Duration::from_secs(1);

/// How a wait ended.
#[derive(Debug)]
pub enum Waited {
    /// The lease can be taken, and why; the time that was waited.
    Free(Standing, u64),
    /// The time is over and it is still held.
    Held(Refusal),
}

/// Waits until a lease is free or can be taken, for at most `limit_ms`. The caller draws no ticket:
/// a process that takes the lease at that moment is not held up.
pub fn wait(
    ctx: &Context,
    lease: &RecordName,
    limit_ms: u64,
    on_wait: &mut OnWait<'_>,
) -> Result<Waited> {
    let started_ns = host::reading().boot_ns;
    let waited_ms = || host::reading().boot_ns.saturating_sub(started_ns) / NS_PER_MS;
    let mut shown = false;
    loop {
        // Opened again if the tree was removed: the lease is free then, or another tree's.
        let Some(handle) = ctx.find()? else {
            return Ok(Waited::Free(Standing::Grantable(Cause::Free), waited_ms()));
        };
        let watch = Watch::new();
        watch.removals_in(handle.node.as_fd());
        while !handle.node.is_gone() {
            let LeaseView { observed, standing, .. } = look(&handle, lease)?;
            let held = match standing {
                Standing::Held(held) => held,
                standing => return Ok(Waited::Free(standing, waited_ms())),
            };
            if let Some(grants) = Grants::open(&handle.tree.base, &handle.node, lease)? {
                watch.removals_in(grants.fd());
            }
            let rest_ms = limit_ms.saturating_sub(waited_ms());
            if rest_ms == 0 {
                let refusal = Refusal::of_waiting(held, observed, waited_ms(), limit_ms);
                return Ok(Waited::Held(refusal));
            }
            if !std::mem::replace(&mut shown, true) {
                on_wait(&observed, &held);
            }
            let rest_ms = held.rest_ms.map_or(rest_ms, |ms| ms.min(rest_ms));
            sleep(&watch, lease, &observed, Duration::from_millis(rest_ms).min(RECHECK));
        }
    }
}

fn look(handle: &NodeHandle<'_>, lease: &RecordName) -> Result<LeaseView> {
    let views = handle.views(lease)?;
    // All holders must have gone; the order of their end does not matter.
    let held = views.iter().position(|view| matches!(view.standing, Standing::Held(_)));
    let view = views.into_iter().nth(held.unwrap_or(0));
    Ok(view.unwrap_or_else(|| super::view(None, lease, &handle.ctx.now())))
}

/// Sleeps until the record goes away, its holder ends, or `limit` is over.
fn sleep(watch: &Watch, lease: &RecordName, observed: &Observed, limit: Duration) {
    let file = layout::lease_file(lease);
    let mut alive: Vec<OwnedFd> = match observed {
        Observed::Ours(record, ..) => {
            let recorded = record.processes.own.iter().chain(&record.processes.child);
            recorded.filter_map(process::watch).collect()
        }
        _ => Vec::new(),
    };
    let holders = alive.len();
    let until = host::reading().boot_ns + limit.as_nanos() as u64;
    loop {
        let left = until.saturating_sub(host::reading().boot_ns);
        let mut fds: Vec<BorrowedFd<'_>> = alive.iter().map(AsFd::as_fd).collect();
        fds.extend(watch.fd());
        let ready = poll_readable(&fds, Duration::from_nanos(left));
        let about = ready.get(alive.len()) == Some(&true)
            && watch.drain(|name| name == file || layout::is_grant_file(name)).about;
        let mut ended = ready.into_iter();
        alive.retain(|_| !ended.next().unwrap_or(false));
        let dead = holders > 0 && alive.is_empty();
        if about || dead || left == 0 {
            return;
        }
    }
}

//! Waiting until a lease of the cluster can be taken, without taking it.

use std::time::Duration;

use zeta_core::cluster::lease::Op;
use zeta_core::evidence::ProcessState;
use zeta_core::lease::{Record, Standing};
use zeta_core::name::RecordName;
use zeta_core::time::NS_PER_MS;

use super::{Ask, CALL_LIMIT, seen_there};
use crate::context::Context;
use crate::lease::acquire::{OnWait, Refusal};
use crate::lease::wait::{Waited, wait};
use zeta_os::error::{Kind, Result};
use zeta_os::{host, process};

/// The longest sleep before the store is read again: the news of it are hints.
const LOOK_AGAIN_MS: u64 = 5_000;

/// As [`wait`]: until it is free on this node, and in the cluster.
///
/// # Errors
/// The store is not reached before the time is over.
pub fn wait_in_cluster(
    ctx: &Context,
    lease: &RecordName,
    limit_ms: u64,
    on_wait: &mut OnWait<'_>,
) -> Result<Waited> {
    let started_ns = host::reading().boot_ns;
    let waited_ms = || host::reading().boot_ns.saturating_sub(started_ns) / NS_PER_MS;
    let rest_ms = || limit_ms.saturating_sub(waited_ms());
    let at = ctx.open()?;
    let cluster = ctx.cluster()?;
    let life = &|record: &Record| match at.view(lease) {
        // A local record that is free was looked at by `wait`.
        Ok(Some(_)) | Err(_) => ProcessState::Unknown,
        Ok(None) => process::life(&record.processes, &ctx.host),
    };
    let mut shown = false;
    loop {
        if let Waited::Held(refusal) = wait(ctx, lease, rest_ms(), on_wait)? {
            return Ok(Waited::Held(Refusal {
                in_cluster: true,
                waited_ms: waited_ms(),
                ..refusal
            }));
        }
        let (node, base) = (&at.node, &at.tree.base);
        let limit = CALL_LIMIT.min(Duration::from_millis(rest_ms().max(1_000)));
        let ask = Ask { ctx, node, base, lease, op: Op::End, known: None, floor: 0, life, limit };
        let (seen, held) = match cluster.look(ask) {
            Ok((_, standing @ (Standing::Grantable(_) | Standing::MustKill(_)))) => {
                return Ok(Waited::Free(standing, waited_ms()));
            }
            Ok((seen, Standing::Held(held))) => (seen, held),
            Err(error) if error.kind == Kind::Busy && rest_ms() > 0 => {
                std::thread::sleep(Duration::from_millis(rest_ms().min(1_000)));
                continue;
            }
            Err(error) => return Err(error),
        };
        let observed = seen_there(&seen.entry);
        if rest_ms() == 0 {
            let refusal = Refusal::of_waiting(held, observed, waited_ms(), limit_ms);
            return Ok(Waited::Held(Refusal { in_cluster: true, ..refusal }));
        }
        if !std::mem::replace(&mut shown, true) {
            on_wait(&observed, &held);
        }
        let sleep_ms = held.rest_ms.unwrap_or(LOOK_AGAIN_MS).min(LOOK_AGAIN_MS).min(rest_ms());
        // An error shows itself at the next look.
        let _ = cluster.wait(lease, seen.revision, Duration::from_millis(sleep_ms));
    }
}

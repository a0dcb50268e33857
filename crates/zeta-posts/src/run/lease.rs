//! The lease of a post: it has one supervisor.

use std::time::Duration;

use zeta_core::lease::FencingToken;
use zeta_core::name::RecordName;
use zeta_os::error::Result;
use zeta_os::process;
use zeta_state::context::Context;
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions, new_request};
use zeta_state::lease::report;

/// Its TTL, in ms.
const TTL_MS: u64 = 120_000;
/// How often it is renewed, in ms.
pub(super) const RENEW_MS: u64 = TTL_MS / 4;
/// How long a renewal waits for the guard of the lease.
const LIMIT: Duration = Duration::from_secs(5);

/// The lease of a post, which this process holds.
#[derive(Debug)]
pub(super) struct PostLease {
    post: u32,
    name: RecordName,
    token: FencingToken,
}

impl PostLease {
    /// Takes the lease.
    ///
    /// # Errors
    /// A refusal that names the other supervisor.
    pub(super) fn take(ctx: &Context, post: u32) -> Result<PostLease> {
        let name = RecordName::new("lease", &format!("guard-post-{post}"))?;
        let token = acquire(ctx, &name, &format!("runs post {post}"))?;
        Ok(PostLease { post, name, token })
    }

    /// Renews the lease. One that was lost, as with the whole tree, is taken again.
    ///
    /// # Errors
    /// Another supervisor has it: this one must stop. Or the tree cannot be used now.
    pub(super) fn renew(&mut self, ctx: &Context) -> Result<()> {
        let renewed = ctx.open()?.renew(&self.name, self.token, None, LIMIT)?;
        if renewed.is_err() {
            *self = PostLease::take(ctx, self.post)?;
        }
        Ok(())
    }

    /// Gives the lease back. What stays of it ends with this process.
    pub(super) fn release(self, ctx: &Context) {
        let _ = ctx.open().and_then(|at| at.release_within(&self.name, self.token, LIMIT));
    }
}

/// Takes a lease for this process, without waiting.
///
/// # Errors
/// A refusal that names its holder.
pub(super) fn acquire(ctx: &Context, name: &RecordName, purpose: &str) -> Result<FencingToken> {
    let at = ctx.open()?;
    let mut request = new_request(ctx, name.clone(), TTL_MS)?;
    request.processes.own = Some(process::identify_self());
    request.purpose = Some(purpose.to_owned());
    let mut wait = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
    match LeaseHandle::new(&at, name).acquire(&request, &mut wait, &mut |_| Ok(()))? {
        Outcome::Granted { record, .. } => Ok(record.fencing_token),
        Outcome::Refused(refusal) => Err(report::refused(name, &refusal, &ctx.now()).0),
    }
}

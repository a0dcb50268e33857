//! A lease around what only one agent of this node may do at a time.

use zeta_core::lease::{Checked, FencingToken, TTL_SESSION_MS};
use zeta_core::name::RecordName;

use zeta_os::error::{Error, Kind, Result};
use zeta_os::process;
use zeta_state::context::Context;
use zeta_state::lease::acquire::{LeaseHandle, Outcome, Refusal, WaitOptions, new_request};

/// The lease, while the caller holds it.
pub struct Held<'a> {
    ctx: &'a Context,
    lease: RecordName,
    token: FencingToken,
}

impl Held<'_> {
    /// Checks that the caller still holds the lease, right before each step that others would see.
    ///
    /// # Errors
    /// `Kind::Lost`: another holder has it now.
    pub fn still(&self) -> Result<()> {
        let found = self.ctx.find()?;
        let checked = found.map(|handle| handle.check(&self.lease, self.token)).transpose()?;
        match checked {
            Some(Ok(Checked::Good { .. })) => Ok(()),
            _ => Err(Error::new(Kind::Lost, format!("lease {} was lost", self.lease))
                .hint("the agent that has it now goes on; run it again to see")),
        }
    }
}

/// Acts while holding the lease `name`; returns the refusal if another holder has it.
pub fn with_lease<T>(
    ctx: &Context,
    name: &str,
    purpose: String,
    act: impl FnOnce(&Held<'_>) -> Result<T>,
) -> Result<std::result::Result<T, Box<Refusal>>> {
    let handle = ctx.open()?;
    let lease = RecordName::new("lease", name)?;
    let mut ask = new_request(ctx, lease.clone(), TTL_SESSION_MS)?;
    ask.processes.own = Some(process::identify_self());
    ask.processes.pid_ns = ctx.host.pid_ns;
    ask.purpose = Some(purpose);
    let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
    let outcome =
        LeaseHandle::new(&handle, &lease).acquire(&ask, &mut patience, &mut |_| Ok(()))?;
    let token = match outcome {
        Outcome::Granted { record, .. } => record.fencing_token,
        Outcome::Refused(refusal) => return Ok(Err(Box::new(refusal))),
    };
    let acted = act(&Held { ctx, lease: lease.clone(), token });
    // A lease that was lost has another holder already, who asks anew.
    let released = ctx.as_holder(&lease, |handle| handle.release(&lease, token));
    let acted = acted?;
    released?.ok();
    Ok(Ok(acted))
}

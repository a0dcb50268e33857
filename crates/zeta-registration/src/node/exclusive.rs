//! One agent of this node at a time: a lease around what must not be done twice at once.

use zeta_core::lease::{Checked, FencingToken, TTL_SESSION_MS};
use zeta_core::name::RecordName;

use zeta_os::error::{Error, Kind, Result};
use zeta_os::process;
use zeta_state::context::Context;
use zeta_state::lease::acquire::{Outcome, Refusal, WaitOptions, acquire, new_request};
use zeta_state::lease::{check, release};

/// The lease, while we hold it.
pub struct Held<'a> {
    ctx: &'a Context,
    lease: RecordName,
    token: FencingToken,
}

impl Held<'_> {
    /// Is it still ours? Asked right before each step that others would see.
    ///
    /// # Errors
    /// `Kind::Lost`: it is somebody else's now.
    pub fn still(&self) -> Result<()> {
        match check(self.ctx, &self.lease, self.token)? {
            Ok(Checked::Good { .. }) => Ok(()),
            _ => Err(Error::new(Kind::Lost, format!("lease {} was lost", self.lease))
                .hint("whoever has it now goes on; run it again to see")),
        }
    }
}

/// Acts while holding the lease `name`; who has it, if that is somebody else.
pub fn with_lease<T>(
    ctx: &Context,
    name: &str,
    purpose: String,
    act: impl FnOnce(&Held<'_>) -> Result<T>,
) -> Result<std::result::Result<T, Box<Refusal>>> {
    let (tree, node) = ctx.open()?;
    let lease = RecordName::new("lease", name)?;
    let mut ask = new_request(ctx, lease.clone(), TTL_SESSION_MS)?;
    ask.processes.own = Some(process::identify_self());
    ask.processes.pid_ns = ctx.host.pid_ns;
    ask.purpose = Some(purpose);
    let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
    let token = match acquire(ctx, &tree, &node, &ask, &mut patience, &mut |_| Ok(()))? {
        Outcome::Granted { record, .. } => record.fencing_token,
        Outcome::Refused(refusal) => return Ok(Err(Box::new(refusal))),
    };
    let acted = act(&Held { ctx, lease: lease.clone(), token });
    // A lease that was lost has another holder already, who asks anew.
    let released = release(ctx, &lease, token);
    let acted = acted?;
    released?.ok();
    Ok(Ok(acted))
}

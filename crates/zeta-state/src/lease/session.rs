//! The session that a short call belongs to: its processes are the evidence for the leases that the
//! call acquires.

use zeta_core::evidence::Processes;
use zeta_core::layout;
use zeta_core::presence::{Beat, holder_processes};
use zeta_core::record::{Text, parse};

use crate::context::NodeHandle;
use zeta_os::error::Result;
use zeta_os::process;

/// Returns the processes of the caller's session, from the record that its `zeta run` or the hooks
/// of its tool keep; none if the caller has no session. The parent process alone is never taken for
/// the holder: agent tools start a fresh shell per command.
pub fn processes(handle: &NodeHandle<'_>) -> Result<Processes> {
    let ctx = handle.ctx;
    let Some(session) = &ctx.session else { return Ok(Processes::default()) };
    let file = layout::persona_file(ctx.agent.as_str());
    let Some(bytes) = handle.read(&file, layout::PERSONA_MAX)? else {
        return Ok(Processes::default());
    };
    let Ok(Text::Own(fields)) = parse(&bytes.bytes, layout::PERSONA_MAX) else {
        return Ok(Processes::default());
    };
    match Beat::from_fields(&fields) {
        Ok(beat) if beat.session.as_ref() == Some(session) => {
            let life = process::life(&beat.processes, &ctx.host);
            Ok(holder_processes(&beat, life))
        }
        _ => Ok(Processes::default()),
    }
}

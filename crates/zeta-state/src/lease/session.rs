//! The session that a short call belongs to: its wrapper's processes vouch for what it takes.

use zeta_core::evidence::Processes;
use zeta_core::layout;
use zeta_core::presence::{Beat, holder_processes};
use zeta_core::record::{Text, parse};

use crate::context::Context;
use crate::directory::tree::{Node, Tree};
use zeta_os::error::Result;
use zeta_os::process;

/// The processes of the caller's session, from the record that its `zeta run` keeps; none if it has
/// no session. The parent process is never guessed at: agent tools start a fresh shell per command.
pub fn processes(ctx: &Context, tree: &Tree, node: &Node) -> Result<Processes> {
    let Some(session) = &ctx.session else { return Ok(Processes::default()) };
    let file = layout::persona_file(ctx.agent.as_str());
    let Some(bytes) = node.read(&tree.base, &file, layout::PERSONA_MAX)? else {
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

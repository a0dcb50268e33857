//! Sessions that run and that the tree knows nothing of: theirs was removed, or is another one
//! under the same path.

use std::collections::BTreeMap;

use zeta_core::layout;
use zeta_core::name::Label;
use zeta_core::record::{Text, parse};

use super::{Diagnosis, Severity};
use crate::context::Context;
use crate::directory::tree::Tree;
use zeta_os::process;

/// A session as its processes show it: `zeta run` gives its command these variables.
struct Session {
    agent: Label,
    node: Label,
    id: String,
    /// The wrapper, `zeta run`.
    wrapper: u32,
}

/// Compares the processes that this user may look into with the records of the tree.
pub(super) fn examine(ctx: &Context, tree: Option<&Tree>, diagnosis: &mut Diagnosis) {
    for session in running(ctx) {
        if tree.is_some_and(|tree| is_on_record(tree, &session)) {
            continue;
        }
        let Session { agent, node, id, wrapper } = session;
        let id = id.get(..8).unwrap_or(&id);
        let reason = format!(
            "agent {agent} runs (session {id}, zeta run is process {wrapper}) and has no record \
             on node {node}: its state directory was removed, or it has another /tmp"
        );
        let remedy = format!(
            "it is back after its next beat; if not, end it and start it again: kill {wrapper}"
        );
        diagnosis.add(Severity::Warning, "lost_session", reason, remedy);
    }
}

fn running(ctx: &Context) -> Vec<Session> {
    let line = format!("ZETA_STATE_DIR={}", ctx.state_dir.display());
    let mut sessions = BTreeMap::new();
    for listed in process::with_environment(&line) {
        let pid = listed.process.pid;
        let of = |pid| process::variable(pid, "ZETA_SESSION");
        let Some(id) = of(pid) else { continue };
        // What a session left behind when it ended is no session.
        let Some(wrapper) = process::parent(pid).filter(|up| of(*up).as_ref() != Some(&id)) else {
            continue;
        };
        if process::describe(wrapper).is_none_or(|(name, _)| name != "zeta") {
            continue;
        }
        let label = |kind, key| Label::new(kind, &process::variable(pid, key)?).ok();
        let names = (label("agent", "ZETA_AGENT"), label("node", "ZETA_NODE"));
        if let (Some(agent), Some(node)) = names {
            sessions.insert(id.clone(), Session { agent, node, id, wrapper });
        }
    }
    sessions.into_values().collect()
}

/// Returns whether the agent's record names the session. What cannot be read is reported elsewhere.
fn is_on_record(tree: &Tree, session: &Session) -> bool {
    let Ok(node) = tree.node(&session.node) else { return true };
    let Some(node) = node else { return false };
    let file = layout::persona_file(session.agent.as_str());
    match node.read(&tree.base, &file, layout::PERSONA_MAX) {
        Ok(None) => false,
        Ok(Some(bytes)) => match parse(&bytes.bytes, layout::PERSONA_MAX) {
            Ok(Text::Own(fields)) => fields.text("session").as_deref() == Some(&session.id),
            _ => true,
        },
        Err(_) => true,
    }
}

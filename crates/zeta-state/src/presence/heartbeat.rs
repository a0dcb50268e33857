//! A beat: it shows that an agent is alive, and that its node is in use.

use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{OFlags, fstat};
use rustix::io::Errno;
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_core::presence::{SPOKEN_MS, forget_session, set_beat};
use zeta_core::time::format_utc;

use crate::context::NodeHandle;
use crate::directory::guard::ENTER_LIMIT;
use crate::directory::tree::{Node, check_file, not_a_record};
use crate::directory::trusted_dir::TrustedDir;
use crate::presence::records::{RecordKey, publish, read_or_new, session_over};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::put_file;
use zeta_os::host;
use zeta_os::open_beneath::open_below;

/// Writes one beat of the node, and of the calling agent if its name was given. Returns the time
/// written.
///
/// `every_ms` is the time until the next beat; without it, the record's own value stays.
pub fn beat(handle: &NodeHandle<'_>, every_ms: Option<u64>) -> Result<i64> {
    beat_with(handle, || if handle.ctx.agent_named { beat_agent(handle, every_ms) } else { Ok(()) })
}

/// Writes the agent's beat with `own`, and then that of the node. A broken `last-seen.iso` does not
/// prevent the agent's beat, nor a broken record the node's: both are tried, and the first error is
/// returned.
pub fn beat_with(handle: &NodeHandle<'_>, own: impl FnOnce() -> Result<()>) -> Result<i64> {
    let own = own();
    let seen = touch_last_seen(handle);
    own.and(seen)
}

/// Writes `last-seen.iso`: one line of fixed width, in place, because it is advisory and frequent,
/// and because writing in place works even on a full disk.
pub fn touch_last_seen(handle: &NodeHandle<'_>) -> Result<i64> {
    let NodeHandle { tree, node, .. } = handle;
    let wall_us = host::wall_us();
    let mut line = format_utc(wall_us);
    line.push('\n');
    if write_line(&tree.base, node, line.as_bytes())? {
        return Ok(wall_us);
    }
    let mode = tree.base.sharing.file_mode();
    match put_file(node.as_fd(), layout::LAST_SEEN, line.as_bytes(), mode) {
        Ok(()) => Ok(wall_us),
        Err(Errno::EXIST) => write_line(&tree.base, node, line.as_bytes()).map(|_| wall_us),
        Err(errno) => Err(Error::io("cannot write", &last_seen(node), errno)),
    }
}

fn last_seen(node: &Node) -> PathBuf {
    node.path.join(layout::LAST_SEEN)
}

/// Writes over the line; false if the file is not there.
fn write_line(base: &TrustedDir, node: &Node, line: &[u8]) -> Result<bool> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let cannot = |errno| Error::io("cannot write", &last_seen(node), errno);
    let fd = match open_below(node.as_fd(), layout::LAST_SEEN, flags) {
        Err(Errno::NOENT) => return Ok(false),
        opened => opened.map_err(|errno| Error::open("cannot write", &last_seen(node), errno))?,
    };
    let stat = fstat(&fd).map_err(cannot)?;
    check_file(&stat, base).map_err(|reason| not_a_record(&last_seen(node), &reason))?;
    match rustix::io::pwrite(&fd, line, 0) {
        Ok(len) if len == line.len() => Ok(true),
        Ok(_) => Err(cannot(Errno::NOSPC)),
        Err(errno) => Err(cannot(errno)),
    }
}

fn beat_agent(handle: &NodeHandle<'_>, every_ms: Option<u64>) -> Result<()> {
    let NodeHandle { ctx, node, .. } = handle;
    let agent = &ctx.agent;
    let name = RecordKey::Persona(agent.clone());
    let section = handle.enter(name.file(), ENTER_LIMIT)?;
    let (exists, mut fields) = read_or_new(&section, node, &name)?;
    if fields.raw("agent").is_none() {
        fields.set_text("persona", agent.as_str());
        fields.set_text("agent", agent.as_str());
    }
    if session_over(ctx, &fields) {
        forget_session(&mut fields);
    } else if let Some(session) = fields.text("session")
        && ctx.session.as_deref() != Some(&*session)
    {
        return Err(beats_itself(agent, &session));
    }
    let every_ms = every_ms.or(fields.number("beat_every_ms")).unwrap_or(SPOKEN_MS);
    set_beat(&mut fields, host::reading(), &ctx.host, every_ms);
    publish(&section, node, &name, &fields, exists)
}

/// Makes the refusal of a beat from outside of its session: it would show a hung agent as live.
fn beats_itself(agent: &Label, session: &str) -> Error {
    let session = session.get(..8).unwrap_or(session);
    let text = format!("{agent} is run by 'zeta run' (session {session}), which beats for it");
    Error::new(Kind::Refused, text)
        .hint("a beat from outside would show it as live, whatever its state")
        .hint("to beat for another agent, give its name: zeta heartbeat --as NAME")
}

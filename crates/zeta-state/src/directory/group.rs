//! Creates the tree and the bus that a group shares, as root: complete under another name, then
//! swapped in.
//!
//! A directory that is there already is never repaired, emptied or opened up: an ACL or a
//! descriptor of its first owner would survive that. It is renamed to `<name>.refused-<random>`, so
//! that a person can examine it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{
    AtFlags, Gid, Mode, RenameFlags, Uid, fchmod, fchown, mkdirat, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::layout;
use zeta_core::name::Label;

use super::purpose::{BUS, Purpose, STATE};
use super::trusted_dir;
use crate::directory::trusted_dir::{README_TEXT, open_parent};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::put_file;
use zeta_os::open_beneath::{DIRECTORY, RECORD};
use zeta_os::users::group_id;

/// Sticky: a member cannot remove another's node directory.
pub const NODES_MODE: u32 = 0o3770;
/// Not sticky: a member must be able to take over another's lease in it.
pub const NODE_MODE: u32 = 0o2770;
const README_MODE: u32 = 0o444;
const LOCAL_NODE_MODE: u32 = 0o640;

/// The group of the systemd files, and the user that the services run as.
pub const SERVICES: &str = "zeta";

/// Creates that group and its user; returns the command that did it.
pub fn create() -> Result<String> {
    let name = SERVICES;
    let line = include_str!("../../../../units/sysusers.d/zeta.conf")
        .lines()
        .find(|line| line.starts_with("u "))
        .unwrap_or_default();
    let tries: [&[&str]; 2] =
        [&["systemd-sysusers", "--inline", line], &["groupadd", "--system", name]];
    for words in tries {
        let [program, args @ ..] = words else { continue };
        let ran = Command::new(program).args(args).output();
        if ran.is_ok_and(|out| out.status.success()) && group_id(name).is_some() {
            return Ok(words.join(" "));
        }
    }
    Err(Error::new(Kind::Fault, format!("cannot create the group {name}"))
        .hint("neither systemd-sysusers nor groupadd could create it")
        .hint(format!("create it another way, then repeat: groupadd --system {name}")))
}

/// How a new tree was put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// Nothing was there before.
    New,
    /// What was there before is at this path now.
    Swapped(PathBuf),
    /// Something is there, and the caller did not allow to replace it.
    Taken,
}

/// Builds a complete tree and puts it at `path`.
pub fn place(path: &Path, gid: u32, node: &Label, replace: bool) -> Result<Placed> {
    place_filled(path, replace, &STATE, |made| fill(made, gid, node), |made| clear(made, node))
}

/// Puts a new bus directory at `path`: members write messages into it, and remove those of others.
pub fn place_bus(path: &Path, gid: u32, replace: bool) -> Result<Placed> {
    let share = |made: &OwnedFd| {
        fchown(made, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
        fchmod(made, Mode::from_raw_mode(BUS.group_mode))
    };
    place_filled(path, replace, &BUS, share, |_| ())
}

fn place_filled(
    path: &Path,
    replace: bool,
    purpose: &Purpose,
    fill: impl FnOnce(&OwnedFd) -> std::result::Result<(), Errno>,
    clear: impl FnOnce(&OwnedFd),
) -> Result<Placed> {
    let (parent, name) = open_parent(path, geteuid().as_raw(), purpose)?;
    // After the exchange, which is one step, the old directory has this name.
    let temp = format!("{name}.refused-{}", zeta_os::host::random_hex()?);
    let cannot = |errno| Error::io("cannot create", path, errno);
    mkdirat(&parent, temp.as_str(), Mode::from_raw_mode(0o700)).map_err(cannot)?;
    let made = openat(&parent, temp.as_str(), DIRECTORY, Mode::empty()).map_err(cannot)?;
    let rename = |flags| renameat_with(&parent, temp.as_str(), &parent, name.as_str(), flags);
    let placed = trusted_dir::refuse_acl(&made, &|| path.to_owned())
        .and_then(|()| fill(&made).map_err(cannot))
        .and_then(|()| match rename(RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Placed::New),
            Err(Errno::EXIST) if !replace => Ok(Placed::Taken),
            Err(Errno::EXIST) => rename(RenameFlags::EXCHANGE)
                .map(|()| Placed::Swapped(path.with_file_name(&temp)))
                .map_err(cannot),
            Err(errno) => Err(cannot(errno)),
        });
    if !matches!(placed, Ok(Placed::New | Placed::Swapped(_))) {
        clear(&made);
        let _ = unlinkat(&parent, temp.as_str(), AtFlags::REMOVEDIR);
    }
    placed
}

/// Creates everything below an unpublished directory, which only root can enter.
fn fill(made: &OwnedFd, gid: u32, node: &Label) -> std::result::Result<(), Errno> {
    let root_only = Mode::from_raw_mode(0o700);
    mkdirat(made, layout::NODES, root_only)?;
    let nodes = openat(made, layout::NODES, DIRECTORY, Mode::empty())?;
    mkdirat(&nodes, node.as_str(), root_only)?;
    // Members cannot make it in the base, and a bridge is one.
    mkdirat(made, layout::CLUSTER, root_only)?;
    let cluster = openat(made, layout::CLUSTER, DIRECTORY, Mode::empty())?;
    let own = openat(&nodes, node.as_str(), DIRECTORY, Mode::empty())?;
    let text = format!("{node}\n");
    let files = [
        (layout::README, README_TEXT, README_MODE),
        (layout::LOCAL_NODE, text.as_str(), LOCAL_NODE_MODE),
    ];
    for (file, content, mode) in files {
        put_file(made.as_fd(), file, content.as_bytes(), Mode::from_raw_mode(mode))?;
        let fd = openat(made, file, RECORD, Mode::empty())?;
        fchown(&fd, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
    }
    // Owners first: a chown drops the set-group-id bit. The base last: its mode lets members in.
    let dirs =
        [(&own, NODE_MODE), (&nodes, NODES_MODE), (&cluster, NODE_MODE), (made, STATE.group_mode)];
    for (fd, mode) in dirs {
        fchown(fd, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
        fchmod(fd, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Removes what [`fill`] made.
fn clear(made: &OwnedFd, node: &Label) {
    let own = format!("{}/{node}", layout::NODES);
    for dir in [own.as_str(), layout::NODES, layout::CLUSTER] {
        let _ = unlinkat(made, dir, AtFlags::REMOVEDIR);
    }
    for file in [layout::README, layout::LOCAL_NODE] {
        let _ = unlinkat(made, file, AtFlags::empty());
    }
}

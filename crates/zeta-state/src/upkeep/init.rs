//! Making the tree: a private one by whoever calls, a group's by root; and saying what was found.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, fstat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::layout;
use zeta_core::name::Label;

use super::unit_files;
use crate::context::Context;
use crate::directory::anchor;
use crate::directory::anchor::Anchored;
use crate::directory::create;
use crate::directory::group;
use crate::directory::group::Placed;
use crate::directory::probe;
use crate::directory::purpose::STATE;
use crate::directory::tree::{Node, Tree, new_node_name};
use crate::directory::trusted_dir;
use crate::directory::trusted_dir::{Sharing, TrustedDir, open_inner};
use crate::upkeep::report::{Action, Report, Step};
use zeta_os::error::{Cause, Error, Kind, Result};
use zeta_os::files::put_file;
use zeta_os::users;

/// What root wants of a group's tree.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group.
    pub group: String,
    /// What stands there may be moved aside.
    pub replace: bool,
    /// Write the files of systemd.
    pub install: bool,
}

/// Makes the tree as first use does, or looks at the one that is there.
pub fn init(ctx: &Context) -> Result<Report> {
    let mut steps = Vec::new();
    let found = Tree::open(&ctx.state_dir)?;
    let did = if found.is_some() { Action::Found } else { Action::Made };
    let tree = match found {
        Some(tree) => tree,
        None => Tree::open_or_create(&ctx.state_dir)?,
    };
    let mode = match tree.base.sharing {
        Sharing::Private => "private".to_owned(),
        Sharing::Group { gid } => format!("shared by {}", users::group(gid)),
    };
    steps.push(Step::new(did, format!("{} ({mode})", ctx.state_dir.display())));
    steps.extend(readme(&tree.base)?);
    let decided = tree.read_local_node()?.is_some();
    let name = tree.local_node()?;
    let did = if decided { Action::Found } else { Action::Made };
    steps.push(Step::new(did, format!("local-node: this machine is {name}")));
    let there = tree.node(&name)?.is_some();
    let node = tree.node_or_create(&name)?;
    let did = if there { Action::Found } else { Action::Made };
    steps.push(Step::new(did, format!("{}/{name}", layout::NODES)));
    steps.extend(checks(&tree.base, &node)?);
    report(&tree.base, name, steps)
}

fn report(base: &TrustedDir, node: Label, steps: Vec<Step>) -> Result<Report> {
    let mode = if base.sharing == Sharing::Private { "private" } else { "group" };
    Ok(Report { state_dir: base.path.display().to_string(), mode, node, steps, next: Vec::new() })
}

/// Writes the operator's page if it is missing and this user may; says so otherwise.
pub fn readme(base: &TrustedDir) -> Result<Option<Step>> {
    let mode = match base.sharing {
        Sharing::Private => Mode::from_raw_mode(0o600),
        Sharing::Group { .. } => Mode::from_raw_mode(0o444),
    };
    match put_file(base.as_fd(), layout::README, trusted_dir::README_TEXT.as_bytes(), mode) {
        Ok(()) => Ok(Some(Step::new(Action::Made, layout::README))),
        Err(Errno::EXIST | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(errno) => Err(Error::io("cannot write", &base.path.join(layout::README), errno)),
    }
}

/// What `init` tries out: does flock exclude, and is this the tree that everybody sees?
pub fn checks(base: &TrustedDir, node: &Node) -> Result<Vec<Step>> {
    probe::flock_excludes(node.as_fd(), &node.path)?;
    let mut steps = vec![Step::new(Action::Checked, "flock: the second of two holders is refused")];
    let anchored = match base.sharing {
        Sharing::Private => Anchored::Absent,
        Sharing::Group { .. } => anchor::check(&base.path, base.identity, &STATE)?,
    };
    let text = match (anchored, create::private_tmp(&base.path)?) {
        (Anchored::Same, _) => "namespace: it is the directory that root made".to_owned(),
        (Anchored::Absent, Some(root)) => {
            return Err(create::private_tmp_error(&base.path, &root));
        }
        (Anchored::Absent, None) => {
            format!("namespace: no private /tmp; dev:ino {}:{}", base.identity.0, base.identity.1)
        }
    };
    steps.push(Step::new(Action::Checked, text));
    Ok(steps)
}

/// Makes the tree that a group shares, or looks at the one that is there.
pub fn init_group(ctx: &Context, ask: &GroupOptions) -> Result<Report> {
    if !geteuid().is_root() {
        return Err(Error::usage(
            "only root makes a group's tree: members could not trust one that a member made",
        )
        .hint(format!("run: sudo zeta init --group {}", ask.group))
        .hint("for a tree of your own: 'zeta init', perhaps with --state-dir DIR"));
    }
    if let Some(root) = create::private_tmp(&ctx.state_dir)? {
        return Err(create::private_tmp_error(&ctx.state_dir, &root));
    }
    let mut steps = Vec::new();
    let gid = ensure_group(ask, &mut steps)?;
    let base = ensure_base(ctx, ask, gid, &mut steps)?;
    let tree = Tree { base };
    steps.extend(readme(&tree.base)?);
    ensure_nodes(&tree.base, gid)?;
    let name = tree.local_node()?;
    steps.push(Step::new(Action::Found, format!("local-node: this machine is {name}")));
    let node = tree.node_or_create(&name)?;
    let path = anchor::write(&tree.base)?;
    steps.push(Step::new(Action::Made, format!("{} (dev, inode and boot)", path.display())));
    steps.extend(checks(&tree.base, &node)?);
    let mut report = report(&tree.base, name, steps)?;
    report.next.push(format!("gpasswd --add USER {}   # for each user who takes part", ask.group));
    install_files(ctx, ask, &mut report)?;
    Ok(report)
}

fn install_files(ctx: &Context, ask: &GroupOptions, report: &mut Report) -> Result<()> {
    let left = |text: &str| Step::new(Action::Left, format!("files of systemd: {text}"));
    if !ask.install {
        report.steps.push(left("not written, as asked"));
    } else if ctx.state_dir != Path::new(layout::DEFAULT_STATE_DIR) || ask.group != "zeta" {
        report.steps.push(left("not written: they are for group zeta and the default directory"));
    } else {
        let installed = unit_files::install(Path::new("/"), &report.node, ask.replace)?;
        report.steps.extend(installed.steps);
        report.next.extend(installed.next);
    }
    Ok(())
}

fn ensure_group(ask: &GroupOptions, steps: &mut Vec<Step>) -> Result<u32> {
    let plain = Label::new("group", &ask.group).is_ok();
    if !plain && !ask.group.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Err(Error::usage(format!("group {:?} is not a group's name", ask.group)));
    }
    if let Some(gid) = users::group_id(&ask.group) {
        if gid == 0 {
            return Err(Error::usage("the group of root is no group to share a directory with"));
        }
        steps.push(Step::new(Action::Found, format!("group {} ({gid})", ask.group)));
        return Ok(gid);
    }
    let ran = group::create(&ask.group, ask.install && ask.group == "zeta")?;
    steps.push(Step::new(Action::Ran, ran));
    users::group_id(&ask.group).ok_or_else(|| Error::usage("the new group vanished at once"))
}

/// R2: only a directory that root made whole is used; anything else is moved aside, if asked.
fn ensure_base(
    ctx: &Context,
    ask: &GroupOptions,
    gid: u32,
    steps: &mut Vec<Step>,
) -> Result<TrustedDir> {
    let path = &ctx.state_dir;
    let seen = open_ours(path, gid)?;
    let refusal = match seen {
        Seen::Ours(base) => {
            steps.push(Step::new(Action::Found, format!("{} (2750 root)", path.display())));
            return Ok(base);
        }
        Seen::Nothing => None,
        Seen::Other(refusal) => Some(refusal),
    };
    let name = node_name(ctx, path)?;
    match group::place(path, gid, &name, ask.replace)? {
        Placed::Taken => {
            let refusal =
                refusal.unwrap_or_else(|| Error::not_safe(path, "something stands there"));
            return Err(refusal
                .hint("zeta never takes over what others could have prepared; look at it first")
                .hint("--replace puts a new tree there and leaves the old one beside it"));
        }
        Placed::New => {
            steps.push(Step::new(Action::Made, format!("{} (2750 root)", path.display())))
        }
        Placed::Swapped(old) => {
            steps.push(Step::new(Action::Made, format!("{} (2750 root)", path.display())));
            let text = format!("what stood there is {} now, untouched", old.display());
            steps.push(Step::new(Action::Left, text));
        }
    }
    match open_ours(path, gid)? {
        Seen::Ours(base) => Ok(base),
        Seen::Nothing => Err(Error::not_safe(path, "it vanished as soon as it was created")),
        Seen::Other(refusal) => Err(refusal),
    }
}

enum Seen {
    Nothing,
    Ours(TrustedDir),
    /// Why the tree that stands there is not the one that was asked for.
    Other(Error),
}

fn open_ours(path: &Path, gid: u32) -> Result<Seen> {
    let Some(stat) = trusted_dir::look(path)? else { return Ok(Seen::Nothing) };
    let bits = stat.st_mode & 0o7777;
    // The old anchor is about to be rewritten, so a mismatch with it decides nothing here.
    match trusted_dir::open(path, &STATE) {
        Ok(Some(base)) if base.sharing == (Sharing::Group { gid }) => Ok(Seen::Ours(base)),
        Ok(Some(base)) => {
            let reason = match base.sharing {
                Sharing::Private => "it is a private tree of root's (mode 0700)".to_owned(),
                Sharing::Group { gid } => format!("it is shared by {}", users::group(gid)),
            };
            Ok(Seen::Other(Error::not_safe(path, reason)))
        }
        Ok(None) => Ok(Seen::Nothing),
        Err(error) => {
            // The hints are for a user of the tree; root gets others.
            let text = match error.cause {
                Cause::ForeignOwner => error.text,
                _ => {
                    let owner = users::user(stat.st_uid);
                    format!("{}; it belongs to {owner} (mode {bits:04o})", error.text)
                }
            };
            Ok(Seen::Other(Error::new(Kind::Unsafe, text)))
        }
    }
}

/// Decided once: a tree of root's own that is replaced hands its name on.
fn node_name(ctx: &Context, path: &Path) -> Result<Label> {
    if let Some(name) = &ctx.node {
        return Ok(name.clone());
    }
    let old = trusted_dir::open(path, &STATE).ok().flatten();
    match old.map(|base| Tree { base }.read_local_node()) {
        Some(Ok(Some(name))) => Ok(name),
        _ => new_node_name(),
    }
}

/// `systemd-tmpfiles` makes the base and `nodes` at boot; a tree without them is not whole.
fn ensure_nodes(base: &TrustedDir, gid: u32) -> Result<()> {
    let path = base.path.join(layout::NODES);
    let wrong = |reason: String| {
        Err(Error::not_safe(&path, reason).hint("--replace puts a new tree there, whole"))
    };
    let Some((fd, _)) = open_inner(base.as_fd(), layout::NODES, base, || path.clone())? else {
        return wrong("it is missing".to_owned());
    };
    let stat = fstat(&fd).map_err(|errno| Error::io("cannot look at", &path, errno))?;
    let bits = stat.st_mode & 0o7777;
    if bits == group::NODES_MODE && stat.st_gid == gid && stat.st_uid == 0 {
        return Ok(());
    }
    wrong(format!(
        "its mode is {bits:04o}, of {} and {}; it should be 3770 of root and the group",
        users::user(stat.st_uid),
        users::group(stat.st_gid)
    ))
}

//! Creates the tree: a private one for any caller, a group's as root; and reports what was found.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, fstat, statat};
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
use crate::directory::node_name;
use crate::directory::probe;
use crate::directory::purpose::{BUS, Purpose, STATE};
use crate::directory::tree::{Node, Tree};
use crate::directory::trusted_dir;
use crate::directory::trusted_dir::{Sharing, TrustedDir, open_inner};
use crate::upkeep::report::{Action, Report, Step};
use zeta_os::error::{Cause, Error, Kind, Result};
use zeta_os::files::put_file;
use zeta_os::users;

/// Options for a group's tree.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group.
    pub group: String,
    /// What is there may be moved aside.
    pub replace: bool,
    /// Write the systemd files.
    pub install: bool,
    /// Which ones.
    pub units: unit_files::Setting,
}

/// Creates the tree as first use does, or checks the one that is there.
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
    // Nothing is written into a directory that is a person's.
    tree.check()?;
    steps.extend(readme(&tree.base)?);
    let decided = tree.read_local_node()?.is_some();
    let name = tree.local_node(ctx.lasting_dir.as_deref())?;
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

/// Writes the operator's page if it is missing and this user may write it.
pub fn readme(base: &TrustedDir) -> Result<Option<Step>> {
    let mode = match base.sharing {
        Sharing::Private => Mode::from_raw_mode(0o600),
        Sharing::Group { .. } => Mode::from_raw_mode(0o444),
    };
    // A full disk must not fail a call that has nothing to write.
    if statat(base, layout::README, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(None);
    }
    match put_file(base.as_fd(), layout::README, trusted_dir::README_TEXT.as_bytes(), mode) {
        Ok(()) => Ok(Some(Step::new(Action::Made, layout::README))),
        Err(Errno::EXIST | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(errno) => Err(Error::io("cannot write", &base.path.join(layout::README), errno)),
    }
}

/// Checks that flock excludes, and that this is the tree that all processes see.
pub fn checks(base: &TrustedDir, node: &Node) -> Result<Vec<Step>> {
    probe::flock_excludes(node.as_fd(), &node.path)?;
    let mut steps = vec![Step::new(Action::Checked, "flock: the second of two holders is refused")];
    let anchored = match base.sharing {
        Sharing::Private => Anchored::Absent,
        Sharing::Group { .. } => anchor::check(base, &STATE)?,
    };
    let own = create::sandbox_tmp(&base.path)?;
    let text = match (anchored, create::private_tmp(&base.path)?) {
        (Anchored::Same, _) => "namespace: it is the directory that root made".to_owned(),
        (Anchored::Absent, Some(root)) => {
            return Err(create::private_tmp_error(&base.path, &root));
        }
        (Anchored::Absent, None) => match own {
            Some(point) => {
                let point = point.display();
                format!("namespace: {point} is this sandbox's own; no process outside sees it")
            }
            None => {
                let (dev, ino) = base.identity;
                format!("namespace: no private /tmp; dev:ino {dev}:{ino}")
            }
        },
    };
    steps.push(Step::new(Action::Checked, text));
    Ok(steps)
}

/// Creates the tree that a group shares, or checks the one that is there.
pub fn init_group(ctx: &Context, options: &GroupOptions) -> Result<Report> {
    if !geteuid().is_root() {
        return Err(Error::usage(
            "only root can create a group's tree: members could not trust another member's",
        )
        .hint(format!("run: sudo zeta init --group {}", options.group))
        .hint("to use your own directory: 'zeta init', perhaps with --state-dir DIR"));
    }
    if let Some(root) = create::private_tmp(&ctx.state_dir)? {
        return Err(create::private_tmp_error(&ctx.state_dir, &root));
    }
    let mut steps = Vec::new();
    let gid = ensure_group(ctx, options, &mut steps)?;
    let base = ensure_base(ctx, options, gid, &mut steps)?;
    let tree = Tree { base };
    steps.extend(readme(&tree.base)?);
    ensure_nodes(&tree.base, gid)?;
    let name = tree.local_node(ctx.lasting_dir.as_deref())?;
    steps.push(Step::new(Action::Found, format!("local-node: this machine is {name}")));
    let node = tree.node_or_create(&name)?;
    leave_anchor(&tree.base, &mut steps)?;
    steps.extend(checks(&tree.base, &node)?);
    ensure_bus(ctx, options, gid, &mut steps)?;
    let mut report = report(&tree.base, name, steps)?;
    report
        .next
        .push(format!("gpasswd --add USER {}   # for each user who takes part", options.group));
    install_files(ctx, options, &mut report)?;
    Ok(report)
}

fn leave_anchor(base: &TrustedDir, steps: &mut Vec<Step>) -> Result<()> {
    let path = anchor::write(base)?;
    steps.push(Step::new(Action::Made, format!("{} (dev, inode and boot)", path.display())));
    Ok(())
}

/// Creates the group's bus, or checks the one that is there. The default bus belongs to the default
/// tree: for another tree, the caller names another bus.
fn ensure_bus(
    ctx: &Context,
    options: &GroupOptions,
    gid: u32,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let path = &ctx.bus_dir;
    let is_default = |dir: &Path, purpose: &Purpose| dir == Path::new(purpose.default);
    if is_default(path, &BUS) && !is_default(&ctx.state_dir, &STATE) {
        let text =
            "bus: none was made for this directory; ZETA_BUS_DIR=DIR beside --group makes it";
        steps.push(Step::new(Action::Left, text));
        return Ok(());
    }
    let place = |replace| group::place_bus(path, gid, replace);
    let base = ensure_dir(path, options, gid, &BUS, steps, place)?;
    leave_anchor(&base, steps)
}

fn install_files(ctx: &Context, options: &GroupOptions, report: &mut Report) -> Result<()> {
    let left = |text: &str| Step::new(Action::Left, format!("systemd files: {text}"));
    if !options.install {
        report.steps.push(left("not written (--no-install)"));
    } else if ctx.state_dir != Path::new(layout::DEFAULT_STATE_DIR) || options.group != "zeta" {
        report.steps.push(left("not written: they are for group zeta and the default directory"));
    } else {
        let node = Some(&report.node);
        let installed = unit_files::install(Path::new("/"), &options.units, node, options.replace)?;
        report.steps.extend(installed.steps);
        report.next.extend(installed.next);
    }
    Ok(())
}

fn ensure_group(ctx: &Context, options: &GroupOptions, steps: &mut Vec<Step>) -> Result<u32> {
    let plain = Label::new("group", &options.group).is_ok();
    if !plain && !options.group.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Err(Error::usage(format!("group {:?} is not a group's name", options.group)));
    }
    if let Some(gid) = users::group_id(&options.group) {
        if gid == 0 {
            return Err(Error::usage("the group of root is no group to share a directory with"));
        }
        steps.push(Step::new(Action::Found, format!("group {} ({gid})", options.group)));
        return Ok(gid);
    }
    // A name that nobody knows may be misspelt; only the group of the systemd files is created.
    if !options.install || options.group != group::SERVICES {
        return Err(Error::new(Kind::NotFound, format!("there is no group {:?}", options.group))
            .hint(format!(
                "if that is its name, create it first: groupadd --system {}",
                options.group
            )));
    }
    refuse_taken(ctx, options)?;
    let ran = group::create()?;
    steps.push(Step::new(Action::Ran, ran));
    users::group_id(&options.group).ok_or_else(|| Error::usage("the new group vanished at once"))
}

/// Refuses before anything was created, if the tree cannot be made: what is at its path cannot be
/// that of a group that does not exist yet.
fn refuse_taken(ctx: &Context, options: &GroupOptions) -> Result<()> {
    trusted_dir::open_parent(&ctx.state_dir, 0, &STATE)?;
    match open_existing(&ctx.state_dir, None, &STATE)? {
        Existing::Refused(refusal) if !options.replace => Err(taken(refusal)),
        _ => Ok(()),
    }
}

fn taken(refusal: Error) -> Error {
    refusal
        .hint("zeta never takes over what other users could have created; examine it first")
        .hint("--replace puts a new one there and leaves the old one beside it")
}

fn ensure_base(
    ctx: &Context,
    options: &GroupOptions,
    gid: u32,
    steps: &mut Vec<Step>,
) -> Result<TrustedDir> {
    let path = &ctx.state_dir;
    ensure_dir(path, options, gid, &STATE, steps, |replace| {
        group::place(path, gid, &node_name(ctx)?, replace)
    })
}

/// Uses only a directory that root created whole (R2); moves anything else aside, if the options
/// allow it.
fn ensure_dir(
    path: &Path,
    options: &GroupOptions,
    gid: u32,
    purpose: &Purpose,
    steps: &mut Vec<Step>,
    place: impl FnOnce(bool) -> Result<Placed>,
) -> Result<TrustedDir> {
    let shown = format!("{} ({:04o} root)", path.display(), purpose.group_mode);
    let refusal = match open_existing(path, Some(gid), purpose)? {
        Existing::Usable(base) => {
            steps.push(Step::new(Action::Found, shown));
            return Ok(base);
        }
        Existing::Nothing => None,
        Existing::Refused(refusal) => Some(refusal),
    };
    match place(options.replace)? {
        Placed::Taken => {
            let refusal =
                refusal.unwrap_or_else(|| Error::not_safe(path, "something else is there"));
            return Err(taken(refusal));
        }
        Placed::New => steps.push(Step::new(Action::Made, shown)),
        Placed::Swapped(old) => {
            steps.push(Step::new(Action::Made, shown));
            let text = format!("the old one is {} now, unchanged", old.display());
            steps.push(Step::new(Action::Left, text));
        }
    }
    match open_existing(path, Some(gid), purpose)? {
        Existing::Usable(base) => Ok(base),
        Existing::Nothing => Err(Error::not_safe(path, "it vanished as soon as it was created")),
        Existing::Refused(refusal) => Err(refusal),
    }
}

/// What is at the path of a group's directory.
enum Existing {
    Nothing,
    Usable(TrustedDir),
    /// The reason why what is there cannot be the group's.
    Refused(Error),
}

/// Looks at what is there; `gid` is the group, if it exists.
fn open_existing(path: &Path, gid: Option<u32>, purpose: &Purpose) -> Result<Existing> {
    let Some(stat) = trusted_dir::stat(path)? else { return Ok(Existing::Nothing) };
    let bits = stat.st_mode & 0o7777;
    // The old anchor is about to be rewritten, so a mismatch with it does not matter here.
    match trusted_dir::open(path, purpose) {
        Ok(Some(base)) if gid.is_some_and(|gid| base.sharing == Sharing::Group { gid }) => {
            Ok(Existing::Usable(base))
        }
        Ok(Some(base)) => {
            let reason = match base.sharing {
                Sharing::Private => "it is private to root (mode 0700)".to_owned(),
                Sharing::Group { gid } => format!("it is shared by {}", users::group(gid)),
            };
            Ok(Existing::Refused(Error::not_safe(path, reason)))
        }
        Ok(None) => Ok(Existing::Nothing),
        Err(error) => {
            // The hints are for users of the tree; root gets others.
            let text = match error.cause {
                Cause::ForeignOwner => error.text,
                _ => {
                    let owner = users::user(stat.st_uid);
                    format!("{}; it belongs to {owner} (mode {bits:04o})", error.text)
                }
            };
            Ok(Existing::Refused(Error::new(Kind::Unsafe, text)))
        }
    }
}

/// The name of this machine's node: that of its tree, or the one that a new tree gets.
///
/// # Errors
/// A fault that may pass: the name is chosen once, so such a fault must not decide it.
pub fn name_of_machine(ctx: &Context) -> Result<Label> {
    let old = trusted_dir::open(&ctx.state_dir, &STATE).ok().flatten();
    match old.map(|base| Tree { base }.read_local_node()) {
        Some(Ok(Some(name))) => Ok(name),
        _ => node_name::choose(ctx.lasting_dir.as_deref()),
    }
}

/// Chooses the node's name: that of the tree that is replaced, if it has one.
fn node_name(ctx: &Context) -> Result<Label> {
    ctx.node.clone().map_or_else(|| name_of_machine(ctx), Ok)
}

/// Checks `nodes`: `systemd-tmpfiles` creates it at boot, and a tree without it is not whole.
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

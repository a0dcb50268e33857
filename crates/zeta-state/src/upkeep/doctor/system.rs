//! Examines the machine: clocks, namespaces, the kernel, and what is beside the tree.

use std::path::Path;

use rustix::fs::{CWD, Mode, openat};
use zeta_core::record::printable;
use zeta_core::time::{format_utc, parse_utc};

use super::{Diagnosis, Severity};
use crate::context::Context;
use crate::directory::create;
use crate::directory::probe;
use zeta_os::open_beneath::DIRECTORY;
use zeta_os::{host, mount};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The earliest time that the clock of a machine with this program can show.
const OLDEST: &str = "2026-01-01T00:00:00Z";
/// Most names that are read beside the state directory.
const NEIGHBOURS_MAX: usize = 4_096;

pub(super) fn examine(ctx: &Context, diagnosis: &mut Diagnosis) {
    clocks(ctx, diagnosis);
    namespaces(ctx, diagnosis);
    kernel(diagnosis);
    neighbours(&ctx.state_dir, diagnosis);
}

fn clocks(ctx: &Context, diagnosis: &mut Diagnosis) {
    let wall_us = host::reading().wall_us;
    diagnosis.fact("wall_clock", format_utc(wall_us));
    diagnosis.fact("boot_id", ctx.host.boot_id.clone());
    match &ctx.host.machine_id {
        Some(id) => diagnosis.fact("machine_id", id.clone()),
        None => diagnosis.add(
            Severity::Note,
            "machine_id",
            "/etc/machine-id is missing: a record that was copied from another machine is \
             known only by its age",
            "as root: systemd-machine-id-setup",
        ),
    }
    if parse_utc(OLDEST).is_ok_and(|oldest_us| wall_us < oldest_us) {
        diagnosis.add(
            Severity::Warning,
            "clock",
            format!("the wall clock says {}, which cannot be", format_utc(wall_us)),
            "set the clock; records of other programs are judged by it",
        );
    }
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let shifted = offsets.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.next() == Some("boottime") && fields.any(|number| number != "0")
    });
    if shifted {
        diagnosis.add(
            Severity::Note,
            "time_namespace",
            "this process has its own boot clock; other records are judged by file times",
            "nothing to do, if that is intended: unshare --time, a container",
        );
    }
    if mount::of(Path::new(BOOT_ID))
        .ok()
        .flatten()
        .is_some_and(|mount| mount.point == Path::new(BOOT_ID))
    {
        diagnosis.add(
            Severity::Warning,
            "boot_id",
            format!("something is mounted over {BOOT_ID}, so each container may show another one"),
            "share the host's boot id with all agents that share the tree",
        );
    }
}

fn namespaces(ctx: &Context, diagnosis: &mut Diagnosis) {
    if let Ok(Some(mount)) = mount::of(&ctx.state_dir) {
        diagnosis.fact("file_system", mount.fs_type.clone());
        diagnosis.fact("mount", format!("{} at {}", mount.root, mount.point.display()));
    }
    diagnosis.fact("pid_namespace", number(ctx.host.pid_ns));
    diagnosis.fact("time_namespace", number(ctx.host.time_ns));
    if let Ok(Some(root)) = create::private_tmp(&ctx.state_dir) {
        diagnosis.add_error("private_tmp", &create::private_tmp_error(&ctx.state_dir, &root));
    }
    if let Ok(Some(point)) = create::sandbox_tmp(&ctx.state_dir) {
        diagnosis.add(
            Severity::Note,
            "private_tmp",
            format!("{} is this sandbox's own: no process outside sees this tree", point.display()),
            "if agents outside take part: let the sandbox see their state directory",
        );
    }
}

fn number(ino: Option<u64>) -> String {
    ino.map_or("unknown".to_owned(), |ino| ino.to_string())
}

fn kernel(diagnosis: &mut Diagnosis) {
    let openat2 = openat(CWD, "/", DIRECTORY, Mode::empty()).is_ok_and(probe::has_openat2);
    diagnosis.fact("openat2", if openat2 { "yes" } else { "no, walked by components" });
    if !openat2 {
        diagnosis.add(
            Severity::Note,
            "openat2",
            "the kernel or a sandbox (RestrictSUIDSGID=yes) answers no; zeta walks one component \
             at a time, which is as safe and a little slower",
            "nothing to do",
        );
    }
    let limit = host::read_line("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    diagnosis.fact("inotify_instances", limit);
    if !probe::has_inotify() {
        diagnosis.add(
            Severity::Warning,
            "inotify",
            "this user's inotify instances are used up: processes that wait for leases poll",
            "as root: sysctl fs.inotify.max_user_instances=512",
        );
    }
}

/// Reports unfinished trees of killed processes, and what `init --group --replace` moved aside.
fn neighbours(path: &Path, diagnosis: &mut Diagnosis) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
    let name = name.to_string_lossy();
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten().take(NEIGHBOURS_MAX) {
        let other = entry.file_name();
        let other = other.to_string_lossy();
        let shown = printable(&other);
        if other.starts_with(&format!(".{name}.new-")) {
            diagnosis.add(
                Severity::Note,
                "unpublished",
                format!("{}/{shown} was left unfinished by a process that ended", parent.display()),
                "if it is yours and older than an hour: rm -r it",
            );
        } else if other.starts_with(&format!("{name}.refused-")) {
            diagnosis.add(
                Severity::Note,
                "refused",
                format!("{}/{shown} was moved aside by 'init --group --replace'", parent.display()),
                "find out who made it and why; zeta does not need it, and it may contain links",
            );
        }
    }
}

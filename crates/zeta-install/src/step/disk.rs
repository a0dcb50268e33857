//! The steps on disks.

use std::path::{Path, PathBuf};

use zeta_core::install::Disk;
use zeta_core::install::journal::Chosen;
use zeta_core::install::layout::{EDGE, MakeFs, Part, SECTOR, Table};
use zeta_os::disk::{Identity, block};
use zeta_os::error::{Error, Kind, Result};

use super::Context;
use crate::call::Call;
use crate::observe::{self, is_mounted};
use crate::tool::Tool;

/// The keys that a host is known by.
const HOST_KEYS: [&str; 4] = [
    "ssh_host_ed25519_key",
    "ssh_host_ed25519_key.pub",
    "ssh_host_rsa_key",
    "ssh_host_rsa_key.pub",
];

/// A disk that is used: as it was chosen, as it was seen, and its table.
type Used<'c> = (&'c Chosen, &'c Disk, &'c Table);

fn used<'c>(context: &'c Context<'_>) -> Result<Vec<Used<'c>>> {
    let pairs = context.plan.chosen.iter().zip(&context.plan.tables);
    let used = pairs.map(|(chosen, table)| {
        let gone = || Error::new(Kind::Unsafe, format!("the disk {} is not there", chosen.id));
        Ok((chosen, context.look.disk(&chosen.id).ok_or_else(gone)?, table))
    });
    used.collect()
}

fn identity(context: &Context<'_>, disk: &Disk) -> Result<Identity> {
    let unknown = || Error::new(Kind::Unsafe, format!("the kernel does not know {}", disk.path));
    context.look.identities.get(&disk.path).cloned().ok_or_else(unknown)
}

/// Keeps the keys of a node that is there, before it is wiped.
pub(super) fn choose(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    // Of one node, as its name is.
    let Some(prior) = context.plan.prior() else { return Ok(calls) };
    for name in HOST_KEYS {
        let (bytes, _) = observe::read_of_node(&prior.partition, &format!("/etc/ssh/{name}"))?;
        if !bytes.is_empty() {
            let path = context.kept().join(name);
            calls.push(Call::File { path, bytes, mode: Some(0o600) });
        }
    }
    Ok(calls)
}

/// The files that were kept, each with its name on the node and its bytes.
pub(super) fn kept(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for name in HOST_KEYS {
        let from = context.kept().join(name);
        let bytes = match zeta_os::files::read_plain(&from, 1 << 20) {
            Ok(bytes) => zeroize::Zeroizing::new(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Error::new(Kind::Unsafe, format!("{}: {error}", from.display())));
            }
        };
        let mode = if name.ends_with(".pub") { 0o644 } else { 0o600 };
        let path = context.place.on_node(&format!("etc/ssh/{name}"));
        calls.push(Call::File { path, bytes, mode: Some(mode) });
    }
    Ok(calls)
}

pub(super) fn wipe(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for (chosen, disk, table) in used(context)? {
        let identity = identity(context, disk)?;
        let parts = disk.parts.iter().map(|part| ("wipefs", "--all", &part.path));
        let whole = [("wipefs", "--all", &disk.path), ("sgdisk", "--zap-all", &disk.path)];
        for (program, option, path) in parts.chain(whole) {
            calls.push(Call::Same { path: path.clone(), identity: identity.clone() });
            calls.push(Call::Tool(Tool::new(program, &[option, path])));
        }
        // What an older file system left where a new partition begins or ends would come back.
        let edge = |part: &Part| {
            [(part.start, part.start + EDGE), (part.end.saturating_sub(EDGE), part.end)]
        };
        let ends = [(0, EDGE / 4), (chosen.id.size.saturating_sub(EDGE / 4), chosen.id.size)];
        let ranges = ends.into_iter().chain(table.parts.iter().flat_map(edge)).collect();
        calls.push(Call::Zero { path: disk.path.clone(), identity, ranges });
        calls.push(Call::Tool(Tool::new("partprobe", &[&disk.path])));
    }
    Ok(calls)
}

pub(super) fn partition(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for (_, disk, table) in used(context)? {
        if !table.is_on(disk) {
            let identity = identity(context, disk)?;
            calls.push(Call::Same { path: disk.path.clone(), identity });
            calls.push(Call::Tool(sgdisk(disk, table)));
        }
        calls.push(Call::Tool(Tool::new("partprobe", &[&disk.path])));
        let paths = table.parts.iter().map(|part| partition_of(&disk.path, part.number)).collect();
        calls.push(Call::Appear(paths));
    }
    Ok(calls)
}

fn sgdisk(disk: &Disk, table: &Table) -> Tool {
    let block = block::of_path(Path::new(&disk.path));
    let known = block.and_then(|block| block.text("queue/logical_block_size")?.parse().ok());
    let sector: u64 = known.unwrap_or(SECTOR);
    let mut args = vec![
        "--clear".to_owned(),
        "--set-alignment=1".to_owned(),
        format!("--disk-guid={}", table.guid),
    ];
    for Part { number, guid, kind, start, end, label, .. } in &table.parts {
        let last = (end / sector).saturating_sub(1);
        args.push(format!("--new={number}:{}:{last}", start / sector));
        args.push(format!("--partition-guid={number}:{guid}"));
        args.push(format!("--typecode={number}:{kind}"));
        args.push(format!("--change-name={number}:{label}"));
    }
    args.push(disk.path.clone());
    Tool::new("sgdisk", &[]).and(args)
}

/// The path of a partition: after a digit the kernel puts a p.
fn partition_of(disk: &str, number: u32) -> String {
    let ends_in_digit = disk.ends_with(|c: char| c.is_ascii_digit());
    format!("{disk}{}{number}", if ends_in_digit { "p" } else { "" })
}

/// The path of a partition of the table: as it was seen, or as it will be.
fn path_of(disk: &Disk, table: &Table, part: &Part) -> String {
    let seen = disk.parts.iter().find(|seen| table.part_of(seen) == Some(part));
    seen.map_or_else(|| partition_of(&disk.path, part.number), |seen| seen.path.clone())
}

pub(super) fn format(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for (_, disk, table) in used(context)? {
        for part in &table.parts {
            let path = path_of(disk, table, part);
            calls.push(Call::Same { path: path.clone(), identity: identity(context, disk)? });
            calls.push(make(part, path));
        }
    }
    Ok(calls)
}

fn make(part: &Part, path: String) -> Call {
    let Part { fs_id, label, .. } = part;
    let (make, check) = match part.fs {
        MakeFs::Vfat => {
            let id = fs_id.replace('-', "");
            let make = Tool::new("mkfs.vfat", &["-F", "32", "-n", label, "-i", &id, &path]);
            (make, Tool::new("fsck.vfat", &["-n", &path]))
        }
        MakeFs::Ext4 => {
            let make = Tool::new("mkfs.ext4", &["-F", "-q", "-L", label, "-U", fs_id, &path]);
            (make, Tool::new("e2fsck", &["-n", "-f", &path]))
        }
        MakeFs::Btrfs => {
            let make = Tool::new("mkfs.btrfs", &["-f", "-q", "-L", label, "-U", fs_id, &path]);
            (make, Tool::new("btrfs", &["check", "--readonly", &path]))
        }
    };
    Call::Make { path, content: part.content(), make: make.long(), check: check.long() }
}

/// Where each file system of the node has to be mounted, the root first: the device, its kind and
/// the directory.
pub(super) fn wanted_mounts(context: &Context<'_>) -> Result<Vec<(String, &'static str, PathBuf)>> {
    let mut mounts = Vec::new();
    for (_, disk, table) in used(context)? {
        for part in &table.parts {
            let dir = match part.mount.as_str() {
                "" => context.place.root.clone(),
                below => context.place.on_node(below),
            };
            mounts.push((path_of(disk, table, part), part.fs.word(), dir));
        }
    }
    mounts.sort_by(|one, other| one.2.cmp(&other.2));
    Ok(mounts)
}

pub(super) fn mounts(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for (device, kind, dir) in wanted_mounts(context)? {
        if is_mounted(&device, &dir)? {
            continue;
        }
        let dir = dir.display().to_string();
        calls.push(Call::Tool(Tool::new("mkdir", &["-p", &dir])));
        calls.push(Call::Tool(Tool::new("mount", &["-t", kind, &device, &dir])));
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_a_p_after_a_digit() {
        for (disk, path) in [
            ("/dev/sda", "/dev/sda2"),
            ("/dev/nvme0n1", "/dev/nvme0n1p2"),
            ("/dev/mmcblk0", "/dev/mmcblk0p2"),
            ("/dev/vdb", "/dev/vdb2"),
        ] {
            assert_eq!(partition_of(disk, 2), path);
        }
    }
}

//! The disks, and what is on them. Nothing here changes a byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use zeta_core::disk::{Device, Limits};
use zeta_core::install::layout::SECTOR;
use zeta_core::install::next::PROTECTION;
use zeta_core::install::seen::{PartSeen, Prior};
use zeta_core::install::{Disk, DiskId, Seen};
use zeta_os::disk::{Identity, Snapshot, block, content};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::mount;

use crate::tool::Tool;

/// The name of the file system of an installed node.
const ROOT_LABEL: &str = "nixos";
/// `blkid` found nothing.
const NOTHING: i32 = 2;
/// No file of a node that is kept is longer, in bytes.
const NODE_FILE_MAX: usize = 64 << 10;
/// `blkid` found several things, of which each could be it.
const SEVERAL: i32 = 8;

/// What was observed, and what tells the disks at this moment from those at another one.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// What the plan has to know.
    pub seen: Seen,
    /// Each disk, as the kernel knows it, by its path.
    pub identities: BTreeMap<String, Identity>,
}

impl Look {
    /// A disk.
    pub fn disk(&self, id: &DiskId) -> Option<&Disk> {
        self.seen.disks.iter().find(|disk| disk.id == *id)
    }
}

/// Looks at all disks. `used` are those of the journal, which are looked into even if they are in
/// use.
///
/// # Errors
/// The disks cannot be listed, or not be looked into.
pub fn look(used: &[DiskId]) -> Result<Look> {
    let snapshot = Snapshot::take()?;
    let limits = Limits { min: 1, max: u64::MAX, allow_internal: true };
    let mut look = Look::default();
    for device in &snapshot.listing.blockdevices {
        let path = device.path();
        let block = block::of_path(Path::new(&path));
        let identity = block.as_ref().and_then(Identity::of);
        let mut reasons: Vec<String> =
            snapshot.judge(device, &limits).iter().map(ToString::to_string).collect();
        reasons.dedup();
        let id = id_of(device, identity.as_ref());
        let mut disk = Disk {
            path: path.clone(),
            is_usb: device.tran.eq_ignore_ascii_case("usb"),
            id,
            reasons,
            ..Disk::default()
        };
        if disk.reasons.is_empty() || used.contains(&disk.id) {
            let is_used = used.contains(&disk.id);
            // To blkid, a disk that it may not read is as a blank one.
            match File::open(&disk.path).map(|_| look_into(&mut disk, device)) {
                Ok(Ok(_)) if is_used => {}
                Ok(Ok(has_table)) => disk.reasons.extend(doubts(&disk, device, has_table)),
                // What is not known about another disk counts only against that one.
                Ok(Err(error)) if !is_used => disk.reasons.push(error.text),
                Ok(Err(error)) => return Err(error),
                Err(error) => disk.reasons.push(format!("it cannot be read: {error}")),
            }
        }
        look.identities.extend(identity.map(|identity| (path, identity)));
        look.seen.disks.push(disk);
    }
    Ok(look)
}

/// What is against a disk, by what is on it.
fn doubts(disk: &Disk, device: &Device, has_table: bool) -> Vec<String> {
    let known = Snapshot::doubts(device).into_iter().map(|reason| reason.to_string());
    let path = &disk.path;
    let unread = format!("the kernel did not read its table of partitions: partprobe {path}");
    let is_unread = has_table && is_unread(disk).unwrap_or(true);
    // The copy of a table at the end is none to blkid; what was there may still be whole.
    let traces = match disk.content.is_empty() {
        true => content::of(std::slice::from_ref(path)),
        false => Vec::new(),
    };
    let traces: Vec<String> = traces.into_iter().flatten().flatten().collect();
    let traces = (!traces.is_empty()).then(|| {
        format!("blkid finds nothing on it, and wipefs finds this: {}", traces.join(", "))
    });
    known.chain(is_unread.then_some(unread)).chain(traces).collect()
}

/// Returns whether the table of a disk has a partition that the kernel does not show. It could have
/// a node, or be a part of something larger.
fn is_unread(disk: &Disk) -> Result<bool> {
    let args = ["--raw", "--noheadings", "--output", "START", &disk.path];
    let said = Tool::new("partx", &args).run()?.text();
    let is_shown = |sector: u64| disk.parts.iter().any(|part| part.start == sector * SECTOR);
    let mut starts = said.split_whitespace().map(str::parse);
    Ok(!starts.all(|start| start.is_ok_and(is_shown)))
}

fn id_of(device: &Device, identity: Option<&Identity>) -> DiskId {
    let text = |text: &str| text.trim().to_owned();
    // Without udev, lsblk may not know it. A loop device has its file there, which is no number.
    let known = identity.filter(|known| !known.serial.starts_with("loop:"));
    let known = known.map_or("", |known| known.serial.as_str());
    let serial = Some(text(&device.serial)).filter(|serial| !serial.is_empty());
    let serial = serial.unwrap_or_else(|| text(known));
    let size = device.size.or(identity.map(|known| known.size)).unwrap_or(0);
    DiskId { wwn: text(&device.wwn), serial, model: text(&device.model), size }
}

/// Looks at what is on a disk; returns whether it has a table of partitions.
fn look_into(disk: &mut Disk, device: &Device) -> Result<bool> {
    let whole = probe(&disk.path)?;
    disk.content = content_of_disk(&whole);
    // The kernel may remember partitions of a table that was wiped.
    let has_table = whole.get("PTTYPE").is_some_and(|table| table != "PMBR");
    let parts = device.children.iter().filter(|child| has_table && child.kind == "part");
    for part in parts {
        let path = part.path();
        let values = probe(&path)?;
        let value = |key: &str| values.get(key).cloned().unwrap_or_default();
        let number = |name: &str| {
            let block = block::of_path(Path::new(&path))?;
            block.text(name)?.parse::<u64>().ok()?.checked_mul(512)
        };
        let start = number("start").unwrap_or(0);
        let content = signature(&values);
        if value("LABEL") == ROOT_LABEL && disk.prior.is_none() {
            disk.prior = Some(prior(&path)?);
        }
        disk.parts.push(PartSeen {
            guid: value("PART_ENTRY_UUID").to_ascii_lowercase(),
            start,
            end: start.saturating_add(number("size").unwrap_or(0)),
            content,
            path,
        });
    }
    disk.parts.sort_by_key(|part| part.start);
    Ok(has_table)
}

/// What `blkid` finds on a device, read past its own memory of earlier calls.
fn probe(path: &str) -> Result<BTreeMap<String, String>> {
    let tool = Tool::new("blkid", &["--probe", "--output", "export", path]);
    let said = tool.accepting(&[NOTHING, SEVERAL]).run()?;
    let text = said.text();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut values: BTreeMap<String, String> =
        lines.map(|(key, value)| (key.to_owned(), value.replace('\\', ""))).collect();
    if said.status == SEVERAL {
        values.insert("TYPE".to_owned(), "several".to_owned());
    }
    Ok(values)
}

/// What is on a device: nothing, or a file system and its identity.
fn signature(values: &BTreeMap<String, String>) -> String {
    let value = |key: &str| values.get(key).map_or("", String::as_str);
    match (value("TYPE"), value("PTTYPE")) {
        ("", "") => String::new(),
        ("", table) => format!("{}:{}", table, value("PTUUID").to_ascii_lowercase()),
        (kind, _) => format!("{kind}:{}", value("UUID")),
    }
}

fn content_of_disk(values: &BTreeMap<String, String>) -> String {
    let value = |key: &str| values.get(key).map_or("", String::as_str);
    match (value("PTTYPE"), value("TYPE")) {
        ("PMBR", "") => PROTECTION.to_owned(),
        (table, "") if !table.is_empty() => {
            format!("{table}:{}", value("PTUUID").to_ascii_lowercase())
        }
        ("", _) => signature(values),
        // A table and a file system: an image that starts from a disk and from a stick.
        (table, kind) => format!("{table}+{kind}:{}{}", value("PTUUID"), value("UUID")),
    }
}

/// The content of one device, as [`look`] says it.
///
/// # Errors
/// It cannot be looked into.
pub fn content_of(path: &str) -> Result<String> {
    Ok(signature(&probe(path)?))
}

/// The node that is installed on a file system, which is read without being mounted.
fn prior(path: &str) -> Result<Prior> {
    let cat = |file: &str| -> Result<String> { Ok(read_of_node(path, file)?.1) };
    let node = cat("/etc/zeta/cluster-node-id")?.trim().to_owned();
    let is_name = zeta_core::name::Label::new("node", &node).is_ok();
    Ok(Prior {
        node: is_name.then_some(node),
        keys: cat("/etc/zeta/operator-authorized-keys")?,
        partition: path.to_owned(),
    })
}

/// Reads a file of a file system that is not mounted: its bytes, and the same as text. A file that
/// is not there is empty.
///
/// # Errors
/// The tool does not run, or the file is too long.
pub fn read_of_node(path: &str, file: &str) -> Result<(zeroize::Zeroizing<Vec<u8>>, String)> {
    // It opens the device read-only, and replays no journal. What it cannot open has no such file.
    let said = Tool::new("debugfs", &["-R", &format!("cat {file}"), path]).accepting(&[1]).run()?;
    if said.out.len() > NODE_FILE_MAX {
        let text = format!("the node on {path} cannot be kept: {file} has more than 64 KiB");
        return Err(Error::new(Kind::Unsafe, text));
    }
    let text = String::from_utf8_lossy(&said.out).into_owned();
    Ok((said.out, text))
}

/// Returns whether a device is what is mounted at a directory.
///
/// # Errors
/// The mounts cannot be read.
pub fn is_mounted(device: &str, dir: &Path) -> Result<bool> {
    let mounts = mount::all()?;
    let Some(top) = mounts.iter().rev().find(|mount| mount.point == dir) else { return Ok(false) };
    let number = block::of_path(Path::new(device)).and_then(|block| block.number());
    // Of btrfs and of FUSE only the source says it.
    Ok(number == Some(top.number) || top.source == device)
}

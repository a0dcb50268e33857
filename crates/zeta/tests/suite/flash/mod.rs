//! `zeta flash`: images on files, on loop devices and in a virtual machine.
//!
//! No disk of the machine is written: a test makes the file that it writes to, and only the loop
//! device of that file is named.

mod disk;
mod doubt;
mod failure;
mod file;
mod provenance;
mod refuse;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Out, Sandbox, find, is_root, run, skip, wait_for};

/// Where the EFI partition of the images begins, as in the images of NixOS.
pub const ESP: u64 = 276 * 512;
/// Its length, in sectors.
const ESP_SECTORS: u32 = 6144;
/// Where the id of its volume is in an image.
pub const ID: usize = ESP as usize + 39;

/// An image that starts from a disk and from a stick, with a FAT12 volume and random bytes.
pub fn image(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut image: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
    image[..512].fill(0);
    image[446] = 0x80;
    image[450] = 0xef;
    image[454..458].copy_from_slice(&276_u32.to_le_bytes());
    image[458..462].copy_from_slice(&ESP_SECTORS.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    let volume = volume();
    image[ESP as usize..ESP as usize + volume.len()].copy_from_slice(&volume);
    image
}

/// An empty volume with the id that all images of NixOS have.
fn volume() -> Vec<u8> {
    let mut volume = vec![0; ESP_SECTORS as usize * 512];
    let mut set = |at: usize, bytes: &[u8]| volume[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"\xeb\x3c\x90MTOO4039\0\x02\x04\x01\0\x02\0\x02\0\x18\xf8\x05\0\x20\0\x02\0");
    set(38, b"\x29\x78\x56\x34\x12EFIBOOT    FAT12   ");
    set(510, b"\x55\xaa");
    for table in [512, 512 + 5 * 512] {
        set(table, b"\xf8\xff\xff");
    }
    volume
}

/// Writes an image to a file of the sandbox.
pub fn image_file(sandbox: &Sandbox, len: usize) -> PathBuf {
    let path = sandbox.dir.join("a.iso");
    std::fs::write(&path, image(len)).unwrap();
    path
}

/// Reports whether bytes begin with an image, but for the id of its volume.
pub fn begins_with(bytes: &[u8], image: &[u8]) -> bool {
    let end = ID + 4;
    bytes.len() >= image.len()
        && bytes[..ID] == image[..ID]
        && bytes[end..image.len()] == image[end..]
}

/// The digest of a file.
pub fn hash(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that the program mtools reads from the EFI partition.
pub fn read_from(disk: &Path, name: &str) -> Vec<u8> {
    let place = format!("{}@@{ESP}", disk.display());
    let read = Command::new("mtype").args(["-i", &place, &format!("::{name}")]).output().unwrap();
    assert!(read.status.success(), "{name}: {}", String::from_utf8_lossy(&read.stderr));
    read.stdout
}

/// Reports whether mtools is here; a test that needs it says so if not.
pub fn has_mtools(test: &str) -> bool {
    let is_here = find("mtype").is_some();
    if !is_here {
        skip(test, "mtools is not here, so nothing else reads the partition");
    }
    is_here
}

/// A file that the kernel shows as a disk.
pub struct Loop {
    pub device: PathBuf,
    pub file: PathBuf,
}

impl Loop {
    /// Attaches a file; `None` where that is not allowed.
    pub fn attach(file: &Path, flags: &[&str]) -> Option<Loop> {
        // Another test may take the free number in between.
        for _ in 0..20 {
            let mut attach = Command::new("losetup");
            let done = attach.args(["--find", "--show"]).args(flags).arg(file).output().ok()?;
            if done.status.success() {
                let device = String::from_utf8(done.stdout).unwrap().trim().into();
                return Some(Loop { device, file: file.to_owned() });
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        None
    }

    /// Its name for `--disk`.
    pub fn name(&self) -> String {
        format!("loop:{}", self.file.display())
    }

    /// Detaches the device, and returns when it is gone: a test that lists the disks at the same
    /// time may have it open for a moment, and until that is over it would be listed beside the
    /// next device of the same file.
    pub fn detach(&self) {
        self.detach_when_closed();
        let gone = || !self.is_attached();
        // Where a test has failed already, a second panic would hide the first one.
        if !std::thread::panicking() {
            wait_for("the end of a loop device", gone);
        }
    }

    /// Detaches the device as soon as no program has it open.
    pub fn detach_when_closed(&self) {
        if self.is_attached() {
            let _ = Command::new("losetup").arg("--detach").arg(&self.device).output();
        }
    }

    /// Returns whether the number of the device still belongs to its file.
    fn is_attached(&self) -> bool {
        let name = self.device.file_name().unwrap().to_str().unwrap();
        let shown = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file"));
        let shown = shown.unwrap_or_default();
        Path::new(shown.trim_end().trim_end_matches(" (deleted)")) == self.file
    }

    /// Gives the device the length that its file has now.
    pub fn resize(&self) {
        let _ = Command::new("losetup").arg("--set-capacity").arg(&self.device).output();
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.detach();
    }
}

/// A new file of old bytes, as a loop device; `None` where a test cannot have one, which it says.
pub fn disk(test: &str, sandbox: &Sandbox, name: &str, len: usize) -> Option<Loop> {
    if !is_root() {
        skip(test, "only root has loop devices");
        return None;
    }
    let file = sandbox.dir.join(name);
    std::fs::write(&file, vec![0xee; len]).unwrap();
    let attached = Loop::attach(&file, &[]);
    if attached.is_none() {
        skip(test, "this machine has no free loop device");
    }
    attached
}

/// The beginning of a disk with LUKS on it.
pub fn luks() -> Vec<u8> {
    let mut header = vec![0; 4096];
    let mut set = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"LUKS\xba\xbe\0\x02");
    set(8, &16384_u64.to_be_bytes());
    set(72, b"sha256");
    set(168, b"11111111-2222-4333-8444-555555555555");
    header
}

/// The arguments that name a loop device as the target.
pub fn target(name: &str) -> [String; 4] {
    ["--disk", name, "--allow-internal", name].map(str::to_owned)
}

/// Makes a plan, and returns the arguments that consent to it.
pub fn consent(sandbox: &Sandbox, args: &[String]) -> Vec<String> {
    let path = sandbox.dir.join(format!("plan-{}.json", fastrand::u64(..)));
    let path = path.to_str().unwrap().to_owned();
    let plan = || run(sandbox.cmd(&["--json", "flash", "plan", "--save", &path]).args(args));
    // What other tests attach and detach while the disks are listed makes a listing doubtful.
    let mut out = plan();
    for _ in 0..10 {
        if ![3, 7].contains(&out.status) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        out = plan();
    }
    assert_eq!(out.status, 0, "{out:?}");
    let answer: Value = serde_json::from_str(&out.out).unwrap();
    let hash = answer["plan_hash"].as_str().unwrap().to_owned();
    ["--plan".to_owned(), path, "--plan-hash".to_owned(), hash].into()
}

/// Runs `zeta flash write` with an image.
pub fn write(sandbox: &Sandbox, image: &Path, args: &[String]) -> Out {
    let mut call = sandbox.cmd(&["--json", "flash", "write", "--image", image.to_str().unwrap()]);
    run(call.args(args))
}

/// The first bytes of a file.
pub fn head(path: &Path, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut file = std::fs::File::open(path).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    bytes
}

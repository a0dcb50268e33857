//! Disks for the tests: loop devices that a stand-in of `lsblk` lists as disks with serial numbers.
//! All other tools on disks are the real ones.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use zeta_core::fat;
use zeta_core::stick::manifest::{Image, Listed, MANIFEST_FILE, Manifest, SCHEMA, digest};

use crate::support::{Out, TempDir, is_root, run, run_within, skip};

/// The tools that the tests need, besides those of every Debian.
const TOOLS: [&str; 9] = [
    "sgdisk",
    "mkfs.vfat",
    "mkfs.ext4",
    "partprobe",
    "wipefs",
    "losetup",
    "debugfs",
    "mkpasswd",
    "curl",
];
const PROGRAMS: [(&str, &str); 4] = [
    ("lsblk", include_str!("lsblk.py")),
    ("mount", include_str!("mount.sh")),
    ("nixos-generate-config", include_str!("nixos.sh")),
    ("nixos-install", include_str!("nixos.sh")),
];
/// The tools before and after which a caller may be killed.
const KILLING: [&str; 7] =
    ["wipefs", "sgdisk", "partprobe", "mkfs.vfat", "mkfs.ext4", "mkpasswd", "git"];
pub const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1111111111111111111111111111111111111111111 op\n";

pub struct Rig {
    pub dir: TempDir,
    /// The loop devices, open: they are gone with this process, also if it is killed.
    open: Vec<File>,
    /// Each disk: its loop device, its serial number and its file.
    pub disks: Vec<(String, String, PathBuf)>,
    /// The stick that the calls are given.
    pub stick: Option<PathBuf>,
}

fn there(program: &str) -> bool {
    let dirs = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    dirs.iter().any(|dir| Path::new(dir).join(program).exists())
}

fn has_vfat() -> bool {
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    systems.lines().any(|line| line.trim() == "vfat")
}

/// Returns whether disks can be made here; says so if not.
pub fn can_run(test: &str) -> bool {
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !there(tool)).collect();
    let why = match () {
        () if !is_root() => "loop devices and mounts need root".to_owned(),
        () if !Path::new("/dev/loop-control").exists() => "no loop devices here".to_owned(),
        () if !missing.is_empty() => format!("these tools are missing: {}", missing.join(", ")),
        () if !has_vfat() && !there("fusefat") => "FAT cannot be mounted here".to_owned(),
        () => {
            if !has_vfat() {
                eprintln!("{test}: the kernel has no vfat, so FAT is mounted by FUSE");
            }
            if !there("nixos-install") {
                eprintln!(
                    "{test}: no NixOS here, so nixos-generate-config and nixos-install are \
                     programs that note their calls and leave what the real ones leave"
                );
            }
            return true;
        }
    };
    skip(test, &why);
    false
}

fn quiet(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

impl Rig {
    /// A rig with disks of these lengths, in MiB, named D0, D1, and so on.
    pub fn new(lens: &[u64]) -> Rig {
        let dir = TempDir::new("inst", 0o700);
        for name in ["bin", "live/etc", "root", "stick"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        for (name, text) in PROGRAMS {
            program(&dir.join("bin").join(name), text);
        }
        for name in KILLING {
            program(&dir.join("bin").join(name), include_str!("tool.sh"));
        }
        let mut rig = Rig { dir, open: Vec::new(), disks: Vec::new(), stick: None };
        for (at, len) in lens.iter().enumerate() {
            let file = rig.dir.join(format!("disk{at}.img"));
            File::create(&file).unwrap().set_len(len << 20).unwrap();
            let device = quiet("losetup", &["--find", "--show", file.to_str().unwrap()]);
            rig.open.push(File::open(&device).unwrap());
            // It waits until nobody has it open any more.
            quiet("losetup", &["--detach", &device]);
            rig.disks.push((device, format!("D{at}"), file));
        }
        let lines = rig.disks.iter().map(|(device, serial, _)| format!("{device} {serial}\n"));
        fs::write(rig.dir.join("rig"), lines.collect::<String>()).unwrap();
        let source = rig.dir.join("source");
        quiet("git", &["init", "--quiet", source.to_str().unwrap()]);
        fs::write(source.join("flake.nix"), "{ }\n").unwrap();
        let git = ["-C", source.to_str().unwrap(), "-c", "user.name=a", "-c", "user.email=a@b.c"];
        quiet("git", &[&git[..], &["add", "flake.nix"]].concat());
        quiet("git", &[&git[..], &["commit", "--quiet", "--message", "A node"]].concat());
        rig
    }

    /// Writes the manifest, with `more` lines at its end.
    pub fn manifest(&self, cache: &str, more: &str) {
        let source = self.dir.join("source");
        let text = format!(
            "schema = 1\n[ace]\nsource = \"{}\"\n[ace.disks]\nboot = \"D0\"\ndata = \"none\"\n\
             wipe_strategy = \"full\"\n[ace.partitions.boot]\nesp = \"64M\"\nroot = \"96M\"\n\
             [ace.initial_password]\nsource = \"generate\"\n[ace.nixos_install]\n\
             flake = \"worker\"\ncache = \"{cache}\"\n{more}",
            source.display()
        );
        fs::write(self.dir.join("node.toml"), text).unwrap();
    }

    /// The bytes of the stick's files, in a directory, with their list.
    pub fn stick(&self, files: &[(&str, &[u8])]) -> Manifest {
        let listed = files.iter().map(|(name, bytes)| Listed::of(name, bytes, false)).collect();
        let image = Image { bytes: 1 << 20, sha256: digest(b"image") };
        let volume_id = Some("4F2A-91C7".to_owned());
        let manifest = Manifest { schema: SCHEMA, image, volume_id, files: listed };
        for (name, bytes) in files {
            fs::write(self.dir.join("stick").join(name), bytes).unwrap();
        }
        fs::write(self.dir.join("stick").join(MANIFEST_FILE), manifest.text()).unwrap();
        manifest
    }

    /// A stick as it comes from a writer: a table of partitions, and a FAT volume with the files.
    pub fn stick_image(&mut self, files: &[(&str, &[u8])]) {
        let list = self.stick(files).text();
        let volume = self.dir.join("volume");
        quiet("mkfs.vfat", &["-F", "12", "-C", volume.to_str().unwrap(), "3072"]);
        let mut bytes = fs::read(&volume).unwrap();
        let all = files.iter().map(|(name, content)| fat::File { name, content });
        let list = fat::File { name: MANIFEST_FILE, content: list.as_bytes() };
        fat::add(&mut bytes, &all.chain([list]).collect::<Vec<_>>()).unwrap();
        let mut head = [0u8; 512];
        head[446 + 4] = 0xef;
        head[446 + 8..446 + 12].copy_from_slice(&8u32.to_le_bytes());
        head[446 + 12..446 + 16].copy_from_slice(&6144u32.to_le_bytes());
        (head[510], head[511]) = (0x55, 0xaa);
        let image = self.dir.join("stick.img");
        let file = File::create(&image).unwrap();
        file.write_all_at(&head, 0).unwrap();
        file.write_all_at(&bytes, 8 * 512).unwrap();
        self.stick = Some(image);
    }

    fn clean(&self, command: &mut Command) {
        let (bin, path) = (self.dir.join("bin"), std::env::var("PATH").unwrap());
        command.env("RIG", self.dir.join("rig")).env("LIVE", self.dir.join("live"));
        command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display())).env("BIN", &bin);
        command.env("HOME", &*self.dir).stdin(Stdio::null());
    }

    /// A call in namespaces of its own, which are gone after it as after a restart: its mounts, and
    /// all of its processes. A session of its own has no terminal that could be asked.
    pub fn command(&self, verb: &str, args: &[&str]) -> Command {
        self.within(&["--pid", "--fork", "--kill-child", "--mount-proc"], &[], verb, args)
    }

    /// As [`Rig::command`]; what the call starts goes on when it is killed.
    pub fn plain(&self, verb: &str, args: &[&str]) -> Command {
        self.within(&[], &[], verb, args)
    }

    /// As [`Rig::command`], by way of another program.
    pub fn by(&self, program: &[&str], verb: &str, args: &[&str]) -> Command {
        self.within(&["--pid", "--fork", "--kill-child", "--mount-proc"], program, verb, args)
    }

    fn within(&self, spaces: &[&str], by: &[&str], verb: &str, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).args(spaces);
        // The first process of a namespace cannot be killed from inside, so it is a shell.
        command.args(["setsid", "--wait", "sh", "-c", "\"$@\"; exit $?", "sh"]).args(by);
        command.arg(env!("CARGO_BIN_EXE_zeta")).args(["install", verb]);
        let path = |name: &str| self.dir.join(name).display().to_string();
        command.args(["--manifest", &path("node.toml"), "--state", &path("state")]);
        if verb != "status" {
            command.args(["--live", &path("live")]);
        }
        if verb != "status" && !args.contains(&"--root") {
            command.args(["--root", &path("root")]);
        }
        if let Some(stick) = &self.stick {
            command.arg("--stick").arg(stick);
        }
        self.clean(command.args(args));
        command
    }

    /// As [`Rig::command`], after a script in the same namespaces, in the directory of the rig.
    pub fn after(&self, script: &str, verb: &str, args: &[&str]) -> Command {
        let script = format!("{script}\n\"$@\"");
        let mut command = self.by(&["sh", "-euc", &script, "sh"], verb, args);
        command.env("D", &self.disks[0].0).current_dir(&*self.dir);
        command
    }

    pub fn call(&self, verb: &str, args: &[&str]) -> Out {
        long(&mut self.command(verb, args))
    }

    /// A script in namespaces of its own, where the node's file systems can be mounted.
    pub fn script(&self, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["--uts", "--mount-proc", "sh", "-euc", script]);
        self.clean(command.env("D", &self.disks[0].0).current_dir(self.dir.join("root")));
        command
    }

    /// What such a script prints, which succeeds.
    pub fn mounted(&self, script: &str) -> String {
        let out = long(&mut self.script(script));
        assert_eq!(out.status, 0, "{script}: {out:?}");
        out.out
    }

    /// The digest of a disk.
    pub fn hash(&self, at: usize) -> String {
        let mut file = File::open(&self.disks[at].2).unwrap();
        let mut hash = Sha256::new();
        let mut part = vec![0; 1 << 20];
        loop {
            match file.read(&mut part).unwrap() {
                0 => return format!("{:x}", hash.finalize()),
                len => hash.update(&part[..len]),
            }
        }
    }

    /// Puts bytes on a disk that no run may change.
    pub fn fill(&self, at: usize) {
        let mut file = File::options().write(true).open(&self.disks[at].2).unwrap();
        let mut random = fastrand::Rng::with_seed(18);
        let bytes: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
        file.write_all(&bytes).unwrap();
    }

    pub fn journal(&self) -> String {
        fs::read_to_string(self.dir.join("state/journal")).unwrap_or_default()
    }

    /// What `blkid` says of a device, as `KEY=VALUE` lines.
    pub fn blkid(&self, device: &str) -> String {
        let mut command = Command::new("blkid");
        let out = run(command.args(["--probe", "--output", "export", device]));
        out.out
    }

    /// Lets the kernel forget all partitions, as after a restart, and read the table again.
    pub fn restart(&self) {
        for (device, _, _) in &self.disks {
            let _ = run(Command::new("partprobe").arg(device));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for (device, _, _) in &self.disks {
            let _ = Command::new("partx").args(["--delete", device]).output();
        }
    }
}

/// Runs a whole installation, for which a busy machine needs time.
pub fn long(command: &mut Command) -> Out {
    run_within(command, Duration::from_secs(300))
}

pub fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A cache of built packages: it answers, and says what time it is.
pub fn cache() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // The thread ends with the process of the test.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let date = quiet("date", &["-u", "+%a, %d %b %Y %H:%M:%S GMT"]);
            let answer = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

//! A machine with a disk that lasts, which is booted again and again.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use zeta_state::upkeep::unit_files::{Setting, install};

use super::driver::{DRIVE, Driver};
use crate::support::{Out, Sandbox, run_within, skip};

/// How long a boot may take on a machine that does other things, too.
const BOOT: Duration = Duration::from_secs(40);

/// Ends the boot; its reasons for coming last stand in it.
const END: &str = "\
[Unit]
Description=What this boot is for, and its end
After=multi-user.target
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/sh /zeta-end.sh
StandardOutput=file:/zeta-end.out
StandardError=file:/zeta-end.out
";

/// The machine.
pub struct Machine {
    pub sandbox: Sandbox,
    /// The command that 'zeta init' prints, which enables the timers.
    pub next: String,
}

impl Machine {
    /// A machine with our binary and units; `None`, and a word about it, where none can be booted.
    pub fn installed(test: &str) -> Option<Machine> {
        let mut machine = Machine::bare(test)?;
        machine.copy(Path::new(env!("CARGO_BIN_EXE_zeta")), "usr/local/bin/zeta");
        let node = "node-b00710".parse().unwrap();
        let installed = install(&machine.root(), &Setting::default(), Some(&node), false).unwrap();
        let mut next = installed.next.into_iter();
        machine.next = next.find(|line| line.contains("daemon-reload")).unwrap();
        Some(machine)
    }

    /// A machine that has never seen zeta; `None`, and a word about it, where none can be booted.
    pub fn bare(test: &str) -> Option<Machine> {
        let Some(tree) = std::env::var_os("ZETA_BOOT_TREE").map(PathBuf::from) else {
            skip(test, "no tree to boot: 'cargo xtask test' makes it, as root");
            return None;
        };
        assert!(tree.join("usr/lib/systemd/systemd").exists(), "{} is no tree", tree.display());
        let sandbox = Sandbox::new();
        for dir in ["upper", "work", "merged"] {
            std::fs::create_dir(sandbox.dir.join(dir)).unwrap();
        }
        let machine = Machine { sandbox, next: String::new() };
        machine.write("etc/systemd/system/zeta-end.service", END, 0o644);
        let wants = machine.root().join("etc/systemd/system/default.target.wants");
        std::fs::create_dir_all(&wants).unwrap();
        std::os::unix::fs::symlink("../zeta-end.service", wants.join("zeta-end.service")).unwrap();
        Some(machine)
    }

    /// What was written onto the machine's disk.
    pub fn root(&self) -> PathBuf {
        self.sandbox.dir.join("upper")
    }

    /// Puts a file of ours onto the machine's disk.
    pub fn copy(&self, from: &Path, path: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(from, &path).unwrap();
    }

    pub fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Adds a user with a home.
    pub fn user(&self, name: &str, id: u32) {
        let tree = PathBuf::from(std::env::var_os("ZETA_BOOT_TREE").unwrap());
        let lines = [
            ("etc/passwd", format!("{name}:x:{id}:{id}::/home/{name}:/bin/sh\n")),
            ("etc/group", format!("{name}:x:{id}:\n")),
        ];
        for (path, line) in lines {
            let there = std::fs::read_to_string(tree.join(path)).unwrap();
            self.write(path, &(there + &line), 0o644);
        }
        let home = self.root().join("home").join(name);
        std::fs::create_dir_all(&home).unwrap();
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&home, Some(id), Some(id)).unwrap();
    }

    /// Boots, and hands over a driver when all is up. When `act` returns, the machine ends.
    pub fn drive(&self, limit: Duration, act: impl FnOnce(&Driver)) {
        let dir = self.sandbox.dir.join("drive");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let bind = format!("--bind={}:/drive", dir.display());
        std::thread::scope(|scope| {
            let booted = scope.spawn(|| self.boot_within(DRIVE, &[&bind], limit));
            let driver = Driver::new(dir);
            act(&driver);
            drop(driver);
            booted.join().unwrap();
        });
    }

    /// Boots, runs a script when all is up, and ends; what the script printed.
    pub fn boot(&self, script: &str, options: &[&str]) -> String {
        self.boot_within(script, options, BOOT)
    }

    /// The same, for a script that takes its time.
    pub fn boot_within(&self, script: &str, options: &[&str], limit: Duration) -> String {
        self.write("zeta-end.sh", script, 0o755);
        let dir = &self.sandbox.dir;
        let _ = std::fs::remove_file(self.root().join("zeta-end.out"));
        let tree = PathBuf::from(std::env::var_os("ZETA_BOOT_TREE").unwrap());
        let shown = |path: &Path| path.display().to_string();
        let overlay = format!(
            "lowerdir={},upperdir={},workdir={}",
            shown(&tree),
            shown(&self.root()),
            shown(&dir.join("work"))
        );
        let merged = shown(&dir.join("merged"));
        // The mount goes away with the namespace. In a hierarchy of its own, nspawn needs no bus.
        let inside = "mount -t overlay overlay -o \"$0\" \"$1\" && shift 1 && \
                      exec systemd-nspawn -q -D \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", inside, &overlay, &merged, &merged, "-b"]);
        let name = format!("--machine=zeta-{}", std::process::id());
        command.args([
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--link-journal=no",
            &name,
        ]);
        command.args(options);
        // As on a real machine of today, whatever the one under it has.
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        let out: Out = run_within(&mut command, limit);
        let said = std::fs::read_to_string(self.root().join("zeta-end.out"));
        said.unwrap_or_else(|_| panic!("the boot did not come to its end: {out:?}"))
    }
}

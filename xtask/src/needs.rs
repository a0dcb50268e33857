//! The programs and packages that the tests need besides Rust, for a fresh Debian machine.
//!
//! As root, missing packages are installed and listed. Otherwise the missing packages and the tests
//! that will be skipped are listed: a skipped test must never look like a passed one.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Result;

use crate::{boot, nats_server, npm_file, run};

/// How to check a need.
enum Probe {
    /// A program on the path, or in Debian's directories for the administrator.
    Program(&'static str),
    /// A module of Debian's own Python (another Python on the path would not see the package).
    PythonModule(&'static str),
    /// A file.
    File(&'static str),
}

/// A program that tests use.
struct Need {
    probe: Probe,
    /// The Debian package that has it.
    package: &'static str,
    /// The tests that are skipped without it.
    tests: &'static str,
}

const fn need(program: &'static str, package: &'static str, tests: &'static str) -> Need {
    Need { probe: Probe::Program(program), package, tests }
}

const NEEDS: [Need; 41] = [
    need("strace", "strace", "faults at each system call (ENOSPC, EIO, EMFILE, SIGKILL)"),
    need("setfacl", "acl", "state directories with an access control list"),
    need("flock", "util-linux", "the POSIX-shell agent, and 'lease exec' beside flock(1)"),
    need("unshare", "util-linux", "other pid, time and mount namespaces"),
    need("setpriv", "util-linux", "several users in one group"),
    need("timeout", "coreutils", "the POSIX-shell agent"),
    need("git", "git", "the demo and its bare repository"),
    need("systemd-analyze", "systemd", "verification of the shipped units"),
    need("systemd-tmpfiles", "systemd", "the shipped tmpfiles.d lines and their ageing"),
    need("dash", "dash", "the POSIX-shell agent"),
    need("python3", "python3", "records read by an ordinary YAML parser"),
    Need {
        probe: Probe::PythonModule("yaml"),
        package: "python3-yaml",
        tests: "records read by an ordinary YAML parser",
    },
    need("mount", "mount", "full, read-only and private file systems"),
    need("valgrind", "valgrind", "the gate on each verb's user instructions"),
    need("perf", "linux-perf", "the gate on each verb's page faults"),
    need("mkfs.ext4", "e2fsprogs", "full disks (ext4 on a loop mount)"),
    need("losetup", "mount", "sticks as loop devices"),
    need("mtype", "mtools", "the EFI partition of a stick, read by another program"),
    Need {
        probe: Probe::File("/usr/share/ovmf/OVMF.fd"),
        package: "ovmf",
        tests: "a stick that firmware starts from",
    },
    need("sgdisk", "gdisk", "the installation of nodes on loop devices"),
    need("mkfs.vfat", "dosfstools", "the installation of nodes on loop devices"),
    need("partprobe", "parted", "the installation of nodes on loop devices"),
    need("mkpasswd", "whois", "the installation of nodes on loop devices"),
    need("curl", "curl", "the installation of nodes on loop devices"),
    need("fusefat", "fusefat", "the installation of nodes where the kernel has no vfat"),
    need("systemd-nspawn", "systemd-container", "whole boots with our units"),
    need("mmdebstrap", "mmdebstrap", "whole boots with our units"),
    need("qemu-system-x86_64", "qemu-system-x86", "power cuts while a blob is saved on FAT"),
    need("setsid", "util-linux", "hidden prompts, at a terminal of their own"),
    need("nix-instantiate", "nix-bin", "the NixOS module beside the unit that it stands for"),
    need("bwrap", "bubblewrap", "the sandboxes of agents"),
    need("fish", "fish", "completions in fish"),
    need("zsh", "zsh", "completions in zsh"),
    need("npm", "npm", "the stand-in of GitHub beside its own description, agent tools, packages"),
    need("dpkg-deb", "dpkg", "the contents of our package for Debian"),
    need("strip", "binutils", "our packages for Debian, pip and npm"),
    need("tmux", "tmux", "the live view in a real terminal, and its pictures"),
    need("chromium", "chromium", "the page of 'zeta web' in a browser"),
    need("nats-server", "nats-server", "the cluster on a server of Debian"),
    need("ip", "iproute2", "agent tools in a network that has loopback only"),
    Need {
        probe: Probe::PythonModule("ensurepip"),
        package: "python3-venv",
        tests: "the book of the documentation and its links, the cluster on a newer server, and \
                our package for pip",
    },
];

const ROOT_ONLY: &str = "other users and group mode, mounts (full, read-only, PrivateTmp-like), \
                         foreign owners, PID reuse, time namespaces";

const APT_OPTIONS: [&str; 6] =
    ["-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"];

/// The anchors of the benches, which only `cargo xtask bench` needs.
const ANCHORS: [Need; 10] = [
    need("redis-cli", "redis-tools", "the anchor redis-cli"),
    need("redis-server", "redis-server", "all anchors of redis"),
    need("nats-server", "nats-server", "all anchors of NATS"),
    need("etcd", "etcd-server", "all anchors of etcd"),
    need("protoc", "protobuf-compiler", "our client of etcd"),
    Need {
        probe: Probe::File("/usr/include/google/protobuf/descriptor.proto"),
        package: "libprotobuf-dev",
        tests: "our client of etcd",
    },
    need("setpriv", "util-linux", "all servers"),
    need("etcdctl", "etcd-client", "the anchor etcdctl"),
    need("dotlockfile", "liblockfile-bin", "the anchor dotlockfile"),
    need("npm", "npm", "the anchor proper-lockfile"),
];

/// Installs the anchors that are missing, as root; the bench names those that stay missing.
pub fn provide_anchors() -> Result<()> {
    let missing: Vec<&Need> = ANCHORS.iter().filter(|need| !is_here(&need.probe)).collect();
    if !missing.is_empty() && is_root() {
        install(&packages(&missing))?;
    }
    Ok(())
}

/// Installs what is missing, if possible; prints what was done and what will be skipped.
pub fn provide() -> Result<()> {
    let root = is_root();
    let missing = missing();
    if !missing.is_empty() && root {
        install(&packages(&missing))?;
    }
    npm_file::provide()?;
    nats_server::provide();
    if root {
        boot::provide()?;
    }
    let missing = self::missing();
    if missing.is_empty() && root {
        println!("needs: every program that the tests use is here");
        return Ok(());
    }
    println!("\n==================== SOME TESTS WILL BE SKIPPED ====================");
    if !root {
        println!("not root: skipped are the tests of {ROOT_ONLY}");
    }
    for need in &missing {
        let (what, package) = (what(need), need.package);
        println!("missing: {what} (Debian package {package}): skipped are {}", need.tests);
    }
    if !missing.is_empty() {
        println!("remedy: apt-get install {}", packages(&missing).join(" "));
    }
    if !root {
        println!("remedy: run 'cargo xtask test' as root to run all of them");
    }
    println!("=====================================================================\n");
    Ok(())
}

/// Reports whether this machine has the programs for the power cuts.
pub fn can_cut() -> bool {
    is_root() && is_here(&Probe::Program("qemu-system-x86_64"))
}

fn is_root() -> bool {
    run::answer(run::program("id", &["-u"])).is_some_and(|uid| uid.trim() == "0")
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !is_here(&need.probe)).collect()
}

fn is_here(probe: &Probe) -> bool {
    match probe {
        Probe::Program(name) => {
            let path = env::var_os("PATH").unwrap_or_default();
            let sbin = ["/usr/sbin", "/sbin"].map(Into::into);
            env::split_paths(&path).chain(sbin).any(|dir| dir.join(name).is_file())
        }
        Probe::File(path) => Path::new(path).is_file(),
        Probe::PythonModule(module) => {
            let import = format!("import {module}");
            run::answer(run::program("/usr/bin/python3", &["-c", &import])).is_some()
        }
    }
}

fn what(need: &Need) -> String {
    match need.probe {
        Probe::Program(name) => name.to_owned(),
        Probe::PythonModule(name) => format!("the Python module {name}"),
        Probe::File(path) => path.to_owned(),
    }
}

fn packages(needs: &[&Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs with the existing package lists, and fetches new ones only if that fails.
fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        println!("needs: no apt-get here; please install by hand what Debian calls: {names}");
        return Ok(());
    }
    println!("needs: INSTALLING the Debian packages that the tests use: {names}");
    let _quiet = NoServices::begin();
    let done =
        apt_install(packages)? || (run::succeeds(apt("update", &[]))? && apt_install(packages)?);
    match done {
        true => {
            println!("needs: INSTALLED {names}");
            for (_, service) in SERVICES.iter().filter(|(package, _)| packages.contains(package)) {
                // It must not start at the next boot either; without systemctl nothing would start
                // it.
                run::answer(run::program("systemctl", &["disable", service]));
            }
        }
        false => println!("needs: apt-get could not install them; its reason stands above"),
    }
    Ok(())
}

/// Servers that a package would start: a bench starts its own and ends them.
const SERVICES: [(&str, &str); 3] =
    [("redis-server", "redis-server"), ("etcd-server", "etcd"), ("nats-server", "nats-server")];

/// A guard: while it exists, no package that is installed starts a service.
struct NoServices;

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    /// Returns `None` if the machine already has a rule about what may start.
    fn begin() -> Option<NoServices> {
        let mut file = fs::File::options();
        let mut file = file.write(true).create_new(true).mode(0o755).open(POLICY).ok()?;
        let written = file.write_all(b"#!/bin/sh\nexit 101\n");
        let begun = NoServices;
        written.is_ok().then_some(begun)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let _ = fs::remove_file(POLICY);
    }
}

fn apt_install(packages: &[&str]) -> Result<bool> {
    run::succeeds(apt("install", &[&["--no-install-recommends"], packages].concat()))
}

fn apt(verb: &str, args: &[&str]) -> std::process::Command {
    let mut command = run::program("apt-get", &APT_OPTIONS);
    command.arg(verb).args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

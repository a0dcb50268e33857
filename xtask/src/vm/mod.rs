//! The attack table on a kernel of its own: in a virtual machine a test may set the
//! `fs.protected_*` switches and the clock, which it may not change on a shared machine.

mod cpio;
mod modules;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

pub use self::cpio::Archive;
pub use self::modules::in_load_order;
use crate::{dist, run};

const TARGET: &str = "x86_64-unknown-linux-musl";
/// The Debian packages of which only files are used: nothing is installed.
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";
/// The time limit of a machine that does not boot; booting takes minutes in software.
const LIMIT_SECONDS: &str = "5400";

/// `cargo xtask vm [NAME]`: true if each part of the table passed inside, or its tests with `NAME`.
pub fn run(filter: &str) -> Result<bool> {
    let place = place()?;
    let (kernel, busybox) = provide(&place)?;
    let image = place.join("initramfs");
    fs::write(&image, pack(&busybox)?)?;
    boot(&kernel, &image, filter)
}

/// Returns the directory for the machines' files; fails where no machine can be started.
pub fn place() -> Result<PathBuf> {
    ensure!(env::consts::ARCH == "x86_64", "only for x86_64, and this is {}", env::consts::ARCH);
    ensure!(
        run::answer(run::program("qemu-system-x86_64", &["--version"])).is_some(),
        "there is no qemu-system-x86_64: install the Debian package qemu-system-x86"
    );
    let place = run::target_dir().join("vm");
    fs::create_dir_all(&place)?;
    Ok(place)
}

/// Returns the kernel and busybox, from Debian's packages.
pub fn provide(place: &Path) -> Result<(PathBuf, PathBuf)> {
    let unpacked = place.join("debian");
    let found = || Some((kernel_in(&unpacked)?, unpacked.join("bin/busybox")));
    if let Some(found) = found() {
        return Ok(found);
    }
    // A fresh machine has no package lists, and old lists name a kernel that Debian no longer has.
    if let Err(error) = download(place) {
        println!("vm: {error:#}; once more with new package lists");
        ensure!(
            run::succeeds(run::program("apt-get", &["-q", "update"]))?,
            "apt-get update failed"
        );
        download(place)?;
    }
    for entry in fs::read_dir(place)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let (from, to) = (path.to_string_lossy(), unpacked.to_string_lossy());
            ensure!(
                run::succeeds(run::program("dpkg-deb", &["-x", &from, &to]))?,
                "dpkg-deb cannot unpack {from}"
            );
        }
    }
    found().context("the packages hold no kernel or no busybox")
}

/// Downloads the newest kernel that the package lists name, and busybox.
fn download(place: &Path) -> Result<()> {
    let depends = run::answer(run::program("apt-cache", &["depends", KERNEL]));
    let depends = depends.with_context(|| format!("apt-cache knows no {KERNEL}"))?;
    let image = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let image = image.with_context(|| format!("{KERNEL} depends on no linux-image"))?;
    let image = format!("linux-image-{image}");
    let mut download = run::program("apt-get", &["download", &image, BUSYBOX]);
    download.current_dir(place);
    ensure!(
        run::succeeds(download)?,
        "cannot download {image} and {BUSYBOX}: is there an apt-get, and does it reach Debian?"
    );
    Ok(())
}

fn kernel_in(unpacked: &Path) -> Option<PathBuf> {
    let boot = fs::read_dir(unpacked.join("boot")).ok()?.flatten().map(|entry| entry.path());
    boot.into_iter().find(|path| path.to_string_lossy().contains("vmlinuz-"))
}

/// Builds the programs for the machine and packs them.
fn pack(busybox: &Path) -> Result<Vec<u8>> {
    dist::provide_target(TARGET)?;
    let args = ["test", "-p", "zeta", "--test", "attacks", "--no-run"];
    let mut build = run::cargo_for_musl(&args, TARGET);
    // A machine in software is slow enough; symbols would only fill its memory.
    build.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_OPT_LEVEL", "2");
    let mut built = None;
    let status = run::watched(build, |line| {
        let path = line.split_once("Executable tests/attacks/main.rs (");
        built = built.take().or(path.map(|(_, path)| path.trim_end_matches(')').to_owned()));
    })?;
    let Some(attacks) = built.filter(|_| status.success()) else {
        bail!("the tests do not build for {TARGET}: 'rustup target add {TARGET}' may be missing");
    };
    let zeta = run::target_dir().join(TARGET).join("debug/zeta");
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        archive.dir(dir);
    }
    let files = [
        ("attacks", run::root().join(attacks)),
        ("zeta", zeta),
        ("bin/busybox", busybox.to_owned()),
    ];
    for (name, path) in files {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        archive.program(name, &bytes);
    }
    archive.program("init", include_bytes!("init.sh"));
    Ok(archive.finish())
}

/// Boots the machine and reads its output; the result is the guest's last line.
fn boot(kernel: &Path, image: &Path, filter: &str) -> Result<bool> {
    let (kernel, image) = (kernel.to_string_lossy(), image.to_string_lossy());
    let append = format!("console=ttyS0 quiet panic=-1 oops=panic zeta_filter={filter}");
    let mut words = vec!["-k", "5", LIMIT_SECONDS, "qemu-system-x86_64", "-nodefaults"];
    // In software by default: a nested KVM may exist and not work, and then the machine hangs.
    let kvm = env::var("ZETA_VM_ACCEL").is_ok_and(|accel| accel == "kvm");
    let accel = if kvm { ["kvm", "host"] } else { ["tcg,thread=multi", "qemu64"] };
    words.extend(["-accel", accel[0], "-cpu", accel[1], "-smp", "2", "-m", "1024"]);
    words.extend(["-display", "none", "-serial", "stdio", "-no-reboot"]);
    words.extend(["-kernel", &kernel, "-initrd", &image, "-append", &append]);
    let mut last = String::new();
    let mut parts = 0;
    run::watched(run::program("timeout", &words), |line| {
        let Some(at) = line.find("vm: ") else { return };
        last = line.get(at..).unwrap_or_default().trim().to_owned();
        parts += usize::from(last.starts_with("vm: part ") && last.ends_with("failed=0 status=0"));
    })?;
    let good = last == "vm: done parts=3 bad=0" && parts == 3;
    println!("vm: {parts} of 3 parts passed; the guest's last word: {last:?}");
    Ok(good)
}

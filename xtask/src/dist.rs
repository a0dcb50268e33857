//! Builds the release binary, one static file that runs on any Linux of its architecture, and the
//! packages that have it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{elf, packages, run};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `cargo xtask dist`: builds and checks the binary, and puts it and its packages into `dist/`.
pub fn run() -> Result<()> {
    let target = target()?;
    provide_target(target)?;
    build(target)?;
    let built = run::target_dir().join(target).join("release/zeta");
    check(&built)?;
    let dist = run::root().join("dist");
    fs::create_dir_all(&dist)?;
    let full_name = format!("zeta-{VERSION}-{target}");
    for name in ["zeta", &full_name] {
        replace(&built, &dist.join(name))?;
    }
    let packages = packages::write(&built, target, &dist)?;
    let mut sums = run::program("sha256sum", &["zeta", &full_name]);
    sums.args(&packages).current_dir(&dist);
    let sums = run::answer(sums).context("sha256sum did not run")?;
    fs::write(dist.join("sha256sums"), &sums)?;
    let size = fs::metadata(&built)?.len();
    print!("{sums}");
    println!("{}: {size} bytes, static, not PIE", dist.join(&full_name).display());
    println!("{}: the same file, ready to be installed", dist.join("zeta").display());
    for package in packages {
        println!("{}: the same program", dist.join(package).display());
    }
    Ok(())
}

/// `cargo xtask install`: builds and checks the same binary, and installs it where `cargo install`
/// puts programs, or below `root`. Nothing is built or fetched twice.
pub fn install(root: Option<&Path>) -> Result<()> {
    let target = target()?;
    provide_target(target)?;
    build(target)?;
    check(&run::target_dir().join(target).join("release/zeta"))?;
    let mut args = vec!["install", "--locked", "--offline", "--path", "crates/zeta"];
    let root = root.map(|root| root.to_string_lossy());
    args.extend(root.iter().flat_map(|root| ["--quiet", "--root", root]));
    ensure!(run::succeeds(static_cargo(&args, target))?, "cargo could not install it");
    Ok(())
}

/// Installs below the build directory; returns the path of the program that a user would get.
pub fn install_apart() -> Result<PathBuf> {
    let root = run::target_dir().join("installed");
    install(Some(&root))?;
    Ok(root.join("bin/zeta"))
}

fn target() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("x86_64-unknown-linux-musl"),
        "aarch64" => Ok("aarch64-unknown-linux-musl"),
        other => bail!("there is no release target for {other}; x86_64 and aarch64 have one"),
    }
}

/// Adds the target's standard library to the toolchain, if it is missing.
pub fn provide_target(target: &str) -> Result<()> {
    let sysroot = run::answer(run::program("rustc", &["--print", "sysroot"]))
        .context("rustc does not run")?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    ensure!(
        run::answer(run::program("rustup", &["--version"])).is_some(),
        "this Rust has no standard library for {target}, and there is no rustup to add it: \
         install Rust with rustup (https://rustup.rs) and try again, or run \
         'cargo install --locked --path crates/zeta' for a binary that starts more slowly"
    );
    println!("ADDING the target {target} to this Rust toolchain");
    ensure!(
        run::succeeds(run::program("rustup", &["target", "add", target]))?,
        "rustup could not add {target}; its reason stands above"
    );
    Ok(())
}

fn build(target: &str) -> Result<()> {
    let args = ["build", "--release", "--locked", "--package", "zeta", "--bin", "zeta"];
    ensure!(run::succeeds(static_cargo(&args, target))?, "the release build failed");
    Ok(())
}

/// Returns the command of a cargo that links a static binary at fixed addresses.
fn static_cargo(args: &[&str], target: &str) -> Command {
    // Paths of this machine do not belong in a release, which would not be reproducible with them.
    let root = run::root();
    let mut flags = vec![
        "-Crelocation-model=static".to_owned(),
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={}=zeta", root.display()),
    ];
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    let mut cargo = run::cargo_for_musl(args, target);
    // The encoded form, because a path may hold a space.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo
}

/// Returns the directory of cargo's own files.
pub fn cargo_home() -> Option<PathBuf> {
    let usual = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(usual)
}

/// Checks a release by its bytes and by running it, not by the flags that it was built with.
fn check(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let shown = binary.display();
    elf::expect_static(&bytes).with_context(|| format!("{shown} is not what we release"))?;
    ensure!(!has_seam(&bytes), "{shown} has a wall clock that tests can shift");
    let said = run::answer(run::program(&binary.to_string_lossy(), &["--version"]))
        .with_context(|| format!("'{shown} --version' failed"))?;
    ensure!(said.contains(VERSION), "'{shown} --version' says {said:?}, and not {VERSION}");
    Ok(())
}

/// Checks that the binary does not contain the variable by which tests shift the wall clock.
fn has_seam(binary: &[u8]) -> bool {
    let name = b"ZETA_TEST_CLOCK";
    binary.windows(name.len()).any(|window| window == name)
}

/// Copies through a rename, so that a running copy is no obstacle.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let temp = to.with_extension("new");
    fs::copy(from, &temp).with_context(|| format!("cannot write {}", temp.display()))?;
    fs::rename(&temp, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_no_clock_that_can_be_shifted() {
        assert!(has_seam(b"...ZETA_TEST_CLOCK..."));
        assert!(!has_seam(b"ZETA_TEST_"));
        let read = |path: &str| fs::read_to_string(run::root().join(path)).unwrap();
        // The check looks for the name that the seam goes by.
        assert!(has_seam(read("crates/zeta-os/src/clock.rs").as_bytes()));
        // A release builds the default features, and these do not have it.
        let seams =
            [("zeta-os", "clock-seam = []"), ("zeta", "clock-seam = [\"zeta-os/clock-seam\"]")];
        for (package, seam) in seams {
            let manifest = read(&format!("crates/{package}/Cargo.toml"));
            assert!(manifest.lines().any(|line| line == seam), "{package}");
            assert!(!manifest.lines().any(|line| line.starts_with("default =")), "{package}");
        }
        let workspace = read("Cargo.toml");
        let release = workspace.split("[profile.release]").nth(1).unwrap();
        assert!(!release.split("\n[").next().unwrap().contains("debug-assertions"));
    }
}

//! An image on a loop device, beside `dd` with the same image and the same device; and a plan.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

mod measure;

use measure::{Outcomes, Scratch, at_most, head, median, median_ratio, missing, row, shown, time};

const ROUNDS: usize = 5;
const LEN: usize = 512 << 20;

/// A loop device of a sparse file; dropping it detaches the device.
struct Stick {
    device: String,
    name: String,
}

impl Stick {
    fn attach(file: &Path) -> Outcomes<Option<Stick>> {
        let done = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        let Some(done) = done.ok().filter(|done| done.status.success()) else { return Ok(None) };
        let device = String::from_utf8(done.stdout)?.trim().to_owned();
        Ok(Some(Stick { device, name: format!("loop:{}", file.display()) }))
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// An image that starts from a stick, but for its volume: bytes that do not repeat.
fn image(path: &Path) -> Outcomes<()> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut file = File::create(path)?;
    // A child is counted with the most memory that this process ever had.
    let mut part = vec![0; 1 << 20];
    for _ in 0..LEN >> 20 {
        random.fill(&mut part);
        file.write_all(&part)?;
    }
    Ok(())
}

/// A number of the answer.
fn number(answer: &serde_json::Value, key: &str) -> Outcomes<f64> {
    Ok(answer[key].as_u64().ok_or(format!("the answer has no {key}: {answer}"))? as f64)
}

fn json(command: &mut Command) -> Outcomes<serde_json::Value> {
    let out = command.output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        return Err(format!("{command:?}: {said}").into());
    }
    Ok(serde_json::from_str(&said)?)
}

/// Returns the ns of the write, of reading back, and of the whole call.
fn ours(dir: &Path, image: &Path, stick: &Stick, round: usize) -> Outcomes<[f64; 3]> {
    let plan = dir.join(format!("plan-{round}"));
    let zeta = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        command.args(["--json", "flash", verb, "--disk", &stick.name]);
        command.args(["--allow-internal", &stick.name, "--image"]).arg(image);
        command
    };
    let answer = json(zeta("plan").arg("--save").arg(&plan))?;
    let hash = answer["plan_hash"].as_str().ok_or("a plan without a digest")?;
    let start = Instant::now();
    let answer = json(zeta("write").arg("--plan").arg(&plan).args(["--plan-hash", hash]))?;
    let whole = start.elapsed().as_nanos() as f64;
    let [write, compare] = ["write_ms", "compare_ms"].map(|key| number(&answer, key));
    Ok([write? * 1e6, compare? * 1e6, whole])
}

fn theirs(image: &Path, stick: &Stick) -> Outcomes<f64> {
    let start = Instant::now();
    let of = [format!("if={}", image.display()), format!("of={}", stick.device)];
    let done = Command::new("dd")
        .args(of)
        .args(["bs=4M", "oflag=direct", "conv=fsync", "status=none"])
        .status()?;
    if !done.success() {
        return Err("dd failed".into());
    }
    Ok(start.elapsed().as_nanos() as f64)
}

/// The most memory that a write of the image to a file takes, in MiB.
fn memory(dir: &Path, image: &Path) -> Outcomes<f64> {
    let to = dir.join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
    command.args(["-q", "flash", "write", "--to-file"]).arg(&to).arg("--image").arg(image);
    let child = command.stdout(std::process::Stdio::null()).spawn()?;
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: both are local variables, and the kernel fills them before they are read.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(pid, &raw mut status, 0, &raw mut usage);
        usage
    };
    fs::remove_file(to)?;
    Ok(usage.ru_maxrss as f64 / 1024.0)
}

/// Returns the ns of a plan: the median of several calls.
fn plan(args: &[&str]) -> Outcomes<f64> {
    let mut plans = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        let out = Command::new(env!("CARGO_BIN_EXE_zeta")).arg("--json").args(args).output()?;
        plans.push(start.elapsed().as_nanos() as f64);
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout)?;
        if answer["disks"].as_array().is_none() {
            return Err(format!("no plan: {answer}").into());
        }
    }
    Ok(median(&plans))
}

fn main() -> Outcomes<()> {
    head("an image of 512 MiB on a loop device, beside dd");
    let scratch = Scratch::on_disk("flash")?;
    let (dir, file) = (scratch.path.clone(), scratch.path.join("disk"));
    let path: PathBuf = dir.join("a.iso");
    image(&path)?;
    File::create(&file)?.set_len(LEN as u64 + (64 << 20))?;
    let Some(stick) = Stick::attach(&file)? else {
        missing("a loop device (only root has them)");
        return Ok(());
    };
    let (mut write, mut both, mut whole, mut dd) = (vec![], vec![], vec![], vec![]);
    // The first round gives the file its blocks, for both.
    theirs(&path, &stick)?;
    for round in 0..ROUNDS {
        let [wrote, compared, all] = ours(&dir, &path, &stick, round)?;
        write.push(wrote);
        both.push(wrote + compared);
        whole.push(all);
        dd.push(theirs(&path, &stick)?);
    }
    let anchor = time(median(&dd));
    // 0.9 and 0.5 of the rate of dd.
    let ratio = median_ratio(&write, &dd);
    row("write and flush / dd", &time(median(&write)), &anchor, ratio, at_most(1.0 / 0.9, 1.0));
    let ratio = median_ratio(&both, &dd);
    row("write, read back / dd", &time(median(&both)), &anchor, ratio, at_most(2.0, None));
    let ratio = median_ratio(&whole, &dd);
    shown("check, write, read back / dd", &time(median(&whole)), &anchor, ratio);
    let used = memory(&dir, &path)?;
    row("memory of a write, MiB", &format!("{used:.1} MiB"), "", used, at_most(64.0, 32.0));
    // Of a short image, and with what is on the stick.
    let (short, mut bytes) = (dir.join("short.iso"), Vec::new());
    File::open(&path)?.take(1 << 20).read_to_end(&mut bytes)?;
    fs::write(&short, &bytes)?;
    let short = short.display().to_string();
    let name = stick.name.as_str();
    let disk = ["--image", &short, "--disk", name, "--allow-internal", name];
    let flash = plan(&[&["flash", "plan"][..], &disk].concat())?;
    row("a plan to flash, ms", &time(flash), "", flash / 1e6, at_most(50.0, 20.0));
    // The disk of the example is not here, which is the last thing that is found.
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/install/worker.toml");
    let install = plan(&["install", "plan", "--manifest", manifest])?;
    row("a plan to install, ms", &time(install), "", install / 1e6, at_most(50.0, 20.0));
    Ok(())
}

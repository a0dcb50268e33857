//! A write that is killed at any byte, or whose disk or image fails in the middle: the disk says
//! that it is half written, or has all of the image; it is never *done* for less.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use zeta_core::flash::order::is_half_written;

use super::{Loop, begins_with, consent, disk, hash, head, image, target};
use crate::support::{Out, Sandbox, finish, wait_for};

const LEN: usize = 5 << 20;
const DISK: usize = 12 << 20;
/// The status of a program that was killed.
const KILLED: i32 = 128 + 9;
const LIMIT: Duration = Duration::from_secs(60);

/// What happens in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Detach,
    Pull,
    Grow,
    CutImage,
    ChangeImage,
}

const FAULTS: [Fault; 8] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::Detach,
    Fault::Pull,
    Fault::Grow,
    Fault::CutImage,
    Fault::ChangeImage,
];

/// When it happens.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// This long after the start.
    Start(Duration),
    /// This long after the first byte was written.
    FirstByte(Duration),
}

/// One write with one fault. Returns whether the disk was half written then.
fn round(sandbox: &Sandbox, stick: &Loop, fault: Fault, moment: Moment) -> bool {
    let (path, original) = (sandbox.dir.join("a.iso"), image(LEN));
    std::fs::write(&path, &original).unwrap();
    let args: Vec<String> = ["--image".to_owned(), path.to_str().unwrap().to_owned()]
        .into_iter()
        .chain(target(&stick.name()))
        .collect();
    let consent = consent(sandbox, &args);
    let mut call = sandbox.cmd(&["--json", "flash", "write"]);
    call.args(&args).args(consent).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = call.spawn().unwrap();
    std::thread::sleep(match moment {
        Moment::Start(after) => after,
        Moment::FirstByte(after) => {
            wait_for("the first byte, or a refusal", || {
                head(&stick.file, 1) != [0xee] || child.try_wait().unwrap().is_some()
            });
            after
        }
    });
    match fault {
        Fault::Kill => child.kill().unwrap(),
        Fault::Detach => stick.detach_when_closed(),
        Fault::Pull => resize(stick, 64 << 10),
        Fault::Grow => resize(stick, DISK as u64 + (4 << 20)),
        Fault::CutImage => open(&path).set_len(LEN as u64 - 4096).unwrap(),
        Fault::ChangeImage => {
            use std::os::unix::fs::FileExt;
            open(&path).write_all_at(b"another image", LEN as u64 - 4096).unwrap();
        }
    }
    let out = finish(child, started, LIMIT);
    judge(fault, &out, &std::fs::read(&stick.file).unwrap(), &original)
}

fn open(path: &Path) -> std::fs::File {
    std::fs::File::options().write(true).open(path).unwrap()
}

fn resize(stick: &Loop, len: u64) {
    open(&stick.file).set_len(len).unwrap();
    stick.resize();
}

fn judge(fault: Fault, out: &Out, bytes: &[u8], original: &[u8]) -> bool {
    let old = bytes.iter().take(DISK).all(|byte| *byte == 0xee);
    let half = is_half_written(bytes);
    let whole = begins_with(bytes, original);
    // The end of a disk that was pulled is gone in any case.
    let is_cut = fault == Fault::Pull;
    assert!(old || half || whole || is_cut, "{fault:?}: {out:?}");
    if out.out.is_empty() {
        assert!(fault == Fault::Kill, "{fault:?}: {out:?}");
        return half;
    }
    let answer: Value = serde_json::from_str(&out.out).unwrap();
    match out.status {
        // It was killed after its answer.
        KILLED => assert!(whole && answer["outcome"] == "written", "{fault:?}: {out:?}"),
        0 => assert!((whole || is_cut) && answer["outcome"] == "written", "{fault:?}: {out:?}"),
        1 if answer["outcome"] == "half_written" => {
            assert!(half || whole || is_cut, "{fault:?}: {out:?}");
        }
        // Before the disk was opened, or before the first byte; also because a loop device of
        // another test came or went while the disks were listed.
        1..=3 | 7 => assert!(old || is_cut, "{fault:?}: {out:?}"),
        _ => panic!("{fault:?}: {out:?}"),
    }
    if out.status != 0 {
        eprintln!("  {} {}", out.status, answer["message"]);
    }
    answer["outcome"] == "half_written"
}

/// Many rounds, each with a fault of its own at a time of its own.
fn rounds(test: &str, seed: u64, count: u32) {
    let sandbox = Sandbox::new();
    let Some(other) = disk(test, &sandbox, "other", DISK) else { return };
    let before = hash(&other.file);
    let mut random = fastrand::Rng::with_seed(seed);
    eprintln!("seed {seed}");
    let (mut half, mut longest) = (0, Duration::from_millis(100));
    for number in 0..count {
        let Some(stick) = disk(test, &sandbox, "stick", DISK) else { return };
        let fault = FAULTS[random.usize(..FAULTS.len())];
        let moment = match random.u8(..5) {
            0 => Moment::Start(longest.mul_f64(random.f64() / 2.0)),
            _ => Moment::FirstByte(longest.mul_f64(random.f64())),
        };
        let was_half = round(&sandbox, &stick, fault, moment);
        eprintln!("{number}: {fault:?} at {moment:?}: half written {was_half}");
        half += u32::from(was_half);
        // Half of the faults come in the middle, however busy the machine is.
        longest = longest.mul_f64(if was_half { 1.2 } else { 0.8 }).max(Duration::from_millis(5));
        stick.detach();
    }
    assert_eq!(hash(&other.file), before, "another disk was changed");
    assert!(half > count / 10, "only {half} of {count} faults came in the middle");
}

// Four tests, so that they run beside each other: 208 rounds.

#[test]
fn a_disk_is_never_done_by_less_than_all_1_of_4() {
    rounds("a_disk_is_never_done_by_less_than_all_1_of_4", 1, 52);
}

#[test]
fn a_disk_is_never_done_by_less_than_all_2_of_4() {
    rounds("a_disk_is_never_done_by_less_than_all_2_of_4", 2, 52);
}

#[test]
fn a_disk_is_never_done_by_less_than_all_3_of_4() {
    rounds("a_disk_is_never_done_by_less_than_all_3_of_4", 3, 52);
}

#[test]
fn a_disk_is_never_done_by_less_than_all_4_of_4() {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    rounds("a_disk_is_never_done_by_less_than_all_4_of_4", seed, 52);
}

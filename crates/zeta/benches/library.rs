//! The library in loops, uncontended: compared with the system calls that it makes, and with the
//! usual way of replacing a file.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, flistxattr,
    flock, fstat, openat, openat2, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, pread, pwrite, read, write};
use rustix::rand::{GetRandomFlags, getrandom};
use zeta_core::layout;
use zeta_os::open_beneath::{DIRECTORY, RECORD};
use zeta_state::context::NodeHandle;
use zeta_state::directory::guard;
use zeta_state::lease::acquire::LeaseHandle;
use zeta_state::presence::heartbeat::touch_last_seen;

mod measure;

use measure::{Ours, Outcomes, Scratch, at_most, block, median, median_ratio, note, row, time};

const ROUNDS: usize = 11;
const PER_ROUND: usize = 1000;
/// The limit of a wait; no other process holds anything here.
const SOON: Duration = Duration::from_secs(1);
/// The bench runs itself under strace with this variable to count the calls of a loop.
const LOOP: &str = "ZETA_BENCH_LOOP";

/// Makes only the system calls of one acquire and one release in an open tree.
struct Raw {
    node: OwnedFd,
    record: Vec<u8>,
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Raw {
    fn open(node: &Path, record: Vec<u8>) -> Outcomes<Raw> {
        Ok(Raw { node: openat(CWD, node, DIRECTORY, Mode::empty())?, record })
    }

    fn enter(&self) -> rustix::io::Result<OwnedFd> {
        let guard = openat2(&self.node, ".guard/loop.lock", DIRECTORY, Mode::empty(), BENEATH)?;
        fstat(&guard)?;
        match flistxattr(&guard, &mut [0u8; 512][..]) {
            Ok(_) | Err(Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
        flock(&guard, FlockOperation::NonBlockingLockExclusive)?;
        self.same()?;
        Ok(guard)
    }

    fn same(&self) -> rustix::io::Result<()> {
        statat(&self.node, ".guard/loop.lock", AtFlags::SYMLINK_NOFOLLOW).map(|_| ())
    }

    fn cycle(&self) -> Outcomes<()> {
        let guard = self.enter()?;
        match openat2(&self.node, "loop.lock", RECORD, Mode::empty(), BENEATH) {
            Err(Errno::NOENT) => {}
            other => return Err(format!("a record stands there: {other:?}").into()),
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let token = openat(&guard, "fencing_token", flags, Mode::empty())?;
        fstat(&token)?;
        let mut line = [0u8; 64];
        let len = pread(&token, &mut line, 0)?;
        pwrite(&token, line.get(..len).unwrap_or_default(), 0)?;
        let mut buffer = [std::mem::MaybeUninit::uninit(); 2048];
        let mut entries = RawDir::new(&guard, &mut buffer);
        while let Some(entry) = entries.next() {
            entry?;
            if entries.is_buffer_empty() {
                break;
            }
        }
        let name = fresh_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let temp = openat(&guard, name.as_str(), flags, Mode::from_raw_mode(0o600))?;
        write(&temp, &self.record)?;
        drop(temp);
        renameat_with(&guard, name.as_str(), &self.node, "loop.lock", RenameFlags::NOREPLACE)?;
        self.same()?;
        drop(token);
        flock(&guard, FlockOperation::Unlock)?;
        drop(guard);

        let guard = self.enter()?;
        let record = openat2(&self.node, "loop.lock", RECORD, Mode::empty(), BENEATH)?;
        fstat(&record)?;
        let mut bytes = [0u8; 1024];
        read(&record, bytes.get_mut(..self.record.len()).unwrap_or_default())?;
        drop(record);
        let name = fresh_name()?;
        renameat(&self.node, "loop.lock", &guard, name.as_str())?;
        self.same()?;
        flock(&guard, FlockOperation::Unlock)?;
        unlinkat(&guard, name.as_str(), AtFlags::empty())?;
        Ok(())
    }
}

/// Makes a new name for a temporary file: the kernel's new name entry costs both sides the same.
fn fresh_name() -> rustix::io::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!(".tmp-{:032x}", u128::from_ne_bytes(bytes)))
}

const TEMP: &str = ".tmp-00112233445566778899aabbccddeeff";

/// Replaces a file in the usual way: writes a temporary file beside it and renames that.
struct RenameOver {
    dir: OwnedFd,
    content: Vec<u8>,
}

impl RenameOver {
    fn open(dir: &Path, content: Vec<u8>) -> Outcomes<RenameOver> {
        Ok(RenameOver { dir: openat(CWD, dir, DIRECTORY, Mode::empty())?, content })
    }

    fn replace(&self) -> Outcomes<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let temp = openat(&self.dir, TEMP, flags, Mode::from_raw_mode(0o600))?;
        write(&temp, &self.content)?;
        drop(temp);
        Ok(renameat(&self.dir, TEMP, &self.dir, "record")?)
    }
}

/// The tree of zeta and a copy of it for the raw loop, both in memory.
fn both() -> Outcomes<(Scratch, Ours, Raw)> {
    let scratch = Scratch::in_memory("library")?;
    let ours = Ours::open(&scratch.path.join("ours"))?;
    let token = ours.take()?;
    let record = fs::read(ours.handle.node.path.join("loop.lock"))?;
    ours.handle.release(&ours.ask.lease, token)?.map_err(|_| "lost")?;
    // The raw loop gets a tree that zeta made, of the same depth.
    let shape = Ours::open(&scratch.path.join("raws"))?;
    shape.cycle()?;
    let raw = Raw::open(&shape.handle.node.path, record)?;
    Ok((scratch, ours, raw))
}

/// Runs the loop whose calls are counted.
fn count_loop(what: &str) -> Outcomes<()> {
    let (name, count) = what.split_once(':').ok_or("NAME:COUNT")?;
    let (_scratch, ours, raw) = both()?;
    for _ in 0..count.parse()? {
        match name {
            "ours" => ours.cycle()?,
            _ => raw.cycle()?,
        }
    }
    Ok(())
}

/// Counts system calls per cycle: the difference of two loop lengths. `None` without strace.
fn calls_per_cycle(name: &str) -> Outcomes<Option<f64>> {
    let scratch = Scratch::in_memory("trace")?;
    let trace = scratch.path.join("trace");
    let mut lines = Vec::new();
    for count in [100, 300] {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(&trace).arg(std::env::current_exe()?);
        strace.env(LOOP, format!("{name}:{count}")).stdout(Stdio::null());
        match strace.status() {
            Ok(status) if status.success() => {}
            _ => return Ok(None),
        }
        lines.push(fs::read_to_string(&trace)?.lines().count() as f64);
    }
    Ok(Some((lines[1] - lines[0]) / 200.0))
}

fn cycles() -> Outcomes<()> {
    let (scratch, ours, raw) = both()?;
    let (mut our_times, mut raw_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 1 {
        let (mine, theirs) = match round % 2 {
            0 => (block(PER_ROUND, || ours.cycle())?, block(PER_ROUND, || raw.cycle())?),
            _ => {
                let theirs = block(PER_ROUND, || raw.cycle())?;
                (block(PER_ROUND, || ours.cycle())?, theirs)
            }
        };
        if round > 0 {
            our_times.push(mine);
            raw_times.push(theirs);
        }
    }
    let what = format!("acquire + release on {}", measure::file_system(&scratch.path)?);
    let ratio = median_ratio(&our_times, &raw_times);
    let (mine, theirs) = (time(median(&our_times)), time(median(&raw_times)));
    row(&what, &mine, &theirs, ratio, at_most(1.25, 1.10));
    let shown = |calls: Option<f64>| calls.map_or("no strace".to_owned(), |n| n.to_string());
    note(
        "  system calls of one cycle",
        &shown(calls_per_cycle("ours")?),
        &shown(calls_per_cycle("raw")?),
    );
    Ok(())
}

fn renewals(scratch: &Scratch, gated: bool) -> Outcomes<()> {
    let ours = Ours::open(&scratch.path.join("ours"))?;
    let token = ours.take()?;
    let usual = scratch.path.join("usual");
    fs::create_dir(&usual)?;
    let usual = RenameOver::open(&usual, fs::read(ours.handle.node.path.join("loop.lock"))?)?;
    let NodeHandle { tree, node, .. } = &ours.handle;
    let file = layout::lease_file(&ours.ask.lease);
    let text = fs::read_to_string(node.path.join(&file))?;
    // Renews as a wrapper does, with the guard that it has open.
    let mut stand = LeaseHandle::new(&ours.handle, &ours.ask.lease);
    let mut renew = || match stand.renew(token, SOON)? {
        Ok(_) => Ok(()),
        Err(lost) => Err(format!("lost: {lost:?}").into()),
    };
    let guard = guard::enter(&tree.base, node, &file, SOON)?.guard();
    let update = || {
        let section = guard::enter_again(&tree.base, node, &file, guard.clone(), SOON)?;
        Ok(section.publish(&text, true)?)
    };
    let (mut updates, mut renewals, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        updates.push(block(PER_ROUND / 5, update)?);
        theirs.push(block(PER_ROUND / 5, || usual.replace())?);
        renewals.push(block(PER_ROUND / 5, &mut renew)?);
    }
    let place = measure::file_system(&scratch.path)?;
    let bounds = gated.then(|| at_most(0.35, 0.25));
    compared(&format!("record update on {place}"), &updates, &theirs, bounds);
    compared(&format!("  a whole renew on {place}"), &renewals, &theirs, None);
    Ok(())
}

fn beats(scratch: &Scratch) -> Outcomes<()> {
    let ours = Ours::open(&scratch.path.join("beats"))?;
    touch_last_seen(&ours.handle)?;
    let usual = scratch.path.join("usual-beats");
    fs::create_dir(&usual)?;
    let usual = RenameOver::open(&usual, b"2026-11-22T19:04:32.123456Z\n".to_vec())?;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        mine.push(block(PER_ROUND, || Ok(touch_last_seen(&ours.handle).map(|_| ())?))?);
        theirs.push(block(PER_ROUND / 5, || usual.replace())?);
    }
    let what = format!("heartbeat on {}", measure::file_system(&scratch.path)?);
    compared(&what, &mine, &theirs, Some(at_most(0.3, 0.1)));
    Ok(())
}

fn compared(what: &str, mine: &[f64], theirs: &[f64], bounds: Option<measure::Bounds>) {
    let ratio = median_ratio(mine, theirs);
    let (mine, theirs) = (time(median(mine)), time(median(theirs)));
    match bounds {
        Some(bounds) => row(what, &mine, &theirs, ratio, bounds),
        None => note(&format!("{what} (ratio {ratio:.2}, no gate)"), &mine, &theirs),
    }
}

fn main() -> Outcomes<()> {
    if let Ok(what) = std::env::var(LOOP) {
        return count_loop(&what);
    }
    measure::head(&format!(
        "library, uncontended, {ROUNDS} rounds of up to {PER_ROUND} operations"
    ));
    cycles()?;
    let memory = Scratch::in_memory("library")?;
    let disk = Scratch::on_disk("library")?;
    renewals(&disk, true)?;
    renewals(&memory, false)?;
    beats(&disk)?;
    beats(&memory)?;
    Ok(())
}

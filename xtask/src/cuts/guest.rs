//! The virtual machine that saves until its power is cut, and the one that checks what is left.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::log::lose_unflushed;
use super::{Cut, DISK, Disk, Left, Random};
use crate::run;
use crate::vm::{self, Archive};

/// The time limit for a machine's next line.
const PATIENCE: Duration = Duration::from_secs(120);
/// The drivers for the disk, for FAT, and for a copy of a disk inside a file.
const DRIVERS: [&str; 7] =
    ["virtio_pci", "virtio_blk", "vfat", "nls_cp437", "nls_ascii", "nls_utf8", "loop"];
/// The number of the machine's last lines in the error, if it ends by itself.
const LAST_LINES: usize = 30;
/// The number of disks with random losses that are made at one cut.
const LOSSES: usize = 3;

/// The files that a machine boots from.
pub struct Machine {
    kernel: PathBuf,
    initramfs: PathBuf,
    disk: PathBuf,
}

impl Machine {
    /// Builds and downloads the files.
    ///
    /// # Errors
    /// There is no qemu, no apt-get, no network, or no Rust for such a machine.
    pub fn prepare() -> Result<Machine> {
        let place = vm::place()?;
        let (kernel, busybox) = vm::provide(&place)?;
        let initramfs = place.join("cuts-initramfs");
        fs::write(&initramfs, pack(&place, &busybox)?)?;
        Ok(Machine { kernel, initramfs, disk: place.join("cuts-disk.img") })
    }

    /// Returns the file that collects the copies of the disk.
    pub fn copies(&self) -> PathBuf {
        self.disk.with_file_name("cuts-copies.img")
    }

    fn log(&self) -> PathBuf {
        self.disk.with_file_name("cuts-log")
    }

    /// Starts a machine on a disk; `more` goes to its first process.
    fn start(&self, disk: &Path, more: &str) -> Result<Guest> {
        File::create(self.log())?;
        let append = format!("console=ttyS0 quiet panic=-1 oops=panic mitigations=off {more}");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", "256"]);
        command.args(["-display", "none", "-serial", "stdio", "-no-reboot"]);
        for (node, path) in [("disk", disk), ("log", &self.log())] {
            let file = format!("driver=file,node-name={node},filename={}", path.display());
            command.args(["-blockdev", &file]);
        }
        // Every request is also logged, and the disk announces a cache, so that the guest flushes.
        command.args(["-blockdev", "driver=blklogwrites,node-name=noted,file=disk,log=log"]);
        command.args(["-device", "virtio-blk-pci,drive=noted,write-cache=on"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        command.args(["-append", &append]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start qemu-system-x86_64")?;
        let out = child.stdout.take().context("qemu has no output")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n') {
                let Ok(line) = line else { return };
                if send.send(String::from_utf8_lossy(&line).trim().to_owned()).is_err() {
                    return;
                }
            }
        });
        Ok(Guest { child, lines, last: VecDeque::new(), saved: 0, begun: 0 })
    }

    /// Runs one machine with `rounds` cuts; each appends a copy of the disk to `copies`.
    pub fn cut(
        &self,
        order: &'static str,
        rounds: usize,
        random: &mut Random,
        copies: &Path,
        cuts: &mut Vec<Cut>,
    ) -> Result<()> {
        File::create(&self.disk)?.set_len(DISK)?;
        let mut guest = self.start(&self.disk, &format!("zeta_part=save zeta_order={order}"))?;
        for round in 0..rounds {
            // A few whole saves first, and then any moment of the next ones.
            let enough = guest.saved + 1 + random.below(4);
            guest.listen_until(|guest| guest.saved >= enough)?;
            guest.listen_for(Duration::from_micros(random.below(60_000)))?;
            match round + 1 == rounds {
                true => guest.kill()?,
                false => guest.signal("STOP")?,
            }
            guest.hear_out()?;
            append(&self.disk, copies, cuts.len() as u64 * DISK)?;
            let (saved, begun) = (guest.saved, guest.begun);
            cuts.push(Cut { order, disk: Disk::Keeps, lost: 0, saved, begun });
            let log = fs::read(self.log())?;
            for _ in 0..LOSSES {
                let place = cuts.len() as u64 * DISK;
                let lost = lose_unflushed(&log, copies, place, || random.below(2) == 0)?;
                cuts.push(Cut { order, disk: Disk::Loses, lost, saved, begun });
            }
            if round + 1 < rounds {
                guest.signal("CONT")?;
            }
        }
        Ok(())
    }

    /// Runs a machine that mounts each copy and prints what it finds.
    pub fn look(&self, copies: &Path, images: usize) -> Result<Vec<Left>> {
        File::options().write(true).open(copies)?.set_len(images as u64 * DISK)?;
        let more = format!("zeta_part=check zeta_images={images} zeta_bytes={DISK}");
        let mut guest = self.start(copies, &more)?;
        let mut found = vec![Left::default(); images];
        let mut at = 0;
        loop {
            let line = guest.next(PATIENCE)?.with_context(|| {
                format!("the machine that looks fell silent; {}", guest.last_lines())
            })?;
            if line.ends_with("cuts: done") {
                break;
            }
            if let Some(number) = after(&line, "cuts: image ") {
                at = number.parse()?;
            }
            if let (Some(words), Some(left)) = (after(&line, "cuts: found "), found.get_mut(at)) {
                let number = |key| after(words, key)?.split(' ').next()?.parse().ok();
                *left = Left { current: number("current="), backup: number("backup=") };
            }
        }
        guest.kill()?;
        Ok(found)
    }
}

/// A running machine.
struct Guest {
    child: Child,
    lines: Receiver<String>,
    /// The newest lines, for the error if the machine fails.
    last: VecDeque<String>,
    saved: u64,
    begun: u64,
}

impl Guest {
    /// Returns the machine's next line; `None` if none came in time.
    fn next(&mut self, wait: Duration) -> Result<Option<String>> {
        let line = match self.lines.recv_timeout(wait) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the machine ended by itself; {}", self.last_lines())
            }
        };
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        let number = |key| after(&line, key).and_then(|number| number.parse().ok());
        self.saved = number("cuts: saved ").unwrap_or(self.saved);
        self.begun = number("cuts: begin ").unwrap_or(self.begun);
        ensure!(!line.contains("cuts: failed"), "in the machine; {}", self.last_lines());
        Ok(Some(line))
    }

    /// Returns the newest lines, as the end of an error.
    fn last_lines(&self) -> String {
        let lines = self.last.iter().map(|line| format!("\n    | {line}")).collect::<String>();
        if lines.is_empty() {
            "it printed nothing".to_owned()
        } else {
            format!("its last lines:{lines}")
        }
    }

    fn listen_until(&mut self, enough: impl Fn(&Guest) -> bool) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while !enough(self) {
            ensure!(
                Instant::now() < give_up,
                "the machine makes no progress (saved {}); {}",
                self.saved,
                self.last_lines()
            );
            self.next(Duration::from_millis(200))?;
        }
        Ok(())
    }

    fn listen_for(&mut self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.next(left)?;
        }
        Ok(())
    }

    /// Reads the lines that the machine printed before it was stopped, which may still be in the
    /// pipe.
    fn hear_out(&mut self) -> Result<()> {
        while matches!(self.next(Duration::from_millis(30)), Ok(Some(_))) {}
        Ok(())
    }

    fn signal(&mut self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        ensure!(
            Command::new("kill").args(["-s", name, &pid]).status()?.success(),
            "cannot send SIG{name} to the machine"
        );
        let wanted = |state: char| (state == 'T') == (name == "STOP");
        let give_up = Instant::now() + PATIENCE;
        while !wanted(state_of(&pid)?) {
            ensure!(Instant::now() < give_up, "SIG{name} does not reach the machine");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Reads the state of a process, as in `ps`, from all its threads, because each one stops by
/// itself.
fn state_of(pid: &str) -> Result<char> {
    let mut states = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        states.extend(stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()));
    }
    Ok(states.iter().copied().find(|state| *state != 'T').unwrap_or('T'))
}

/// Returns the rest of a line after a key in it.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(key).map(|(_, rest)| rest)
}

/// Copies a disk to an offset in a file, and leaves holes where it holds zeros.
fn append(disk: &Path, copies: &Path, at: u64) -> Result<()> {
    let (mut from, mut to) = (File::open(disk)?, File::options().write(true).open(copies)?);
    let mut part = vec![0; 64 * 1024];
    let mut done = 0;
    loop {
        let len = from.read(&mut part)?;
        let Some(bytes) = part.get(..len).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        if bytes.iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(at + done))?;
            to.write_all(bytes)?;
        }
        done += len as u64;
    }
}

/// Packs the machine's first file system: busybox, kernel modules, and the program that saves.
fn pack(place: &Path, busybox: &Path) -> Result<Vec<u8>> {
    // With its libraries.
    ensure!(run::build_programs()?, "the program that saves does not build");
    let program = run::target_dir().join("debug/cuts");
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "esp", "modules", "proc", "sys"] {
        archive.dir(dir);
    }
    archive.program("bin/busybox", &fs::read(busybox)?);
    // Symbols would only fill the machine's memory.
    let bare = place.join("cuts");
    let strip = ["-s", "-o", &bare.to_string_lossy(), &program.to_string_lossy()];
    ensure!(run::succeeds(run::program("strip", &strip))?, "strip does not run");
    archive.program("cuts", &fs::read(&bare)?);
    let mut made = BTreeSet::new();
    for library in libraries(&program)? {
        for dir in library.ancestors().skip(1).collect::<Vec<_>>().iter().rev() {
            let name = dir.to_string_lossy().trim_start_matches('/').to_owned();
            if !name.is_empty() && made.insert(name.clone()) {
                archive.dir(&name);
            }
        }
        let name = library.to_string_lossy().trim_start_matches('/').to_owned();
        archive.program(&name, &fs::read(&library)?);
    }
    archive.program("init", include_bytes!("cuts.sh"));
    let modules = vm::in_load_order(&place.join("debian"), busybox, &DRIVERS)?;
    for (number, path) in modules.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        archive.program(&format!("modules/{number:02}-{name}"), &bytes);
    }
    Ok(archive.finish())
}

/// Lists the libraries that a program loads at its start, by the paths that it uses.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let said = run::answer(run::program("ldd", &[&program.to_string_lossy()]));
    let said = said.with_context(|| format!("ldd says nothing of {}", program.display()))?;
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(said.lines().filter_map(path).collect())
}

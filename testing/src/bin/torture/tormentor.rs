//! Starts all processes of a run, kills and stops them, and removes their files.
//!
//! Each action is in the log with the time before it, because for the judge a stay that was cut
//! short ends there. A kill has the time after it, too: on a busy machine the process may have run
//! a whole round in between.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Outcomes;
use super::arena::{Arena, Kind, Lease, Options, now_ns};
use super::child::start;
use super::item;
use super::rob;
use super::spoil::Spoiler;
use super::story::Story;
use super::worker::{LIBRARY, WAYS};

/// The time limit of a worker's last round.
const LAST_ROUND: Duration = Duration::from_secs(25);
/// The time limit of a `zeta clean`, whichever processes are stopped.
const CLEAN_LIMIT: Duration = Duration::from_secs(20);
const READERS: usize = 2;
/// Workers at the item beyond those that each lease has.
const MORE_AT_ITEM: usize = 3;
/// The pause between two calls of `zeta clean`.
const CLEAN_PAUSE: Duration = Duration::from_millis(40);
/// The shifts of the wall clock.
const JUMPS_MS: [i64; 9] =
    [0, -2_592_000_000, 2_592_000_000, -86_400_000, 86_400_000, -3_600_000, 3_600_000, -700, 700];
/// The offsets of the boot clocks in time namespaces.
const SHIFTS_MS: [i64; 8] = [100_000_000, -60_000, 3_600_000, 1_000, -1_000, 350, -350, 5];

/// The counts of all actions, and the processes that ended unexpectedly.
#[derive(Debug, Default)]
pub struct Torment {
    pub kills: usize,
    pub stops: usize,
    pub long_stops: usize,
    pub robberies: usize,
    /// Parts of the index of the bus that were damaged, and odd files.
    pub spoilt: usize,
    pub cleanings: usize,
    /// Jumps of the wall clock; `None` where this build has no seam for it.
    pub jumps: Option<usize>,
    /// Workers and cleaners in time namespaces of their own; `None` where that is not permitted.
    pub warped: Option<usize>,
    pub complaints: Vec<String>,
}

struct Tormentor<'a> {
    arena: &'a Arena,
    options: &'a Options,
    dice: fastrand::Rng,
    log: Story,
    workers: Vec<Child>,
    /// The lease of each worker, and the way in which it takes it.
    at: Vec<(Lease, &'static str)>,
    clock: Option<File>,
    spoiler: Spoiler,
    stopped: Vec<(u64, u32, OwnedFd)>,
    cleaning: Option<(Child, Instant)>,
    /// The time at which the last one ended.
    cleaned: Instant,
    done: Torment,
}

/// Runs all processes, and returns when every one has ended.
pub fn torment(arena: &Arena, options: &Options) -> Outcomes<Torment> {
    let mut tormentor = Tormentor {
        arena,
        options,
        dice: fastrand::Rng::with_seed(options.seed),
        log: Story::open(&arena.dir, "torment")?,
        workers: Vec::new(),
        at: Vec::new(),
        clock: None,
        spoiler: Spoiler::default(),
        stopped: Vec::new(),
        cleaning: None,
        cleaned: Instant::now(),
        done: Torment::default(),
    };
    tormentor.done.warped = can_warp(arena)?.then_some(0);
    // The judge would count shifts of a clock that cannot be shifted.
    let clock = File::create(arena.clock())?;
    clock.write_all_at(&0_i64.to_ne_bytes(), 0)?;
    if arena.has_seam()? {
        tormentor.clock = Some(clock);
        tormentor.done.jumps = Some(0);
    }
    // The tree exists before the readers and the first `clean` open it.
    arena.context(Lease::of(0))?.open()?;
    let mut readers = Vec::new();
    for number in 0..READERS {
        readers.push(start(&mut arena.part(None, &format!("reader {number}"))?)?);
    }
    let mut leases: Vec<Lease> =
        (0..options.workers).map(|place| Lease::of(place % options.leases.max(1))).collect();
    let at_item = leases.iter().copied().find(|lease| lease.kind == Kind::Item);
    leases.extend(at_item.iter().cycle().take(MORE_AT_ITEM));
    for lease in leases {
        let (worker, how) = tormentor.worker(lease)?;
        tormentor.workers.push(worker);
        tormentor.at.push((lease, how));
    }
    while !arena.over() {
        tormentor.tick()?;
    }
    tormentor.end(readers)?;
    Ok(tormentor.done)
}

impl Tormentor<'_> {
    fn worker(&mut self, lease: Lease) -> Outcomes<(Child, &'static str)> {
        let ways = match lease.kind {
            Kind::Busy => &WAYS[..LIBRARY],
            Kind::Item => &item::WAYS[..],
            _ => &WAYS[..],
        };
        let how = match self.options.broken {
            true => "broken",
            // A lease that outlives its time namespace is bound to no process.
            false if lease.kind == Kind::Warped && self.dice.bool() => "command",
            false => self.dice.choice(ways).copied().unwrap_or("plain"),
        };
        let role = format!("worker {} {how} {}", lease.at, self.dice.u64(..));
        let mut part = self.arena.part(Some(lease), &role)?;
        if lease.kind == Kind::Warped && self.dice.u32(..4) > 0 {
            self.warp(&mut part);
        }
        let child = start(part.stdout(Stdio::null()))?;
        self.log.say(&format!("start {} {} {} {how}", now_ns(), child.id(), lease.name()))?;
        Ok((child, how))
    }

    /// Puts a command into a time namespace of its own, where that is permitted.
    fn warp(&mut self, command: &mut Command) {
        if let Some(warped) = &mut self.done.warped {
            *warped += 1;
            self.arena.warp(command, self.dice.choice(SHIFTS_MS).unwrap_or(0));
        }
    }

    /// Sets the wall clock of the jumpy lease.
    fn jump(&mut self) -> Outcomes<()> {
        let (Some(clock), Some(jumps)) = (&self.clock, &mut self.done.jumps) else { return Ok(()) };
        let ms = self.dice.choice(JUMPS_MS).unwrap_or(0);
        clock.write_all_at(&(ms * 1_000_000).to_ne_bytes(), 0)?;
        *jumps += 1;
        self.log.say(&format!("jump {} {ms}", now_ns()))
    }

    fn tick(&mut self) -> Outcomes<()> {
        std::thread::sleep(Duration::from_micros(self.dice.u64(500..20_000)));
        self.continue_those(now_ns());
        self.look_after()?;
        self.clean()?;
        match self.dice.u32(..10) {
            0..3 => self.kill()?,
            3..6 => self.stop()?,
            6 => self.rob()?,
            7 => self.jump()?,
            _ => {}
        }
        self.spoil()
    }

    /// A worker that ended by itself is a finding; another takes its place.
    fn look_after(&mut self) -> Outcomes<()> {
        for at in 0..self.workers.len() {
            let Some(worker) = self.workers.get_mut(at) else { continue };
            if let Some(status) = worker.try_wait()? {
                let pid = worker.id();
                // At the end of the run a worker may end before this process does.
                if !self.arena.over() || !status.success() {
                    self.complain(pid, status);
                }
                self.replace(at)?;
            }
        }
        Ok(())
    }

    fn complain(&mut self, pid: u32, status: ExitStatus) {
        self.done.complaints.push(format!("process {pid} ended by itself: {status}"));
    }

    fn replace(&mut self, at: usize) -> Outcomes<()> {
        let Some((lease, _)) = self.at.get(at).copied() else { return Ok(()) };
        let (next, how) = self.worker(lease)?;
        if let (Some(worker), Some(place)) = (self.workers.get_mut(at), self.at.get_mut(at)) {
            (*worker, *place) = (next, (lease, how));
        }
        Ok(())
    }

    /// Picks any worker or, equally often, one that holds a lease now; returns also that lease.
    fn victim(&mut self) -> (usize, Option<Lease>) {
        // Half of the picks are of short leases: a replacement of a stopped holder is the rarest
        // case.
        let short = [1, 3, 4].get(self.dice.usize(..3)).copied().unwrap_or(1);
        let first = match self.dice.bool() {
            true => short % self.options.leases.max(1),
            false => self.dice.usize(..self.options.leases.max(1)),
        };
        let prefers_holders = self.dice.bool();
        for step in 0..self.options.leases {
            let lease = Lease::of((first + step) % self.options.leases);
            if prefers_holders && let Some(pid) = holder(self.arena, lease) {
                let is = |worker: &Child| {
                    pid.is_some_and(|pid| worker.id() == pid || parent_of(pid) == Some(worker.id()))
                };
                // Only the workers know which of them holds a lease that is bound to no process.
                let may = |(at, how): &(Lease, &str)| at.at == lease.at && *how == "command";
                let of = match pid {
                    Some(_) => self.workers.iter().position(is),
                    None => self.at.iter().position(may),
                };
                if let Some(at) = of {
                    return (at, Some(lease));
                }
            }
        }
        (self.dice.usize(..self.workers.len().max(1)), None)
    }

    /// Sends SIGKILL to a worker, or to one of the processes below it.
    fn kill(&mut self) -> Outcomes<()> {
        let (at, holds) = self.victim();
        let (Some(worker), Some((lease, how))) = (self.workers.get_mut(at), self.at.get(at)) else {
            return Ok(());
        };
        let whose = format!("{} {how} {}", worker.id(), lease.name());
        // Most stopped processes must survive, so that they notice their replacement.
        if is_stopped(&self.stopped, worker.id()) && self.dice.u32(..20) > 0 {
            return Ok(());
        }
        self.done.kills += 1;
        if (holds.is_some() || self.dice.u32(..3) == 0)
            && let Some((pid, fd)) = below(worker.id(), &mut self.dice)
        {
            self.log.say(&format!("kill {} {pid} {whose}", now_ns()))?;
            let _ = pidfd_send_signal(&fd, Signal::KILL);
            self.log.say(&format!("killed {} {pid}", now_ns()))?;
            return Ok(());
        }
        self.log.say(&format!("kill {} {} {whose}", now_ns(), worker.id()))?;
        worker.kill()?;
        self.log.say(&format!("killed {} {}", now_ns(), worker.id()))?;
        let status = worker.wait()?;
        self.log.say(&format!("dead {} {}", now_ns(), worker.id()))?;
        if status.code().is_some_and(|code| code != 0) {
            let pid = worker.id();
            self.complain(pid, status);
        }
        self.replace(at)
    }

    /// Sends SIGSTOP for a while, sometimes for longer than TTL and grace of a short lease.
    fn stop(&mut self) -> Outcomes<()> {
        if self.stopped.len() > self.workers.len() / 3 {
            return Ok(());
        }
        let (at, holds) = self.victim();
        let Some(worker) = self.workers.get(at) else { return Ok(()) };
        let short = holds.is_some_and(|lease| lease.is_short());
        let long = if short { self.dice.u32(..3) > 0 } else { self.dice.u32(..16) == 0 };
        let own = |pid: u32| Some((pid, open(pid)?));
        // A wrapper whose command is stopped keeps renewing, and the command of a stopped wrapper
        // leaves. A holder is replaced only if the process inside is the one that renews.
        let victim = match !(short && long) && self.dice.bool() {
            true => below(worker.id(), &mut self.dice).or_else(|| own(worker.id())),
            false => own(worker.id()),
        };
        let Some((pid, fd)) = victim else { return Ok(()) };
        // Two stops of one process would end together.
        if is_stopped(&self.stopped, pid) {
            return Ok(());
        }
        let ms = if long { self.dice.u64(300..1200) } else { self.dice.u64(1..200) };
        let lease = self.at.get(at).map_or(String::new(), |(lease, _)| lease.name());
        self.log.say(&format!("stop {} {pid} {ms} {lease}", now_ns()))?;
        let _ = pidfd_send_signal(&fd, Signal::STOP);
        self.stopped.push((now_ns() + ms * 1_000_000, pid, fd));
        self.done.stops += 1;
        self.done.long_stops += usize::from(long);
        Ok(())
    }

    fn continue_those(&mut self, due_ns: u64) {
        self.stopped.retain(|(until_ns, _, fd)| {
            let waits = *until_ns > due_ns;
            if !waits {
                let _ = pidfd_send_signal(fd, Signal::CONT);
            }
            waits
        });
    }

    fn rob(&mut self) -> Outcomes<()> {
        let wild = (0..self.options.leases).map(Lease::of).find(|l| l.kind == Kind::Wild);
        let Some(wild) = wild else { return Ok(()) };
        let what = rob::rob(self.arena, wild, &mut self.dice);
        self.done.robberies += 1;
        self.log.say(&format!("rob {} {what}", now_ns()))
    }

    /// Damages the index of the bus, or plants a file there.
    fn spoil(&mut self) -> Outcomes<()> {
        if self.dice.u32(..3) > 0 || !self.at.iter().any(|(lease, _)| lease.kind == Kind::Item) {
            return Ok(());
        }
        let what = self.spoiler.spoil(self.arena, &mut self.dice);
        self.done.spoilt += 1;
        self.log.say(&format!("spoil {} {what}", now_ns()))
    }

    /// Runs one `zeta clean` after another: of the tree, of the tree with another boot clock, of
    /// the jumpy node with its wall clock, or of the wild lease.
    fn clean(&mut self) -> Outcomes<()> {
        let Some((child, since)) = &mut self.cleaning else {
            if self.cleaned.elapsed() < CLEAN_PAUSE {
                return Ok(());
            }
            let way = self.dice.u32(..5);
            let kind = match way {
                0 => Some(Kind::Jumpy),
                1 => Some(Kind::Wild),
                _ => None,
            };
            let lease = (0..self.options.leases).map(Lease::of).find(|l| Some(l.kind) == kind);
            let mut clean = self.arena.zeta(lease, "-");
            clean.args(["clean", "-q"]).stdout(Stdio::null());
            if way == 2 {
                self.warp(&mut clean);
            }
            self.cleaning = Some((start(&mut clean)?, Instant::now()));
            return Ok(());
        };
        if let Some(status) = child.try_wait()? {
            self.done.cleanings += 1;
            if !status.success() {
                self.done.complaints.push(format!("zeta clean: {status}"));
            }
        } else if since.elapsed() > CLEAN_LIMIT {
            child.kill()?;
            child.wait()?;
            self.done.complaints.push("zeta clean did not end".to_owned());
        } else {
            return Ok(());
        }
        (self.cleaning, self.cleaned) = (None, Instant::now());
        Ok(())
    }

    /// Lets every worker finish its last round. One that does not finish is a finding.
    fn end(&mut self, readers: Vec<Child>) -> Outcomes<()> {
        self.continue_those(u64::MAX);
        let limit = Instant::now() + LAST_ROUND;
        let mut crowd = std::mem::take(&mut self.workers);
        crowd.extend(readers);
        crowd.extend(self.cleaning.take().map(|(child, _)| child));
        for mut child in crowd {
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break Some(status);
                }
                if Instant::now() >= limit {
                    break None;
                }
                std::thread::sleep(Duration::from_millis(2));
            };
            match status {
                Some(status) if status.success() => {}
                Some(status) => self.complain(child.id(), status),
                None => {
                    let pid = child.id();
                    self.done.complaints.push(format!("process {pid} did not end"));
                    self.log.say(&format!("kill {} {pid}", now_ns()))?;
                    child.kill()?;
                    self.log.say(&format!("killed {} {pid}", now_ns()))?;
                    child.wait()?;
                }
            }
        }
        Ok(())
    }
}

/// Reports whether a time namespace is permitted and has the requested boot clock.
fn can_warp(arena: &Arena) -> Outcomes<bool> {
    let mut part = arena.part(None, "clock")?;
    arena.warp(&mut part, 100_000_000);
    let before = now_ns();
    let Ok(child) = start(part.stdout(Stdio::piped())) else { return Ok(false) };
    let said = String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned();
    let clock = |line: &str| line.split_once("clock ")?.1.trim().parse::<u64>().ok();
    let clock = said.lines().find_map(clock);
    Ok(clock.is_some_and(|clock| (before..=now_ns()).contains(&clock)))
}

fn is_stopped(stopped: &[(u64, u32, OwnedFd)], pid: u32) -> bool {
    stopped.iter().any(|(_, stopped, _)| *stopped == pid)
}

/// Returns the process that the record of a lease names, if any.
fn holder(arena: &Arena, lease: Lease) -> Option<Option<u32>> {
    let nodes = std::fs::read_dir(arena.state(Some(lease)).join("nodes")).ok()?;
    let file = format!("{}.lock", lease.name());
    let texts = nodes.flatten().filter_map(|n| std::fs::read_to_string(n.path().join(&file)).ok());
    let pid = |text: String| text.lines().find_map(|line| line.strip_prefix("pid: ")?.parse().ok());
    texts.map(pid).next()
}

fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()
}

/// Returns a process below a worker as a descriptor: its pid may be reused before the signal.
fn below(pid: u32, dice: &mut fastrand::Rng) -> Option<(u32, OwnedFd)> {
    let mut found = None;
    let mut parent = pid;
    // A worker has at most a wrapper and its command below it.
    for depth in 0..2 {
        let list =
            std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        let Some(child) = list.split_whitespace().next().and_then(|pid| pid.parse().ok()) else {
            break;
        };
        let Some(fd) = open(child) else { break };
        // Checked after the open, so the descriptor is certainly of a child of the worker.
        if parent_of(child) != Some(parent) {
            break;
        }
        found = Some((child, fd));
        if depth == 0 && dice.bool() {
            break;
        }
        parent = child;
    }
    found
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

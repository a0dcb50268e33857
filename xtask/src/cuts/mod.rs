//! `cargo xtask cuts`: the power is cut while a blob is saved on FAT, and a valid one must be left.
//!
//! Inside a virtual machine the code of zeta saves one blob after the other on a real vfat (`cuts`
//! in `testing`). At random moments the machine is stopped (SIGSTOP; the last time SIGKILL) and its
//! disk is copied: all writes that the guest had sent to its disk are there, in their order, and
//! all data that it only held in memory is lost. For the same moment a second disk is made that
//! also lost, sector by sector, what the guest had not flushed, as a disk with a cache of its own
//! may. A second machine then mounts all of these disks and prints what it finds.
//!
//! The order of the textbooks is cut in the same way. It must lose data, or the run has not shown
//! anything.

mod guest;
mod log;

use std::fs::{self, File};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

pub use self::guest::Machine;

/// The size of the disk in bytes: as small as FAT32 may be, so that copying is fast.
const DISK: u64 = 16 * 1024 * 1024;
/// The number of cuts of one machine before a new one starts on an empty disk.
const PER_MACHINE: usize = 25;
const TEXTBOOK_ROUNDS: usize = 10;
/// The number of cuts in the test of the suite; in each of them the textbook's order loses data.
const FEW_ROUNDS: usize = 3;

/// What a disk does with data that was written and not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// All of it is kept.
    Keeps,
    /// Each sector is lost with even chance.
    Loses,
}

/// A cut, and the numbers that must be left.
#[derive(Debug, Clone)]
pub struct Cut {
    order: &'static str,
    disk: Disk,
    /// The number of sectors that the disk lost.
    lost: usize,
    /// The last number that the guest reported as saved; 0 for none.
    saved: u64,
    /// The last number that the guest began to save.
    begun: u64,
}

/// What is left after one cut; `None` for what is not a whole blob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    current: Option<u64>,
    backup: Option<u64>,
}

/// The result of one cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Whole,
    /// Only the backup has a valid number.
    Backup,
    Lost,
}

fn judge(cut: &Cut, left: Left) -> Verdict {
    let good = |number: Option<u64>| {
        number.is_some_and(|number| number >= cut.saved.max(1) && number <= cut.begun)
    };
    match (good(left.current), good(left.backup)) {
        (true, _) => Verdict::Whole,
        (false, true) => Verdict::Backup,
        // Before the first save was acknowledged there is nothing to lose.
        (false, false) if cut.saved == 0 => Verdict::Whole,
        (false, false) => Verdict::Lost,
    }
}

/// `cargo xtask cuts [--rounds N] [--order ours|textbook]`.
pub fn run(args: &[&str]) -> Result<bool> {
    let (mut rounds, mut orders) = (PER_MACHINE * 2, vec!["textbook", "ours"]);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match (*word, words.next().copied()) {
            ("--rounds", Some(number)) => rounds = number.parse().context("--rounds N")?,
            ("--order", Some("ours")) => orders = vec!["ours"],
            ("--order", Some("textbook")) => orders = vec!["textbook"],
            _ => bail!("usage: cargo xtask cuts [--rounds N] [--order ours|textbook]"),
        }
    }
    play(&Machine::prepare()?, rounds, &orders)
}

/// Runs a few cuts, as one test of the suite.
pub fn run_few(machine: &Machine) -> Result<bool> {
    play(machine, FEW_ROUNDS, &["textbook", "ours"])
}

/// Cuts, checks and reports; true if zeta's order lost nothing and the textbook's order lost data.
fn play(machine: &Machine, rounds: usize, orders: &[&'static str]) -> Result<bool> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 | 1;
    println!("cuts: seed {seed} (of the moments; the guest's speed is its own)");
    let mut random = Random(seed);
    let copies = machine.copies();
    File::create(&copies)?;
    let start = Instant::now();
    let mut cuts: Vec<Cut> = Vec::new();
    for order in orders.iter().copied() {
        let mut left = match (order, orders.len()) {
            ("textbook", 2) => rounds.min(TEXTBOOK_ROUNDS),
            _ => rounds,
        };
        while left > 0 {
            let now = left.min(PER_MACHINE);
            machine.cut(order, now, &mut random, &copies, &mut cuts)?;
            left -= now;
        }
    }
    let found = machine.look(&copies, cuts.len())?;
    let seconds = start.elapsed().as_secs_f64();
    let mut good = true;
    for order in orders.iter().copied() {
        for disk in [Disk::Keeps, Disk::Loses] {
            let of_this = |cut: &Cut| cut.order == order && cut.disk == disk;
            let pairs = cuts.iter().zip(&found).filter(|(cut, _)| of_this(cut));
            good &= tell(order, disk, pairs);
        }
    }
    println!(
        "cuts: {} disks in {seconds:.0} s, {:.1} s each",
        cuts.len(),
        seconds / cuts.len() as f64
    );
    fs::remove_file(&copies)?;
    Ok(good)
}

fn tell<'a>(order: &str, disk: Disk, cuts: impl Iterator<Item = (&'a Cut, &'a Left)>) -> bool {
    let mut counts = [0usize; 3];
    let mut sectors = 0;
    for (cut, left) in cuts {
        sectors += cut.lost;
        let verdict = judge(cut, *left);
        if let Some(count) = counts.get_mut(verdict as usize) {
            *count += 1;
        }
        if verdict == Verdict::Lost && order == "ours" {
            println!("cuts: {order}: lost: saved {}, begun {}, {left:?}", cut.saved, cut.begun);
        }
    }
    let [whole, backup, lost] = counts;
    let disk = match disk {
        Disk::Keeps => "kept all".to_owned(),
        Disk::Loses => format!("lost {sectors} unflushed sectors"),
    };
    println!(
        "cuts: {order}, the disk {disk}: {} cuts, {whole} left the blob whole, {backup} its \
         backup, {lost} LOST it",
        whole + backup + lost
    );
    match order {
        "ours" => lost == 0,
        _ if lost == 0 => {
            println!("cuts: the textbook's order lost nothing: this run has shown nothing");
            false
        }
        _ => true,
    }
}

/// Random moments from a seed (xorshift).
pub struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_lost_if_neither_file_is_as_new_as_the_last_acknowledged_save() {
        let disk = Disk::Keeps;
        let cut = Cut { order: "ours", disk, lost: 0, saved: 5, begun: 6 };
        let left = |current, backup| Left { current, backup };
        assert_eq!(judge(&cut, left(Some(5), Some(4))), Verdict::Whole);
        assert_eq!(judge(&cut, left(Some(6), Some(5))), Verdict::Whole);
        assert_eq!(judge(&cut, left(None, Some(5))), Verdict::Backup);
        assert_eq!(judge(&cut, left(Some(4), Some(3))), Verdict::Lost);
        assert_eq!(judge(&cut, left(None, None)), Verdict::Lost);
        assert_eq!(judge(&cut, left(Some(7), None)), Verdict::Lost, "nobody saved that");
        let before = Cut { order: "ours", disk, lost: 0, saved: 0, begun: 1 };
        assert_eq!(judge(&before, left(None, None)), Verdict::Whole);
    }
}

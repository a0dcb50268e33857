//! `cargo xtask cuts`: the power is cut while a blob is saved on FAT, and a valid one must be left.
//!
//! Inside a virtual machine our own code saves one blob after the other on a real vfat (`cuts`
//! in `testing`). At random moments the machine is stopped dead (SIGSTOP; at the last one
//! SIGKILL) and its disk is copied: whatever the guest had given to its disk is there, in the order
//! in which it was given, and whatever it only held in memory is gone. From the same moment a
//! second disk is made that also lost, sector by sector, what the guest had not flushed, as a disk
//! with a cache of its own may. A second machine then mounts all of them and says what it finds.
//!
//! No proof without a conviction: the order of the textbooks is cut in the same way, and a run in
//! which it loses nothing has not shown anything.

mod guest;
mod log;

use std::fs::{self, File};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

pub use self::guest::Machine;

/// Bytes of the disk: as small as FAT32 may be, so that it is copied in no time.
const DISK: u64 = 16 * 1024 * 1024;
/// How many cuts one machine serves before it is started anew on an empty disk.
const PER_MACHINE: usize = 25;
const TEXTBOOK_ROUNDS: usize = 10;
/// How many cuts are a test of the suite: each of them convicts the textbook's order.
const FEW_ROUNDS: usize = 3;

/// What a disk does with what was given to it and not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It is kept, all of it.
    Keeps,
    /// It is lost, sector by sector, with even chance.
    Loses,
}

/// What was cut, and what has to be left.
#[derive(Debug, Clone)]
pub struct Cut {
    order: &'static str,
    disk: Disk,
    /// Sectors that the disk lost.
    lost: usize,
    /// The last number of which the guest said that it is saved; 0 for none.
    saved: u64,
    /// The last number that it began.
    begun: u64,
}

/// What is left after one cut; `None` for what is not a whole blob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    current: Option<u64>,
    backup: Option<u64>,
}

/// How one cut is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Whole,
    /// Only the backup is good enough.
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

/// A few cuts, as one test of the suite.
pub fn run_few(machine: &Machine) -> Result<bool> {
    play(machine, FEW_ROUNDS, &["textbook", "ours"])
}

/// Cuts, looks, and tells; true if ours lost nothing and the textbook's was convicted.
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

/// Moments from a seed (xorshift).
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

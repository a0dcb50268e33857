//! The line that says how much of the index is valid, and what a look adds to it.

use std::fmt::Write as _;

/// The version, and three words that earlier builds read: the modification time of the directory
/// as of which the index is true, whether that can be relied upon, and how many files may still be
/// being written. They say that it cannot, so such a build looks again.
const OLDER: &str = "1 000000000000000000000000000000 0 0000000000";

/// How much of the index is valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Valid bytes of `names`.
    pub(super) names: u64,
    /// Valid bytes of `pack`.
    pub(super) pack: u64,
    /// Messages, as of the last look, and those that were published since.
    pub(super) count: u64,
    /// A number that `names` and `pack` get when they are begun anew; 0 if nothing is known.
    pub(super) epoch: u64,
}

/// What a look adds to the index.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) names: String,
    pub(super) pack: Vec<u8>,
}

impl Batch {
    pub(super) fn add(&mut self, next: &mut State, file: &str, text: &[u8], mtime_us: i64) {
        let (at, len) = (next.pack, text.len());
        let _ = writeln!(self.names, "{file} {at} {len} {mtime_us}");
        self.pack.extend_from_slice(text);
        next.pack += len as u64;
    }

    /// A file that is gone.
    pub(super) fn forget(&mut self, file: &str) {
        self.names.push_str(file);
        self.names.push_str(" 0 -1 0\n");
    }
}

impl State {
    /// A number for `epoch` that was not used before, of the width that it has here.
    pub(super) fn anew(random: u128) -> u64 {
        1 + (random % 9_999_999_998) as u64
    }

    /// Fixed in width, because it is written in place.
    pub(super) fn render(&self) -> String {
        let body = format!(
            "{OLDER} {:015} {:015} {:010} {:010}",
            self.names, self.pack, self.count, self.epoch
        );
        format!("{body} {:016x}\n", sum(&body))
    }

    pub(super) fn parse(line: &str) -> Option<State> {
        let (body, check) = line.rsplit_once(' ')?;
        if u64::from_str_radix(check, 16).ok()? != sum(body) {
            return None;
        }
        let mut words = body.split(' ');
        (words.next()? == "1").then_some(())?;
        let mut words = words.skip(3);
        let mut number = || words.next()?.parse().ok();
        Some(State { names: number()?, pack: number()?, count: number()?, epoch: number()? })
    }
}

/// FNV-1a: tells a torn line, and no more is asked of it.
fn sum(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

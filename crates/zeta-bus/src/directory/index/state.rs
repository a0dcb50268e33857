//! The line that says how much of the index is valid, for which directory and which boot.

use zeta_core::sum::hash;

/// The version. Earlier builds read 1 or 2, and begin anew.
const VERSION: &str = "3";
/// Words of [`State::render`] between the version and the sum.
const WORDS: usize = 9;

/// How much of the index is valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Where [`State::sum`] began: a random number that an index gets when it is begun anew; 0 if
    /// nothing is known.
    pub(super) epoch: u64,
    /// Valid bytes of `names`.
    pub(super) names: u64,
    /// The sum of their lines.
    pub(super) sum: u64,
    /// Valid bytes of `pack`.
    pub(super) pack: u64,
    /// Names of the directory that have a line.
    pub(super) live: u64,
    /// The sum of these names, in any order.
    pub(super) set: u64,
    /// Those of them that are messages.
    pub(super) count: u64,
}

/// What the index belongs to. Of another directory, or of another boot, it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) directory: (u64, u64),
    pub(super) boot: String,
}

impl State {
    /// The state of an index that knows nothing yet.
    pub(super) fn anew(random: u128) -> State {
        let epoch = (random as u64).max(1);
        State { epoch, sum: epoch, ..State::default() }
    }

    /// Fixed in width, because it is written in place.
    pub(super) fn render(&self, owner: &Owner) -> String {
        let State { epoch, names, sum, pack, live, set, count } = self;
        let (dev, ino) = owner.directory;
        let body = format!(
            "{VERSION} {epoch:016x} {names:015} {sum:016x} {pack:015} {live:010} {set:016x} \
             {count:010} {dev:016x}-{ino:016x} {:>36}",
            if owner.boot.is_empty() { "unknown" } else { &owner.boot }
        );
        format!("{body} {:016x}\n", hash(body.as_bytes()))
    }

    /// Reads a line; `None` if it is torn, or of another index.
    pub(super) fn parse(line: &str, owner: &Owner) -> Option<State> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse().ok();
        let hex = |at: usize| u64::from_str_radix(words.get(at)?, 16).ok();
        let state = State {
            epoch: hex(1)?,
            names: number(2)?,
            sum: hex(3)?,
            pack: number(4)?,
            live: number(5)?,
            set: hex(6)?,
            count: number(7)?,
        };
        // Everything else must be as it would be written now.
        let same = words.len() == WORDS + 2 && state.render(owner).trim_end() == line;
        (state.epoch != 0 && same).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_and_only_for_its_owner() {
        let owner = Owner { directory: (5, 9), boot: "a-b".to_owned() };
        let state = State { names: 7, pack: 8, live: 2, set: u64::MAX, count: 1, ..State::anew(3) };
        let text = state.render(&owner);
        let line = text.trim_end();
        assert_eq!(State::parse(line, &owner), Some(state));
        let others = [
            Owner { directory: (5, 10), ..owner.clone() },
            Owner { directory: (6, 9), ..owner.clone() },
            Owner { boot: "a-c".to_owned(), ..owner.clone() },
            Owner { boot: String::new(), ..owner.clone() },
        ];
        others.iter().for_each(|other| assert_eq!(State::parse(line, other), None, "{other:?}"));
        for at in 0..line.len() {
            let mut damaged = line.as_bytes().to_vec();
            damaged[at] ^= 1;
            let damaged = String::from_utf8_lossy(&damaged).into_owned();
            assert_eq!(State::parse(&damaged, &owner), None, "{damaged}");
            assert_eq!(State::parse(&line[..at], &owner), None);
        }
        assert_eq!(State::parse(State::default().render(&owner).trim_end(), &owner), None);
    }
}

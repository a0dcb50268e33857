//! The marks of unread messages, counted by recipient as they come and go.

use std::collections::{BTreeMap, BTreeSet};

use zeta_core::bus::Address;

use crate::messages::inbox::parts;

/// The marks that are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// By the time at which they count no more, in µs.
    by_end: BTreeSet<(i64, String)>,
    counts: BTreeMap<String, usize>,
}

impl Marks {
    /// Adds or removes a mark.
    pub(super) fn set(&mut self, mark: &str, is_there: bool) {
        let Some((to, end_us, _)) = parts(mark) else { return };
        let key = (end_us, mark.to_owned());
        let is_changed = match is_there {
            true => self.by_end.insert(key),
            false => self.by_end.remove(&key),
        };
        if !is_changed {
            return;
        }
        let count = self.counts.entry(agent_of(&to)).or_default();
        match is_there {
            true => *count += 1,
            false => *count = count.saturating_sub(1),
        }
    }

    /// Forgets the marks whose messages have expired.
    pub(super) fn expire(&mut self, now_us: i64) {
        while let Some((_, mark)) = self.by_end.first().filter(|(end_us, _)| *end_us <= now_us) {
            let mark = mark.clone();
            self.set(&mark, false);
        }
    }

    /// When the first mark counts no more.
    pub(super) fn until_us(&self) -> Option<i64> {
        self.by_end.first().map(|(end_us, _)| *end_us)
    }

    /// The number of unread messages by agent.
    pub(super) fn counts(&self) -> &BTreeMap<String, usize> {
        &self.counts
    }
}

/// The agent whose record an address has: `otto/cli` is `otto-cli`.
fn agent_of(address: &str) -> String {
    match Address::new(address) {
        Ok(address) => address.as_label(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_once_until_they_end() {
        let mut marks = Marks::default();
        for mark in ["otto+cli,900,a", "otto+cli,500,b", "otto-cli,700,c", "vera,100,a", "odd"] {
            marks.set(mark, true);
            marks.set(mark, true);
        }
        let count = |marks: &Marks, name: &str| marks.counts().get(name).copied().unwrap_or(0);
        assert_eq!((count(&marks, "otto-cli"), count(&marks, "vera")), (3, 1));
        assert_eq!(marks.until_us(), Some(100));
        marks.expire(500);
        assert_eq!((count(&marks, "otto-cli"), count(&marks, "vera")), (2, 0));
        marks.set("otto-cli,700,c", false);
        marks.set("otto-cli,700,c", false);
        assert_eq!((count(&marks, "otto-cli"), marks.until_us()), (1, Some(900)));
    }
}

//! When a line counts as down, and when it is tried again.
//!
//! The state is a count of what is left of a time, and no moment: so a clock that jumps ends
//! nothing, and a file that was kept through a reboot still says what it said.

use serde::{Deserialize, Serialize};

use super::policy::Failover;
use crate::name::Label;

/// The health of a line, or of one persona on a line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Failed ticks in a row.
    pub failures: u32,
    /// What is left of the time for which it is down, in ms; 0 if it is not.
    pub down_ms: u64,
    /// How often it went down in a row.
    pub times: u32,
    /// It was down, and one persona may try it.
    pub on_trial: bool,
    /// The persona that tries it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tried_by: Option<Label>,
    /// The persona that took it down by its word alone; it is not the one that tries it, and takes
    /// no other line down alone, until this one has been well for long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub taken_by: Option<Label>,
    /// How long it has been well, in ms; it counts up to the longest time for which it is down.
    pub well_ms: u64,
}

impl Health {
    /// Returns whether it says no more than that nothing is known.
    pub fn is_plain(&self) -> bool {
        self.failures == 0 && self.down_ms == 0 && self.times == 0 && !self.on_trial
    }

    /// Lets time go by.
    pub fn pass(&mut self, elapsed_ms: u64, failover: &Failover) {
        if self.down_ms > 0 {
            // A policy that was made shorter meanwhile counts at once.
            let left = self.down_ms.min(failover.down_max_ms);
            self.down_ms = left.saturating_sub(elapsed_ms);
            self.on_trial = self.down_ms == 0;
        } else if !self.on_trial {
            self.well_ms = self.well_ms.saturating_add(elapsed_ms).min(failover.down_max_ms);
            // One that stays well is not made to wait for what it did long ago.
            if self.well_ms >= failover.down_max_ms {
                (self.times, self.taken_by) = (0, None);
            }
        }
    }

    /// Counts a tick that went well.
    pub fn succeed(&mut self) {
        self.failures = 0;
        if self.down_ms == 0 && self.on_trial {
            (self.on_trial, self.tried_by, self.well_ms) = (false, None, 0);
        }
    }

    /// Counts a failed tick; true if it goes down by it.
    pub fn fail(&mut self, failover: &Failover) -> bool {
        self.failures = self.failures.saturating_add(1);
        (self.on_trial || self.failures >= failover.failures) && self.go_down(failover, None)
    }

    /// Takes it down, by the word of one persona or by more than that; true if it was not.
    pub fn go_down(&mut self, failover: &Failover, by: Option<&Label>) -> bool {
        let is_known = self.down_ms > 0 || self.on_trial;
        // What another one says of it, too, is not the word of one.
        let is_word_of_one = !is_known || self.taken_by.as_ref() == by;
        self.taken_by = by.filter(|_| is_word_of_one).cloned();
        if self.down_ms > 0 {
            return false;
        }
        let doubled = failover.down_ms.checked_shl(self.times.min(63)).unwrap_or(u64::MAX);
        let doubled =
            if doubled >> self.times.min(63) == failover.down_ms { doubled } else { u64::MAX };
        self.down_ms = doubled.min(failover.down_max_ms).max(1);
        self.times = self.times.saturating_add(1);
        (self.failures, self.on_trial, self.tried_by, self.well_ms) = (0, false, None, 0);
        true
    }
}

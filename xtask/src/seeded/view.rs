//! Bugs in the view that stays up to date: each one makes it believe what it must not.

use super::bugs::{Bug, bug};

const VIEW: &str = "crates/zeta-state/src/presence/view.rs";

const fn suite(test: &'static str) -> [&'static str; 5] {
    ["-p", "zeta", "--test", "suite", test]
}

/// All bugs of this subject.
pub const BUGS: [Bug; 5] = [
    bug(
        "the times of a node are believed in the tick of its change",
        VIEW,
        "        self.stamp = stamp.filter(|stamp| judge_settled(stamp.times, wall_us));
    }",
        "        self.stamp = stamp.filter(|_| wall_us > 0);
    }",
        &suite("it::view::a_change_in_the_same_tick"),
    ),
    bug(
        "the times of all nodes are believed in the tick of a change",
        VIEW,
        "            self.stamp = stamp.filter(|stamp| judge_settled(stamp.times, wall_us));
        }",
        "            self.stamp = stamp;
        }",
        &suite("it::view::a_change_in_the_same_tick"),
    ),
    bug(
        "lost events are not noticed",
        VIEW,
        "Event::Lost => self.lost = true,",
        "Event::Lost => self.lost = false,",
        &suite("it::view::lost_events_cost_no_state"),
    ),
    bug(
        "files that are written in place are not looked at",
        VIEW,
        "&& self.in_place.iter().all(unchanged)",
        "&& self.in_place.iter().all(|file| unchanged(file) || file.len() > 1)",
        &suite("it::view::a_file_that_is_written_in_place"),
    ),
    bug(
        "a record that could not be read is not read again",
        VIEW,
        "        self.retry(on_change);\n",
        "",
        &suite("it::view::a_record_whose_mode_is_mended"),
    ),
];

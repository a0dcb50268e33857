//! Ages and rests as they are seen: the time of a frame, and when the first text of it changes by
//! time alone. So an idle view sleeps until then.

use std::cell::Cell;

/// A second, in µs.
pub const SECOND_US: i64 = 1_000_000;

/// The units of a short duration, the longest first, from which length on they are used.
const UNITS: [(i64, i64, &str); 4] = [
    (2 * 86_400 * SECOND_US, 86_400 * SECOND_US, "d"),
    (3_600 * SECOND_US, 3_600 * SECOND_US, "h"),
    (60 * SECOND_US, 60 * SECOND_US, "m"),
    (0, SECOND_US, "s"),
];

/// The time of a frame. What asks it for a text also says until when that text is right.
#[derive(Debug)]
pub struct Clock {
    now_us: i64,
    next_us: Cell<i64>,
}

impl Clock {
    /// The time of a frame that is drawn now: that of the last full second, so that all texts of a
    /// second change at once.
    pub fn at(wall_us: i64) -> Clock {
        let now_us = wall_us - wall_us.rem_euclid(SECOND_US);
        Clock { now_us, next_us: Cell::new(i64::MAX) }
    }

    /// The moment that the frame shows.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// When the first text of the frame is wrong; `None` if none depends on the time.
    pub fn next_us(&self) -> Option<i64> {
        let next = self.next_us.get();
        // Up to the next full second, as frames are.
        let whole = next.checked_add(SECOND_US - 1).map(|up| up - up.rem_euclid(SECOND_US));
        whole.filter(|_| next != i64::MAX)
    }

    fn changes_at(&self, at_us: i64) {
        if at_us > self.now_us {
            self.next_us.set(self.next_us.get().min(at_us));
        }
    }

    /// How long ago a moment was: `42s`, `12m`, `5h`, `3d`. A moment that lies ahead is `0s` ago.
    pub fn age(&self, at_us: i64) -> String {
        let age = self.now_us.saturating_sub(at_us).max(0);
        let (unit, word) = unit(age);
        let count = age / unit;
        self.changes_at(at_us.saturating_add((count + 1).saturating_mul(unit)));
        format!("{count}{word}")
    }

    /// How long it is until a moment, as [`Clock::age`]; `0s` if it is over.
    pub fn rest(&self, at_us: i64) -> String {
        let rest = at_us.saturating_sub(self.now_us).max(0);
        let (unit, word) = unit(rest);
        let count = rest / unit;
        if rest > 0 {
            self.changes_at(at_us.saturating_sub(count.saturating_mul(unit)).saturating_add(1));
        }
        format!("{count}{word}")
    }

    /// How many of `cells` cells of a bar are full: all of them at the beginning of `whole_us`.
    pub fn bar(&self, until_us: i64, whole_us: i64, cells: u16) -> u16 {
        let (whole, all) = (i128::from(whole_us.max(1)), i128::from(cells.max(1)));
        let rest = i128::from(until_us.saturating_sub(self.now_us)).clamp(0, whole);
        let full = (rest * all + whole - 1) / whole;
        if full > 0 {
            let left = i64::try_from(whole * (full - 1) / all).unwrap_or_default();
            self.changes_at(until_us.saturating_sub(left));
        }
        u16::try_from(full).unwrap_or(cells).min(cells)
    }

    /// The time of day in UTC, the date of another day, or the month of another year: `18:43:51`,
    /// `11-28`, `2025-11`.
    pub fn moment(&self, at_us: i64) -> String {
        let text = zeta_core::time::format_utc(at_us);
        let today = zeta_core::time::format_utc(self.now_us);
        let is_same = |len: usize| text.get(..len) == today.get(..len);
        let part = match (is_same(10), is_same(4)) {
            (true, _) => text.get(11..19),
            (false, true) => text.get(5..10),
            (false, false) => text.get(..7),
        };
        part.unwrap_or_default().to_owned()
    }
}

/// The unit of a duration, and its word.
fn unit(length_us: i64) -> (i64, &'static str) {
    let found = UNITS.iter().find(|(from, _, _)| length_us >= *from);
    found.map_or((SECOND_US, "s"), |(_, unit, word)| (*unit, *word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_342_272_123_456;
    const FRAME: i64 = 1_795_342_272_000_000;

    #[test]
    fn ages_are_short_and_say_when_they_change() {
        for (ago_s, text, next_s) in [
            (0, "0s", 1),
            (42, "42s", 1),
            (59, "59s", 1),
            (60, "1m", 60),
            (754, "12m", 26),
            (3_600, "1h", 3_600),
            (172_799, "47h", 1),
            (172_800, "2d", 86_400),
            (-5, "0s", 6),
        ] {
            let clock = Clock::at(NOW);
            assert_eq!(clock.age(FRAME - ago_s * SECOND_US), text);
            assert_eq!(clock.next_us(), Some(FRAME + next_s * SECOND_US), "{text}");
        }
    }

    #[test]
    fn rests_are_short_and_say_when_they_change() {
        for (left_s, text, next_s) in
            [(0, "0s", None), (42, "42s", Some(1)), (60, "1m", Some(1)), (119, "1m", Some(60))]
        {
            let clock = Clock::at(NOW);
            assert_eq!(clock.rest(FRAME + left_s * SECOND_US), text);
            let next = next_s.map(|next_s| FRAME + next_s * SECOND_US);
            assert_eq!(clock.next_us(), next, "{text}");
        }
        assert_eq!(Clock::at(NOW).rest(i64::MIN), "0s");
    }

    #[test]
    fn a_moment_of_another_year_is_not_one_of_this() {
        let year_us = 365 * 86_400 * SECOND_US;
        for (at_us, text) in [
            (NOW, "10:11:12"),
            (NOW - 86_400 * SECOND_US, "11-21"),
            (NOW - year_us, "2025-11"),
            (NOW + year_us, "2027-11"),
        ] {
            assert_eq!(Clock::at(NOW).moment(at_us), text);
        }
    }

    #[test]
    fn a_bar_is_full_at_the_beginning_and_empty_at_the_end() {
        for (left_s, full, next_s) in
            [(100, 10, Some(10)), (91, 10, Some(1)), (90, 9, Some(10)), (1, 1, Some(1))]
        {
            let clock = Clock::at(NOW);
            let shown = clock.bar(FRAME + left_s * SECOND_US, 100 * SECOND_US, 10);
            assert_eq!(shown, full, "{left_s} s");
            assert_eq!(clock.next_us(), next_s.map(|next_s| FRAME + next_s * SECOND_US));
        }
        let clock = Clock::at(NOW);
        assert_eq!(clock.bar(FRAME - 1, 100, 10), 0);
        assert_eq!(clock.bar(i64::MAX, 1, 10), 10);
        assert_eq!(clock.bar(i64::MIN, i64::MIN, 0), 0);
        assert_eq!(Clock::at(NOW).next_us(), None, "nothing was asked");
    }

    /// The heart of an idle view: until the moment that a clock names, no text of it is another.
    #[test]
    fn nothing_changes_before_the_moment_that_is_named() {
        let shown = |clock: &Clock, at: i64| {
            (clock.age(at), clock.rest(at), clock.bar(at, 97 * SECOND_US, 12))
        };
        for apart_s in (-4_000..4_000).step_by(37).chain([86_400, -86_400, 200_000]) {
            let at = NOW + apart_s * SECOND_US + 333_333;
            let clock = Clock::at(NOW);
            let before = shown(&clock, at);
            let Some(next) = clock.next_us() else { continue };
            let mut later = FRAME;
            while later < next && later < FRAME + 70 * SECOND_US {
                assert_eq!(shown(&Clock::at(later), at), before, "{apart_s} s");
                later += SECOND_US;
            }
            assert_ne!(shown(&Clock::at(next), at), before, "{apart_s} s: woken for nothing");
        }
    }
}

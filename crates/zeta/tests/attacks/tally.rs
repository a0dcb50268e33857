//! Counting refusals: how often an attack was tried and refused, by side and by way of walking.

use crate::arena::{Arena, OUTSIDER, Out, Sharing, VICTIM, WAYS, is_root, sharings, snapshot};
use crate::skip::{append, skip};

/// The account of one number of the table.
pub struct Tally {
    number: &'static str,
    what: &'static str,
    /// Tried and refused, by an outsider and by an insider.
    outsider: (u32, u32),
    insider: (u32, u32),
    /// How many of them without `openat2`.
    fallback: u32,
    /// The way of what is counted now.
    forced: bool,
    note: String,
}

/// A call and what must come of it: its status, or [`ANY`], and words that must be in its answer.
pub type Call<'a> = (&'a str, i32, &'a str);

/// Done or refused, as long as nothing outside was touched.
pub const ANY: i32 = -1;

impl Tally {
    pub fn new(number: &'static str, what: &'static str) -> Tally {
        let (outsider, insider) = Default::default();
        Tally { number, what, outsider, insider, fallback: 0, forced: false, note: String::new() }
    }

    /// What is counted from here on walks this way.
    pub fn way(&mut self, way: &str) {
        self.forced = way == "1";
    }

    /// Something else that is worth a word in the table.
    pub fn note(&mut self, note: &str) {
        self.note = format!("; {note}");
    }

    /// An outsider tried; was it refused?
    #[track_caller]
    pub fn outsider(&mut self, refused: bool, what: &str) {
        self.outsider.0 += 1;
        self.fallback += u32::from(self.forced);
        self.outsider.1 += u32::from(refused);
        assert!(refused, "{}: an outsider got through: {what}", self.number);
    }

    /// An insider tried; was it refused, or named and bounded?
    #[track_caller]
    pub fn insider(&mut self, refused: bool, what: &str) {
        self.insider.0 += 1;
        self.fallback += u32::from(self.forced);
        self.insider.1 += u32::from(refused);
        assert!(refused, "{}: an insider got through: {what}", self.number);
    }

    /// Many tries at once.
    pub fn add_insider(&mut self, tried: u32, refused: u32) {
        self.insider.0 += tried;
        self.fallback += if self.forced { tried } else { 0 };
        self.insider.1 += refused;
    }

    /// As [`Tally::add_insider`], for an outsider.
    pub fn add_outsider(&mut self, tried: u32, refused: u32) {
        self.outsider.0 += tried;
        self.fallback += if self.forced { tried } else { 0 };
        self.outsider.1 += refused;
    }

    /// One call as the victim, both ways. The side counts it.
    #[track_caller]
    pub fn calls(&mut self, arena: &Arena, by_outsider: bool, calls: &[Call<'_>]) {
        for way in WAYS {
            self.way(way);
            for (words, status, tells) in calls {
                let out = crate::arena::run(arena.cmd(VICTIM, words).env("ZETA_NO_OPENAT2", way));
                let what = format!("{words} (ZETA_NO_OPENAT2={way}, {:?}): {out:?}", arena.sharing);
                let good = judge(&out, *status) && out.said().contains(tells);
                match by_outsider {
                    true => self.outsider(good, &what),
                    false => self.insider(good, &what),
                }
                arena.assert_safe(&what);
            }
        }
        self.forced = false;
    }

    /// Something planted inside the tree by a script: an outsider must fail to plant it, and what
    /// an insider plants must be refused by each call. `group_modes` says that in a group's tree
    /// the modes keep the insider from it, too.
    #[track_caller]
    pub fn inside(&mut self, plant: &str, group_modes: bool, calls: &[Call<'_>]) {
        for sharing in sharings() {
            if is_root() {
                let arena = Arena::new(*sharing);
                let before = snapshot(&arena.base);
                let out = arena.script(OUTSIDER, plant);
                let same = snapshot(&arena.base) == before;
                self.outsider(out.status != 0 && same, &format!("{plant}: {out:?}"));
                let token = arena.ok(VICTIM, "lease acquire job -q");
                arena.ok(VICTIM, &format!("lease release job --token {token}"));
                arena.assert_safe(plant);
            }
            let arena = Arena::new(*sharing);
            let before = snapshot(&arena.base);
            let out = arena.script(arena.insider(), plant);
            if *sharing == Sharing::Group && group_modes {
                let same = snapshot(&arena.base) == before;
                self.insider(out.status != 0 && same, &format!("{plant}: {out:?}"));
                continue;
            }
            assert_eq!(out.status, 0, "cannot plant: {plant}: {out:?}");
            self.calls(&arena, false, calls);
        }
    }

    /// Says that a part of this number could not be played here.
    pub fn skip(&self, why: &str) {
        skip(&format!("attacks {}", self.number), why);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let side = |(tried, refused): (u32, u32)| match tried {
            0 => "-".to_owned(),
            _ => format!("refused {refused}/{tried}"),
        };
        let line = format!(
            "{:<4} {:<44} outsider: {:<16} insider: {:<18} (without openat2: {}){}\n",
            self.number,
            self.what,
            side(self.outsider),
            side(self.insider),
            self.fallback,
            self.note
        );
        print!("{line}");
        if let Some(log) = std::env::var_os("ZETA_ATTACKS_LOG") {
            append(log.as_ref(), &line);
        }
        if !is_root() {
            self.skip("not root: no other users, no group's tree");
        }
    }
}

fn judge(out: &Out, status: i32) -> bool {
    let quick = out.took < std::time::Duration::from_secs(6);
    let sane = !out.err.contains("panicked") && matches!(out.status, 0 | 3 | 4 | 5 | 6 | 7);
    quick && if status == ANY { sane } else { out.status == status }
}

//! What must be right before the wipe: after it, there is no way back. Each check can be overridden
//! by its name, with a reason that the journal keeps.

use std::collections::BTreeSet;
use std::time::Duration;

use zeta_core::install::Plan;
use zeta_core::install::manifest::Fs;
use zeta_core::install::route::{Range, here, overlaps};
use zeta_core::time::{format_duration, format_utc};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;

use crate::manifest::Manifest;
use crate::tool::{Tool, found};

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How far the clock may be off, in seconds.
const OFF_MAX: i64 = 300;
const ROUTES: &str = "/proc/net/route";
/// The programs that run after the wipe has begun.
const TOOLS: [&str; 11] = [
    "wipefs",
    "sgdisk",
    "partprobe",
    "mkfs.vfat",
    "fsck.vfat",
    "mkdir",
    "mount",
    "git",
    "mkpasswd",
    "nixos-generate-config",
    "nixos-install",
];
const EXT4: [&str; 2] = ["mkfs.ext4", "e2fsck"];
const BTRFS: [&str; 2] = ["mkfs.btrfs", "btrfs"];

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The repository answers.
    Repository,
    /// The cache of built packages answers.
    Cache,
    /// The clock is that of the cache.
    Clock,
    /// The partitions fit the disks.
    DiskSizes,
    /// No range of addresses is one of the network here.
    Addresses,
    /// The programs of all steps are there.
    Tools,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 6] = [
        Check::Repository,
        Check::Cache,
        Check::Clock,
        Check::DiskSizes,
        Check::Addresses,
        Check::Tools,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Check::Repository => "repository",
            Check::Cache => "cache",
            Check::Clock => "clock",
            Check::DiskSizes => "disk_sizes",
            Check::Addresses => "addresses",
            Check::Tools => "tools",
        }
    }

    /// The check of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(word: &str) -> Result<Check> {
        let found = Check::ALL.into_iter().find(|check| check.word() == word);
        let words = Check::ALL.map(Check::word).join(", ");
        found.ok_or_else(|| Error::usage(format!("there is no check {word:?}: they are {words}")))
    }

    /// Checks; returns what was found.
    ///
    /// # Errors
    /// It is not right, or that is not known.
    pub fn run(self, manifest: &Manifest, plan: &Plan) -> Result<String> {
        let ace = &manifest.values.ace;
        match self {
            Check::Repository => {
                let all = std::iter::once(&ace.source).chain(&ace.user_repos);
                let found: Result<Vec<String>> = all.map(|source| repository(source)).collect();
                Ok(found?.join(", "))
            }
            Check::Cache => {
                let (status, _) = answer(&ace.nixos_install.cache)?;
                Ok(format!("{} answers {status}", ace.nixos_install.cache))
            }
            Check::Clock => clock(&ace.nixos_install.cache),
            Check::DiskSizes => {
                let sizes = plan.chosen.iter().map(|disk| format!("{} {}", disk.id, disk.id.size));
                Ok(format!("the partitions fit: {}", sizes.collect::<Vec<_>>().join(", ")))
            }
            Check::Addresses => addresses(&ace.network.ranges),
            Check::Tools => {
                let root = if ace.filesystems.root == Fs::Btrfs { BTRFS } else { EXT4 };
                let data = if ace.filesystems.longhorn1 == Fs::Btrfs { BTRFS } else { EXT4 };
                let all = TOOLS.iter().chain(&root).chain(&data);
                let missing: BTreeSet<&str> =
                    all.copied().filter(|program| found(program).is_none()).collect();
                let missing: Vec<&str> = missing.into_iter().collect();
                match missing.is_empty() {
                    true => Ok("the programs of all steps are there".to_owned()),
                    false => {
                        let text = format!("{} cannot be found", missing.join(", "));
                        Err(Error::new(Kind::Refused, text))
                    }
                }
            }
        }
    }
}

fn repository(source: &str) -> Result<String> {
    let args = ["ls-remote", "--quiet", "--exit-code", "--", source, "HEAD"];
    let said = Tool::new("git", &args).within(LIMIT).run().map_err(with_clock)?;
    let commit = said.text().split_whitespace().next().unwrap_or_default().to_owned();
    Ok(format!("{source} answers, and its newest commit is {commit}"))
}

fn addresses(ranges: &[Range]) -> Result<String> {
    let text = std::fs::read_to_string(ROUTES).unwrap_or_default();
    let unknown = || Error::new(Kind::Unsafe, format!("{ROUTES} cannot be read"));
    let here = here(&text).ok_or_else(unknown)?;
    if ranges.is_empty() {
        return Ok("not compared: ace.network.ranges is not set".to_owned());
    }
    let hits = overlaps(ranges, &here);
    let hits: Vec<String> = hits.iter().map(|(one, other)| format!("{one} and {other}")).collect();
    match hits.is_empty() {
        true => Ok(format!("{} ranges, and no overlap", ranges.len())),
        false => {
            let text = format!("these ranges overlap: {}", hits.join(", "));
            Err(Error::new(Kind::Refused, text))
        }
    }
}

/// A wrong clock looks like a fault of the network.
fn with_clock(error: Error) -> Error {
    let now = format_utc(host::wall_us());
    Error { kind: Kind::Refused, ..error }.hint(format!("the clock of this machine says {now}"))
}

/// The answer of a cache: its status line, and its time in seconds.
fn answer(cache: &str) -> Result<(String, Option<i64>)> {
    let url = format!("{}/nix-cache-info", cache.trim_end_matches('/'));
    let limit = LIMIT.as_secs().to_string();
    let args = ["--silent", "--show-error", "--fail", "--head", "--max-time", &limit, "--", &url];
    let said = Tool::new("curl", &args).within(LIMIT * 2).run().map_err(with_clock)?;
    let text = said.text();
    let status = text.lines().next().unwrap_or_default().trim().to_owned();
    let date = text.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("date").then(|| value.trim().to_owned())
    });
    Ok((status, date.and_then(|date| seconds(&date))))
}

fn clock(cache: &str) -> Result<String> {
    let (_, theirs) = answer(cache)?;
    let unknown = || {
        let text = format!("{cache} does not say what time it is, so the clock is not checked");
        Error::new(Kind::Refused, text)
    };
    let off = host::wall_us().div_euclid(1_000_000) - theirs.ok_or_else(unknown)?;
    let by = format_duration(off.unsigned_abs().saturating_mul(1000));
    match off.abs() <= OFF_MAX {
        true => Ok(format!("it is {by} from that of {cache}")),
        false => {
            let text = format!("the clock is off by {by}, compared with {cache}");
            Err(with_clock(Error::new(Kind::Refused, text)))
        }
    }
}

/// The time of a header, as in `Mon, 30 Nov 2026 13:00:00 GMT`, in seconds.
fn seconds(date: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let fields: Vec<&str> = date.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = fields.as_slice() else { return None };
    let month = MONTHS.find(*month).filter(|_| month.len() == 3)? / 3 + 1;
    let text = format!("{year}-{month:02}-{day}T{time}Z");
    Some(zeta_core::time::parse_utc(&text).ok()?.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_server_is_read() {
        assert_eq!(seconds("Mon, 30 Nov 2026 13:00:00 GMT"), Some(1_796_043_600));
        for wrong in
            ["", "Mon, 30 Nov 2026 13:00:00", "Mon, 30 Xxx 2026 13:00:00 GMT", "x x x x x GMT"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_check_has_its_name() {
        Check::ALL.iter().for_each(|check| assert_eq!(Check::parse(check.word()), Ok(*check)));
        assert!(Check::parse("all").is_err());
    }
}

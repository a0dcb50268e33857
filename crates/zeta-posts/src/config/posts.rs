//! `posts.toml`: posts, turns, lines and how agents are run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use zeta_core::schedule::Tier;
use zeta_core::schedule::outage::Signs;
use zeta_core::schedule::pace::Pace;
use zeta_core::schedule::policy::{
    Dimension, Failover, Line, Offer, Order, Policy, Program, Rotation,
};
use zeta_os::error::Result;

use super::source::Source;

const MINUTE_MS: u64 = 60_000;

/// How posts run their agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticks {
    /// How often.
    pub pace: Pace,
    /// The time after which a tick is asked to end, in ms.
    pub limit_ms: u64,
    /// The time that it has for its end then, in ms.
    pub grace_ms: u64,
    /// Most memory of the processes of a tick, in bytes.
    pub memory_max: Option<u64>,
    /// Most CPU time of the processes of a tick, in percent of one core.
    pub cpu_quota: Option<u32>,
    /// What an agent is asked at each tick.
    pub prompt: String,
    /// The repository of which each persona has a worktree that names no other one.
    pub repository: Option<PathBuf>,
}

/// The file, read.
#[derive(Debug)]
pub(super) struct Posts {
    /// Without personas.
    pub(super) policy: Policy,
    pub(super) ticks: Ticks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    posts: RawPosts,
    rotation: RawRotation,
    failover: RawFailover,
    ticks: RawTicks,
    #[serde(alias = "modelLineCatalog")]
    lines: BTreeMap<Spanned<String>, RawLine>,
    #[serde(alias = "harnessCompat")]
    compatibility: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPosts {
    count: Option<u32>,
    floor: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRotation {
    enable: Option<bool>,
    interval: Option<Spanned<String>>,
    dimensions: Option<BTreeSet<Dimension>>,
    policy: Option<Order>,
    seed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFailover {
    failures: Option<u32>,
    down: Option<Spanned<String>>,
    down_max: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTicks {
    every: Option<Spanned<String>>,
    limit: Option<Spanned<String>>,
    grace: Option<Spanned<String>>,
    jitter: Option<Spanned<String>>,
    back_off_max: Option<Spanned<String>>,
    memory_max: Option<Spanned<String>>,
    cpu_quota: Option<Spanned<String>>,
    prompt: Option<String>,
    repository: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLine {
    tiers: BTreeMap<Tier, RawOffer>,
    probe: Option<RawProgram>,
    outage: RawSigns,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSigns {
    statuses: Vec<u8>,
    texts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOffer {
    #[serde(alias = "binary")]
    program: Option<String>,
    #[serde(alias = "invocationArgs", default)]
    arguments: Vec<String>,
    #[serde(default)]
    resume: Vec<String>,
    #[serde(default)]
    harnesses: BTreeMap<Spanned<String>, RawProgram>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    #[serde(alias = "binary")]
    program: String,
    #[serde(alias = "invocationArgs", default)]
    arguments: Vec<String>,
    #[serde(default)]
    resume: Vec<String>,
}

impl From<RawProgram> for Program {
    fn from(raw: RawProgram) -> Program {
        Program { program: raw.program, arguments: raw.arguments, resume: raw.resume }
    }
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Posts> {
    parse(&Source::read(path)?)
}

/// Makes values of its keys.
pub(super) fn parse(source: &Source) -> Result<Posts> {
    let raw: Raw = source.parse()?;
    let time = |key, value: &Option<Spanned<String>>, default| match value {
        Some(value) => source.time(key, value),
        None => Ok(default),
    };
    let is_on = raw.rotation.enable.unwrap_or(true);
    let every_ms = time("interval", &raw.rotation.interval, 24 * 60 * MINUTE_MS)?;
    let rotation = Rotation {
        every_ms: is_on.then_some(every_ms),
        dimensions: raw.rotation.dimensions.unwrap_or_else(|| BTreeSet::from([Dimension::Persona])),
        order: raw.rotation.policy.unwrap_or(Order::RoundRobin),
        seed: raw.rotation.seed.unwrap_or(0),
    };
    let failover = Failover {
        failures: raw.failover.failures.unwrap_or(3),
        down_ms: time("down", &raw.failover.down, 10 * MINUTE_MS)?,
        down_max_ms: time("down_max", &raw.failover.down_max, 6 * 60 * MINUTE_MS)?,
    };
    let mut lines = BTreeMap::new();
    for (name, line) in raw.lines {
        lines.insert(source.label("model line", &name)?, line_of(source, line)?);
    }
    let mut compatible = BTreeMap::new();
    for (pair, harnesses) in raw.compatibility {
        let rule = "a compatibility is for a persona and a line, as in \"otto+openai\"";
        let (persona, line) = pair
            .get_ref()
            .split_once('+')
            .and_then(|(persona, line)| Some((persona.parse().ok()?, line.parse().ok()?)))
            .ok_or_else(|| source.wrong(&pair.span(), rule))?;
        compatible.insert((persona, line), source.labels("harness", &harnesses)?);
    }
    let posts = raw.posts.count.unwrap_or(3);
    let ticks = ticks_of(source, &raw.ticks)?;
    let policy = Policy {
        personas: Vec::new(),
        lines,
        compatible,
        posts,
        floor: raw.posts.floor.unwrap_or(posts.min(3)),
        rotation,
        failover,
    };
    Ok(Posts { policy, ticks })
}

fn line_of(source: &Source, raw: RawLine) -> Result<Line> {
    let mut tiers = BTreeMap::new();
    for (tier, offer) in raw.tiers {
        let mut by_harness = BTreeMap::new();
        for (harness, program) in offer.harnesses {
            by_harness.insert(source.label("harness", &harness)?, program.into());
        }
        let program = offer.program;
        let (arguments, resume) = (offer.arguments, offer.resume);
        let program = program.map(|program| Program { program, arguments, resume });
        tiers.insert(tier, Offer { program, by_harness });
    }
    let outage = Signs { statuses: raw.outage.statuses, texts: raw.outage.texts };
    Ok(Line { tiers, probe: raw.probe.map(Program::from), outage })
}

fn ticks_of(source: &Source, raw: &RawTicks) -> Result<Ticks> {
    let time = |key, value: &Option<Spanned<String>>, default| match value {
        Some(value) => source.time(key, value),
        None => Ok(default),
    };
    let memory = raw.memory_max.as_ref().map(|value| {
        let rule = "memory_max is a number of bytes with K, M, G or none, as in \"4G\"";
        bytes(value.get_ref()).ok_or_else(|| source.wrong(&value.span(), rule))
    });
    let quota = raw.cpu_quota.as_ref().map(|value| {
        let rule = "cpu_quota is a part of one core, as in \"200%\"";
        let percent = value.get_ref().strip_suffix('%').and_then(|number| number.parse().ok());
        percent.filter(|percent| *percent > 0).ok_or_else(|| source.wrong(&value.span(), rule))
    });
    let pace = Pace {
        every_ms: source.above_zero("every", &raw.every, MINUTE_MS)?,
        jitter_ms: time("jitter", &raw.jitter, MINUTE_MS / 6)?,
        back_off_max_ms: time("back_off_max", &raw.back_off_max, 30 * MINUTE_MS)?,
    };
    let repository = raw.repository.as_ref().map(|path| source.absolute("repository", path));
    Ok(Ticks {
        pace,
        limit_ms: source.above_zero("limit", &raw.limit, 10 * MINUTE_MS)?,
        grace_ms: time("grace", &raw.grace, MINUTE_MS / 6)?,
        memory_max: memory.transpose()?,
        cpu_quota: quota.transpose()?,
        prompt: raw.prompt.clone().unwrap_or_else(|| "<<autonomous-loop>>".to_owned()),
        repository: repository.transpose()?,
    })
}

/// Reads a size as systemd does: a number, with K, M, G or T for powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.char_indices().last()? {
        (at, 'K') => (text.get(..at)?, 10),
        (at, 'M') => (text.get(..at)?, 20),
        (at, 'G') => (text.get(..at)?, 30),
        (at, 'T') => (text.get(..at)?, 40),
        _ => (text, 0),
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

//! One tick of the scheduler: it reads what the posts reported, decides, and writes who stands
//! where. It works under a lease, so two schedulers never decide at once, and one that was stopped
//! for long does not write over what another one decided.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use zeta_core::lease::FencingToken;
use zeta_core::name::{Label, RecordName};
use zeta_core::schedule::policy::Program;
use zeta_core::schedule::state::{
    Assignments, Damage, KIND, Moment, Outcome, Past, Report, SCHEMA,
};
use zeta_core::schedule::{State, Ticked, tick};
use zeta_core::time::NS_PER_MS;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{command, host, process};
use zeta_state::context::{Context, NodeHandle};
use zeta_state::lease::acquire::{LeaseHandle, Outcome as Acquired, WaitOptions, new_request};

use crate::config::Config;
use crate::store::{Cut, Found, Numbered, Store};

/// The lease under which the assignments are written.
pub const LEASE: &str = "guard-post-scheduler";
/// Its TTL: longer than all probes of a tick.
const TTL_MS: u64 = 120_000;
/// How long a tick waits for another one.
const WAIT_MS: u64 = 5_000;
/// How long a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for the guard of the lease.
const ENTER_LIMIT: Duration = Duration::from_secs(10);

/// What a tick did.
#[derive(Debug)]
pub struct Done {
    /// What was decided.
    pub ticked: Ticked,
    /// The token under which it was written.
    pub token: FencingToken,
    /// Where the damaged file of before is now, and what was wrong with it.
    pub aside: Option<(PathBuf, String)>,
}

/// Decides, and writes what was decided.
///
/// # Errors
/// [`Kind::Refused`] if another scheduler works. [`Kind::Lost`] if the lease was lost: then
/// nothing was written.
pub fn run(ctx: &Context, config: &Config, store: &Store, begin_turn: bool) -> Result<Done> {
    store.prepare()?;
    let lease = RecordName::new("lease", LEASE)?;
    let at = ctx.open()?;
    let mut handle = LeaseHandle::new(&at, &lease);
    let mut request = new_request(ctx, lease.clone(), TTL_MS)?;
    request.processes.own = Some(process::identify_self());
    request.purpose = Some("decides who stands at the guard posts".to_owned());
    let mut wait = WaitOptions { limit_ms: Some(WAIT_MS), on_wait: &mut |_, _| {} };
    let token = match handle.acquire(&request, &mut wait, &mut |_| Ok(()))? {
        Acquired::Granted { record, .. } => record.fencing_token,
        Acquired::Refused(_) => {
            let text = format!("another scheduler works: it holds the lease {LEASE}");
            return Err(
                Error::new(Kind::Refused, text).hint(format!("see who: zeta lease show {LEASE}"))
            );
        }
    };
    let done = decide(&at, &lease, token, (config, store), begin_turn);
    // What the tick returns says more than what became of the lease.
    let _ = handle.release(token);
    done
}

/// What a tick begins with.
struct Before {
    read: Option<Assignments>,
    damage: Option<Damage>,
    state: State,
    reports: Vec<Report>,
    seen: BTreeMap<u32, u64>,
    now: Moment,
    elapsed_ms: u64,
}

impl Before {
    /// Reads all of it; `token` is that of the lease, for one that writes.
    fn read(
        ctx: &Context,
        config: &Config,
        store: &Store,
        token: Option<FencingToken>,
    ) -> Result<Before> {
        let (read, damage) = match store.read()? {
            Found::Absent => (None, None),
            Found::Read(read) => match token.and_then(|token| read.ahead_of(token.get())) {
                None => (Some(*read), None),
                ahead => (None, ahead),
            },
            Found::Damaged(damage) => (None, Some(damage)),
        };
        let now = moment(ctx);
        let elapsed_ms = read.as_ref().map_or(0, |before| before.written.elapsed_ms(&now));
        let state = read.as_ref().map(|before| before.state.clone()).unwrap_or_default();
        let seen = read.as_ref().map(|before| before.seen.clone()).unwrap_or_default();
        let (mut reports, seen) = new_reports(store, config.policy.posts, seen);
        if read.is_none() {
            // Which of them were counted before is not known. Some are of another day.
            reports.clear();
        }
        Ok(Before { read, damage, state, reports, seen, now, elapsed_ms })
    }
}

/// Decides, and writes nothing; no probe is asked. The second value is what is remembered.
///
/// # Errors
/// The assignments cannot be read.
pub fn look(ctx: &Context, config: &Config, store: &Store) -> Result<(Ticked, Vec<Past>)> {
    let before = Before::read(ctx, config, store, None)?;
    let ticked = tick(&config.policy, &before.state, &before.reports, before.elapsed_ms);
    Ok((ticked, before.read.map(|read| read.changes).unwrap_or_default()))
}

fn decide(
    at: &NodeHandle<'_>,
    lease: &RecordName,
    token: FencingToken,
    (config, store): (&Config, &Store),
    begin_turn: bool,
) -> Result<Done> {
    let mut before = Before::read(at.ctx, config, store, Some(token))?;
    if begin_turn {
        before.state.turn_left_ms = 0;
    }
    before.reports.extend(probes(config, &before.state, before.elapsed_ms));
    let Before { read, damage, state, reports, seen, now, elapsed_ms } = before;
    let ticked = tick(&config.policy, &state, &reports, elapsed_ms);
    let Some(section) = at.enter_as_holder(lease, token, ENTER_LIMIT)? else {
        return Err(lost());
    };
    if !section.stands()? {
        return Err(lost());
    }
    let aside = match damage {
        Some(damage) => Some((store.put_aside()?, damage.to_string())),
        None => None,
    };
    let mut after = Assignments {
        schema: SCHEMA,
        kind: KIND.to_owned(),
        fencing_token: token.get(),
        written: now,
        floor: config.policy.floor,
        state: ticked.state.clone(),
        seen,
        changes: read.map(|before| before.changes).unwrap_or_default(),
    };
    after.remember(after.written.wall_us, ticked.changes.clone());
    store.write(&after)?;
    Ok(Done { ticked, token, aside })
}

fn lost() -> Error {
    Error::new(Kind::Lost, format!("the lease {LEASE} was lost: nothing was written"))
}

/// This moment by both clocks.
pub fn moment(ctx: &Context) -> Moment {
    let reading = host::reading();
    Moment {
        boot_id: ctx.host.boot_id.clone(),
        boot_ms: reading.boot_ns / NS_PER_MS,
        wall_us: reading.wall_us,
    }
}

/// What the posts reported since; and the number of the last report of each.
fn new_reports(
    store: &Store,
    posts: u32,
    mut seen: BTreeMap<u32, u64>,
) -> (Vec<Report>, BTreeMap<u32, u64>) {
    let mut new = Vec::new();
    seen.retain(|post, _| (1..=posts).contains(post));
    for post in 1..=posts {
        let reports = store.reports(post).reports;
        let Some(last) = reports.last().map(|last| last.number) else { continue };
        // The file of the post was removed, and its numbers began anew.
        let from = seen.get(&post).copied().filter(|seen| *seen <= last).unwrap_or(0);
        // What could not begin asked no vendor: it says nothing about the line.
        let is_new = |one: &Numbered| one.number > from && one.cut != Some(Cut::Start);
        new.extend(reports.into_iter().filter(is_new).map(|one| one.report));
        seen.insert(post, last);
    }
    (new, seen)
}

/// Asks the probes of the lines that are to be tried.
fn probes(config: &Config, state: &State, elapsed_ms: u64) -> Vec<Report> {
    let is_due = |line: &&Label| {
        state.lines.get(*line).is_some_and(|health| health.on_trial || health.down_ms > 0)
            && state.lines.get(*line).is_some_and(|health| health.down_ms <= elapsed_ms)
    };
    let lines = config.policy.lines.iter().filter(|(line, _)| is_due(line));
    let probes = lines.filter_map(|(line, known)| Some((line, known.probe.as_ref()?)));
    probes
        .map(|(line, probe)| Report { persona: None, line: line.clone(), outcome: ask(probe) })
        .collect()
}

fn ask(probe: &Program) -> Outcome {
    let mut asked = Command::new(&probe.program);
    match command::run(asked.args(&probe.arguments), &[], PROBE_LIMIT, 4096) {
        Ok(finished) if finished.status.success() => Outcome::Ok,
        _ => Outcome::Outage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::End;
    use zeta_os::temp_dir::TempDir;

    #[test]
    fn a_tick_that_could_not_begin_says_nothing_about_its_line() {
        let dir = TempDir::new().unwrap();
        let store = Store::new(dir.path());
        let label = |text: &str| text.parse().unwrap();
        let mut add = |cut| {
            let persona = Some(label("otto"));
            let report = Report { persona, line: label("a"), outcome: Outcome::Failed };
            store.add_report(1, report, End { cut, ..End::default() }).unwrap();
        };
        [Some(Cut::Start), None, Some(Cut::Start), Some(Cut::Time)].into_iter().for_each(&mut add);
        let (new, seen) = new_reports(&store, 2, BTreeMap::new());
        assert_eq!((new.len(), seen), (2, BTreeMap::from([(1, 4)])));
        add(Some(Cut::Start));
        let (new, seen) = new_reports(&store, 2, BTreeMap::from([(1, 4)]));
        assert_eq!((new, seen), (Vec::new(), BTreeMap::from([(1, 5)])));
    }
}

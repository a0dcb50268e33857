//! `zeta log`: who held which lease, from when to when, and how that ended.

use clap::{Args, Command};
use zeta_core::history::Filter;
use zeta_core::time::{parse_duration, parse_utc};

use super::{Call, Noun};
use crate::output::{Terminal, print};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::history::log::{self, Log};
use zeta_state::history::report;

pub(super) const NOUN: Noun = Noun {
    name: "log",
    about: "Show who held which lease, from when to when, and how that ended",
    build,
    verbs: &[],
    run,
};

/// How many spans people are shown, if they do not say.
const LIMIT: usize = 50;

#[derive(Debug, Args)]
struct LogArgs {
    /// Show what is of this time or later: a time ago, or a time in UTC
    #[arg(long, value_name = "2h|TIME")]
    since: Option<String>,
    /// Show this lease only; of a claim, its item
    #[arg(long, value_name = "NAME")]
    lease: Option<String>,
    /// Show what this agent held or ended
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Show at most the last N grants [default: 50, and all of them with --json]
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    limit: Option<usize>,
    /// Print each change as it comes, until you stop it; with --since, those since then first
    #[arg(long, short)]
    follow: bool,
}

const HELP: &str = "\
Each line is a grant. Its END says how it ended: released, handed over, taken over by another agent
(and why it could be), broken, or removed by 'zeta clean'. The newest is the last one.

The history of a node is history.log in its directory. It is for people: the records of the leases
decide. An end that no process wrote down is shown as 'ended, not recorded'.

Examples:
  zeta log
  zeta log --since 2h --agent otto-cli
  zeta log --lease deploy --limit 5
  zeta log --json --since 2026-11-29T18:00:00Z
  timeout 1 zeta log --follow || true";

fn build(noun: Command) -> Command {
    LogArgs::augment_args(noun).after_help(HELP)
}

fn run(call: &Call) -> Result<u8> {
    let args: LogArgs = call.args()?;
    let since_us = args.since.as_deref().map(since).transpose()?;
    let filter = Filter { since_us, lease: args.lease, agent: args.agent };
    let ctx = call.context()?;
    let found = ctx.find()?;
    if args.follow {
        let handle = found.ok_or_else(|| {
            Error::new(Kind::NotFound, "there is no history yet")
                .hint("the first 'zeta lease acquire' begins it")
        })?;
        log::follow(&handle, &filter, |entry| match call.out.json {
            true => call.out.data(&report::entry_json(entry).done()),
            false => call.out.data(&report::line(entry)),
        })?;
        return Ok(0);
    }
    let limit = args.limit.or((!call.out.json).then_some(LIMIT));
    let log = found.map(|handle| log::read(&handle, &filter, limit)).transpose()?;
    let log = log.unwrap_or_default();
    match call.out.json {
        true => call.out.data(&report::log_json(&log).done())?,
        false => show(call, &log)?,
    }
    Ok(if log.findings.is_empty() { 0 } else { Kind::Unsafe.status() })
}

fn show(call: &Call, log: &Log) -> Result<()> {
    let Terminal { width, colour } = Terminal::of_stdout();
    print(&report::text(log, host::wall_us(), width, colour))?;
    if log.rows.is_empty() {
        call.out.note("the history has no such grant");
    }
    if log.left_out > 0 {
        let more = log.rows.len() + log.left_out;
        call.out.note(&format!("{} more before these: --limit {more}", log.left_out));
    }
    if log.unread > 0 {
        let lines = if log.unread == 1 { "line" } else { "lines" };
        call.out.note(&format!("{} {lines} of the log cannot be read", log.unread));
    }
    log.findings.iter().for_each(|finding| call.out.error(finding, None));
    Ok(())
}

/// Reads `--since`: a time ago, or a time.
fn since(text: &str) -> Result<i64> {
    if let Ok(ms) = parse_duration("since", text) {
        return Ok(host::wall_us().saturating_sub_unsigned(ms.saturating_mul(1000)));
    }
    parse_utc(text).map_err(|_| {
        Error::usage(format!("--since {text:?} is neither a duration nor a time"))
            .hint("as in --since 2h, or --since 2026-11-29T18:00:00Z")
    })
}

//! The arguments of `zeta lease`, with an example for every verb.

use std::ffi::OsString;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Command, value_parser};
use zeta_core::lease::joint::SLOTS_MAX;

/// The examples of the noun.
pub(super) const EXAMPLES: &str = "\
Examples:
  zeta lease acquire migration --ttl 10m
  zeta lease release migration --token $ZETA_FENCING_TOKEN   # the number that acquire printed
  zeta lease exec migration -- ./deploy.sh                   # all in one call
  zeta lease list";

/// The numbers of holders that a counted lease can have.
fn slots() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(SLOTS_MAX))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta lease acquire deploy
  zeta lease acquire deploy --ttl 30s --wait 1m --purpose 'release 1.2'
  zeta lease acquire build --slots 3              # at most three holders at once
  eval \"$(zeta lease acquire deploy --export)\"   # sets ZETA_LEASE, ZETA_FENCING_TOKEN")]
pub(super) struct AcquireArgs {
    /// Name of the lease
    pub(super) name: String,
    /// Time to live without renewal [default: ttl in the configuration, or 10m]
    #[arg(long, value_name = "DURATION")]
    pub(super) ttl: Option<String>,
    /// Extra time for a holder that is still alive after its TTL [default: the TTL]
    #[arg(long, value_name = "DURATION")]
    pub(super) grace: Option<String>,
    /// Wait in the queue for at most this long [default: try once]
    #[arg(long, value_name = "DURATION")]
    pub(super) wait: Option<String>,
    /// Hold it beside others, at most N holders at once; each has a token of its own
    #[arg(long, value_name = "N", value_parser = slots())]
    pub(super) slots: Option<u32>,
    /// Pull request that the lease is about
    #[arg(long, value_name = "N")]
    pub(super) pr: Option<u64>,
    /// What the lease is for
    #[arg(long, value_name = "TEXT")]
    pub(super) purpose: Option<String>,
    /// Id of this attempt: the same id again gets the same token [default: random]
    #[arg(long, value_name = "ID")]
    pub(super) lease_id: Option<String>,
    /// What to do with a holder that is alive but overdue: reclaim, kill or never
    #[arg(long, value_name = "POLICY", default_value = "reclaim")]
    pub(super) policy: String,
    /// Among which processes it has one holder: node, or cluster [default: lease_scope, or node]
    #[arg(long, value_name = "SCOPE")]
    pub(super) scope: Option<String>,
    /// Print a line for eval in a shell instead of the bare token
    #[arg(long)]
    pub(super) export: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta lease renew deploy --token $ZETA_FENCING_TOKEN")]
pub(super) struct RenewArgs {
    /// Name of the lease
    pub(super) name: String,
    /// Fencing token that acquire printed [env: ZETA_FENCING_TOKEN]
    #[arg(long, value_name = "N")]
    pub(super) token: Option<String>,
    /// New TTL [default: as before]
    #[arg(long, value_name = "DURATION")]
    pub(super) ttl: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// Name of the lease
    pub(super) name: String,
    /// Fencing token that acquire printed [env: ZETA_FENCING_TOKEN]
    #[arg(long, value_name = "N")]
    pub(super) token: Option<String>,
}

impl TokenArgs {
    pub(super) fn augment_release(verb: Command) -> Command {
        TokenArgs::augment_args(verb)
            .after_help("Example:\n  zeta lease release deploy --token $ZETA_FENCING_TOKEN")
    }

    pub(super) fn augment_check(verb: Command) -> Command {
        CheckArgs::augment_args(verb).after_help(
            "Example:\n  zeta lease check deploy --token $ZETA_FENCING_TOKEN && git push\n\n\
             Between the check and the push the lease can still be lost. To close that gap:\n  \
             zeta lease exec deploy --fenced --token $ZETA_FENCING_TOKEN -- git push",
        )
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) token: TokenArgs,
    /// Ask the store of the cluster, by a renewal: a lease of the cluster counts there
    #[arg(long)]
    pub(super) strong: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta lease show deploy --json")]
pub(super) struct ShowArgs {
    /// Name of the lease
    pub(super) name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta lease wait nightly --timeout 5m && ./review.sh
  zeta lease acquire nightly --wait 5m   # waits in the queue, and takes it

A lease that is free at the end of the wait may be held again a moment later.
Exit status: 0 if it is free or can be taken; 6 if it is held until the timeout.")]
pub(super) struct WaitArgs {
    /// Name of the lease
    pub(super) name: String,
    /// Wait for at most this long
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(super) timeout: String,
    /// Among which processes it has one holder: node, or cluster [default: lease_scope, or node]
    #[arg(long, value_name = "SCOPE")]
    pub(super) scope: Option<String>,
}

pub(super) fn list_args(verb: Command) -> Command {
    verb.after_help("Example:\n  zeta lease list")
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta lease break deploy --expect 1795342272123456 --reason 'otto hangs, asked Max'
  zeta lease break deploy --damaged --reason 'torn record of an old script'")]
pub(super) struct BreakArgs {
    /// Name of the lease
    pub(super) name: String,
    /// Fencing token of the grant that you want to remove
    #[arg(long, value_name = "N", required_unless_present = "damaged")]
    pub(super) expect: Option<String>,
    /// Remove a record that has no token: damaged, or written by another tool
    #[arg(long, conflicts_with = "expect")]
    pub(super) damaged: bool,
    /// Reason; the old holder sees it
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta lease exec deploy -- ./deploy.sh            # waits for the lease, as flock(1) does
  zeta lease exec deploy -n -E 0 -- ./nightly.sh   # ends with 0 if the lease is held
  zeta lease exec deploy --fenced -- git push      # no other holder while this runs
  zeta lease exec review --slots 3 -- ./review.sh  # at most three of them at once

The command's environment has ZETA_FENCING_TOKEN, ZETA_LEASE, ZETA_AGENT, ZETA_NODE and
ZETA_STATE_DIR.
Exit status: the command's; 128+n if signal n ended it; 3 for -n and 6 for -w if the lease is held
(or the status given with -E); 5 if the lease was lost and --on-lost is term or kill; 127 if there
is no such command, 126 if it cannot run.")]
pub(super) struct ExecArgs {
    /// Name of the lease
    pub(super) name: String,
    /// Time to live without renewal; renewed after every quarter of it [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub(super) ttl: Option<String>,
    /// Extra time for a holder that is still alive after its TTL [default: the TTL]
    #[arg(long, value_name = "DURATION")]
    pub(super) grace: Option<String>,
    /// Do not wait: fail at once if the lease is held
    #[arg(short = 'n', long = "nonblock", visible_alias = "nb", conflicts_with = "wait")]
    pub(super) nonblock: bool,
    /// Wait for at most this long [default: 1h]
    #[arg(short = 'w', long, visible_alias = "timeout", value_name = "SECONDS")]
    pub(super) wait: Option<String>,
    /// Exit status if the lease is held [default: 3 for -n, 6 for -w]
    #[arg(short = 'E', long = "conflict-exit-code", value_name = "STATUS")]
    pub(super) conflict_status: Option<u8>,
    /// Hold it beside others, at most N holders at once
    #[arg(long, value_name = "N", value_parser = slots(), conflicts_with = "fenced")]
    pub(super) slots: Option<u32>,
    /// What the lease is for [default: the command]
    #[arg(long, value_name = "TEXT")]
    pub(super) purpose: Option<String>,
    /// What to do with a holder that is alive but overdue: reclaim, kill or never
    #[arg(long, value_name = "POLICY", default_value = "reclaim")]
    pub(super) policy: String,
    /// Among which processes it has one holder: node, or cluster [default: lease_scope, or node]
    #[arg(long, value_name = "SCOPE")]
    pub(super) scope: Option<String>,
    /// What to do if the lease is lost: warn, term or kill the command
    #[arg(long, value_name = "WHAT", default_value = "warn")]
    pub(super) on_lost: String,
    /// Run the command inside the guard: the lease cannot be granted to others while it runs
    #[arg(long)]
    pub(super) fenced: bool,
    /// With --fenced: end the command's process group after this long
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "fenced")]
    pub(super) fence_timeout: String,
    /// With --fenced: run under the grant with this token instead of a new one
    #[arg(long, value_name = "N", requires = "fenced")]
    pub(super) token: Option<String>,
    /// Command and arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

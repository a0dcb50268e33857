//! The arguments of `zeta signature`.

use std::path::PathBuf;

use clap::Args;

pub(super) const EXAMPLES: &str = "\
A block of ten trailers at the end of a commit says which agent acted, and under whose authority:
see docs/signature.md.

Exit status of check, audit and write: 0 good; 1 refused, or a regression; 2 a wrong call, nothing
to judge, or a fault.

Examples:
  zeta signature install-hook --repository ~/shop   # agents there sign, and people do not
  zeta signature audit main..topic                  # each commit of a branch
  zeta signature beats --branch origin/main         # when each agent committed last";

#[derive(Debug, Args)]
#[command(after_help = "\
The message is read as git reads it: the block is the last paragraph, with an empty line above it.
The first fault is named. With --anywhere a whole block counts in any place of the text, and all of
its faults are named. With --pr-body the text is the body of a pull request: a squash merge makes it
the message, below the title.

Exit status: 0 accepted; 1 refused; 2 there is no text.

Examples:
  printf 'Words.\\n\\n%s\\n' \"$(zeta signature write)\" | zeta signature check
  git log -1 --format=%B | zeta signature check --anywhere || true
  zeta signature write > body.txt && zeta signature check --pr-body body.txt")]
pub(super) struct CheckArgs {
    /// File with the message [default: standard input]
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Accept a whole block in any place, and name all faults
    #[arg(long, visible_alias = "lenient")]
    pub(super) anywhere: bool,
    /// Judge the body of a pull request, as a squash merge takes it
    #[arg(long, conflicts_with_all = ["hook", "anywhere"])]
    pub(super) pr_body: bool,
    /// Judge the message of a commit that is being made: a person needs no block
    #[arg(long, conflicts_with = "anywhere")]
    pub(super) hook: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Verdicts:
  CORRECT                the commit has a block
  LEGACY                 it is older than the first signed commit, or than --v1-ship-date
  HUMAN-AUTHORED-EXEMPT  it has no block, and neither a co-author nor the author is an agent
  REGRESSION             it has no block, and an agent made it

Without a range and a limit only the newest commit is looked at. The first signed commit is the
oldest among the newest 5000 of the branch. A date is as in 2026-05-01, 2026-05-01T10:00:00Z, or a
time ago, as in 2h.

Exit status: 0 no regression; 1 a regression; 2 a wrong call, no repository, or no such commit.

Examples:
  zeta signature audit
  zeta signature audit main --json
  zeta signature audit --max 20 --anywhere
  zeta signature audit --since 2h --v1-ship-date 2026-05-01")]
pub(super) struct AuditArgs {
    /// All commits of a branch or of a range, as in main or v1..main
    #[arg(value_name = "RANGE", conflicts_with_all = ["branch", "commit"])]
    pub(super) range: Option<String>,
    /// Look at this commit only
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["max", "since"])]
    pub(super) commit: Option<String>,
    /// Look at so many commits, the newest
    #[arg(long, value_name = "N")]
    pub(super) max: Option<String>,
    /// Look at commits since this date
    #[arg(long, value_name = "DATE")]
    pub(super) since: Option<String>,
    /// Branch to look at [default: HEAD]
    #[arg(long, value_name = "BRANCH")]
    pub(super) branch: Option<String>,
    /// The convention began then, and not with the first signed commit
    #[arg(long, value_name = "DATE")]
    pub(super) v1_ship_date: Option<String>,
    /// Accept a whole block in any place of a message
    #[arg(long, visible_alias = "lenient")]
    pub(super) anywhere: bool,
    /// Repository [default: that around the current directory]
    #[arg(long, value_name = "DIR")]
    pub(super) repository: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The values are those of the options; then of ZETA_AGENT_RUNTIME and ZETA_AGENT_MODEL; then of
signature_* in the configuration; then what is known of the session: its agent, the tool that it
runs in, and the item that it has claimed, if that is one and has the form of a task. A runtime or
model that nothing says is 'unknown'. A review is claimed by options alone.

Exit status: 0 done; 1 git would not read the block in that message; 2 a wrong call, or a fault.

Examples:
  zeta signature write
  zeta signature write --as otto --model opus --task B-0856
  zeta signature write --review explicit --evidence pr-review
  printf 'feat: a\\n' > message.txt && zeta signature write --into message.txt")]
pub(super) struct WriteArgs {
    /// Program that the agent runs in
    #[arg(long, value_name = "NAME")]
    pub(super) runtime: Option<String>,
    /// Model that it works with
    #[arg(long, value_name = "NAME")]
    pub(super) model: Option<String>,
    /// Account that the commit is pushed with [default: your address in git]
    #[arg(long, value_name = "NAME")]
    pub(super) identity: Option<String>,
    /// Whose account that is: shared, dedicated-agent, human-only or unknown
    #[arg(long, value_name = "MODE")]
    pub(super) credential_mode: Option<String>,
    /// Review by a person: explicit, not-implied-by-credential or none
    #[arg(long, value_name = "WORD")]
    pub(super) review: Option<String>,
    /// Where that can be read: chat, pr-review, pr-comment or signed-policy
    #[arg(long, value_name = "WORD")]
    pub(super) evidence: Option<String>,
    /// How the agent worked: autonomous-fail-open, human-directed or supervised
    #[arg(long, value_name = "MODE")]
    pub(super) action_mode: Option<String>,
    /// Item of work: none, a number, or as in B-0856
    #[arg(long, value_name = "TASK")]
    pub(super) task: Option<String>,
    /// Put the block into the message of this file, if it has none
    #[arg(long, value_name = "FILE")]
    pub(super) into: Option<PathBuf>,
    /// Change nothing if a person commits
    #[arg(long, requires = "into")]
    pub(super) hook: bool,
}

#[derive(Debug, Args)]
pub(super) struct HookArgs {
    /// One of the two hooks only: add or check
    #[arg(long, value_name = "HOOK")]
    pub(super) only: Option<String>,
    /// Directory of the hooks, if core.hooksPath leads out of the repository
    #[arg(long, value_name = "DIR")]
    pub(super) hooks_dir: Option<PathBuf>,
    /// Repository [default: that around the current directory]
    #[arg(long, value_name = "DIR")]
    pub(super) repository: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
prepare-commit-msg adds the block to the commits of an agent, and commit-msg refuses a commit of an
agent without a good block. A commit of a person passes: the caller is an agent if --as, ZETA_AGENT
or the session of its tool names one, and so is a co-author that the table knows. A hook that is
there runs first, as NAME.before-zeta. A second install changes nothing.

Exit status: 0 done; 3 the place belongs to another program.

Examples:
  zeta signature install-hook
  zeta signature install-hook --only check --json")]
pub(super) struct InstallArgs {
    #[command(flatten)]
    pub(super) hook: HookArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A hook that was there before gets its name back. One of another program stays.

Example:
  zeta signature uninstall-hook")]
pub(super) struct UninstallArgs {
    #[command(flatten)]
    pub(super) hook: HookArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
An agent cannot forget a commit, and cannot make one without work. The counter says for how many
ticks in a row an agent has not committed: active at 0, idle below 6, and overdue from 6 on. A
commit that lies more than five minutes in the future does not count. Nothing is fetched.

Examples:
  zeta signature beats
  zeta signature beats --tick 10m --since 2d --json")]
pub(super) struct BeatsArgs {
    /// Branch that counts [default: signature_branch, or HEAD]
    #[arg(long, value_name = "BRANCH")]
    pub(super) branch: Option<String>,
    /// Look so far back
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(super) since: String,
    /// Length of a tick of the counter
    #[arg(long, value_name = "TIME", default_value = "2m")]
    pub(super) tick: String,
    /// Repository [default: signature_repository, or that around the current directory]
    #[arg(long, value_name = "DIR")]
    pub(super) repository: Option<PathBuf>,
}

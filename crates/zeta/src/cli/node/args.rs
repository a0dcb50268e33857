//! The arguments of `zeta node`.

use std::path::PathBuf;

use clap::Args;

use zeta_registration::node::repository::Repository;

/// The examples of the noun.
pub(super) const EXAMPLES: &str = "\
Examples:
  zeta node register --repo acme/cluster --maintainer ace --dry-run   # print the file
  zeta node show
  zeta node list --repo acme/cluster";

#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Repository on GitHub [env: ZETA_SELF_REGISTER_REPO_SLUG]
    #[arg(long, value_name = "OWNER/NAME")]
    pub(super) repo: Option<String>,
    /// Address of the repository for git; without --repo, only a branch is pushed
    #[arg(long, value_name = "URL")]
    pub(super) remote: Option<String>,
    /// Fork that branches are pushed to, for an account without write access
    #[arg(long, value_name = "OWNER/NAME")]
    pub(super) fork: Option<String>,
    /// Address of the fork for git
    #[arg(long, value_name = "URL")]
    pub(super) fork_remote: Option<String>,
    /// Address of the API, for another server than GitHub's
    #[arg(long, value_name = "URL")]
    pub(super) api: Option<String>,
    /// Branch that nodes are registered on [default: the default branch]
    #[arg(long, value_name = "BRANCH")]
    pub(super) base: Option<String>,
    /// File with the token [default: the variable that gh reads for the server, or the token of gh]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

impl PlaceArgs {
    /// Reports whether the call itself names a repository.
    pub(super) fn is_given(&self) -> bool {
        let PlaceArgs { repo, remote, fork, fork_remote, api, base, token_file: _ } = self;
        [repo, remote, fork, fork_remote, api, base].iter().any(|part| part.is_some())
    }

    pub(super) fn place(self) -> Repository {
        let slug = std::env::var("ZETA_SELF_REGISTER_REPO_SLUG").ok().filter(|s| !s.is_empty());
        // A remote without --repo takes precedence over the environment.
        let repo = match (&self.repo, &self.remote) {
            (None, Some(_)) => None,
            _ => self.repo.or(slug),
        };
        Repository {
            repo,
            remote: self.remote,
            fork: self.fork,
            fork_remote: self.fork_remote,
            api: self.api,
            base: self.base,
            token_file: self.token_file,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
The command opens a pull request only if the node is not on the default branch and no pull request
for it is open, from any account. So every agent and a timer may run it, at every boot.

Examples:
  zeta node register --repo acme/cluster --maintainer ace
  zeta node register --remote /srv/cluster.git --maintainer ace   # no forge: a branch
  zeta node register --repo acme/cluster --fork ace/cluster --maintainer ace
  zeta node register --repo acme/cluster --maintainer ace --intent   # for the steward
  zeta node register --repo acme/cluster --maintainer ace --dry-run")]
pub(super) struct RegisterArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// User of the forge that the node belongs to
    #[arg(long, value_name = "USER")]
    pub(super) maintainer: String,
    /// Role of the node; may be given more than once [default: worker]
    #[arg(long = "role", value_name = "ROLE")]
    pub(super) roles: Vec<String>,
    /// Name the node after the host [default: its opaque name]
    #[arg(long)]
    pub(super) host_name: bool,
    /// Commit of the configuration that the node was installed from
    #[arg(long, value_name = "COMMIT")]
    pub(super) flake_commit: Option<String>,
    /// Host name in that configuration
    #[arg(long, value_name = "NAME")]
    pub(super) flake_host: Option<String>,
    /// Time until the registration expires without a sign of life, as in 30d [default: never]
    #[arg(long, value_name = "DURATION")]
    pub(super) expires: Option<String>,
    /// Open another pull request after one that was closed
    #[arg(long)]
    pub(super) reopen: bool,
    /// Longest wait after an attempt; 0s: make one now
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    pub(super) min_interval: String,
    /// Only record the intent, for 'zeta node steward'
    #[arg(long)]
    pub(super) intent: bool,
    /// Print the file that would be registered, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A node has one steward at a time. Each tick checks before it acts, so the next steward continues
the work of one that was killed. In a state directory of a group, where any member may
write an intent, the call must name the repository of the intent, because your token is used.

Examples:
  zeta node steward                        # one tick
  zeta node steward --every 5m             # until the node is registered
  zeta node steward --repo acme/cluster    # for a group")]
pub(super) struct StewardArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Longest wait after an attempt; 0s: make one now
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    pub(super) min_interval: String,
    /// Repeat the tick at this interval until the node is registered
    #[arg(long, value_name = "DURATION")]
    pub(super) every: Option<String>,
    /// Stop after this long
    #[arg(long, value_name = "DURATION")]
    pub(super) timeout: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta node list --repo acme/cluster")]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta node deregister node-1a2b3c --repo acme/cluster --maintainer ace --reason 'sold'
  zeta node deregister --dead --repo acme/cluster   # all that expired 3 days ago")]
pub(super) struct DeregisterArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Node to remove [default: this one]
    #[arg(conflicts_with = "dead")]
    pub(super) node: Option<String>,
    /// All nodes that expired more than three days ago
    #[arg(long, conflicts_with = "maintainer")]
    pub(super) dead: bool,
    /// User of the forge that the node belongs to
    #[arg(long, value_name = "USER", required_unless_present = "dead")]
    pub(super) maintainer: Option<String>,
    /// Reason, for the pull request
    #[arg(long, value_name = "TEXT", required_unless_present = "dead")]
    pub(super) reason: Option<String>,
}

//! The arguments of `zeta bus`, with an example for every verb.

use std::ffi::OsString;

use clap::Args;

use super::Place;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus publish --from otto-cli --topic heartbeat --payload '{\"status\":\"working\"}'
  zeta bus publish --from vera --to lior --topic review-request --payload '{\"artifact\":\"a.md\"}'
  zeta bus publish --from otto --topic gossip --topic-ttl 10m --payload '\"any JSON\"'
  zeta bus publish --from-state     # what changed on this node since the last call")]
pub(super) struct PublishArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Who sends it [default: the agent that you are]
    #[arg(long, value_name = "WHO")]
    pub(super) from: Option<String>,
    /// Whom it is for [default: '*', everybody]
    #[arg(long, value_name = "WHO")]
    pub(super) to: Option<String>,
    /// What it is about
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// What it says, as JSON
    #[arg(long, value_name = "JSON")]
    pub(super) payload: Option<String>,
    /// How long it lives; needed for a topic that is not known
    #[arg(long, value_name = "DURATION")]
    pub(super) topic_ttl: Option<String>,
    /// Store a payload that is not what its topic asks for
    #[arg(long)]
    pub(super) unchecked: bool,
    /// Publish a message for each record of the node that changed since the last call
    #[arg(long, conflicts_with_all = ["topic", "payload", "to"])]
    pub(super) from_state: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus list
  zeta bus list --to otto-cli --topic review-request --json
  zeta bus list --dead               # put away: nobody was told them")]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Only what is for this recipient, or for everybody
    #[arg(long, value_name = "WHO")]
    pub(super) to: Option<String>,
    /// Also those whose time is over
    #[arg(long)]
    pub(super) include_expired: bool,
    /// Those that were put away undelivered
    #[arg(long)]
    pub(super) dead: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus read 9aceec27-66a3-4ba8-9531-73c168fd0aab
  zeta bus read 9aceec27-66a3-4ba8-9531-73c168fd0aab --as otto-cli   # and leave word of it")]
pub(super) struct ReadArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Id of the message
    pub(super) id: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus watch --to otto-cli
  zeta bus watch --topic claim --timeout 60 --json")]
pub(super) struct WatchArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only what is for this recipient, or for everybody
    #[arg(long, value_name = "WHO")]
    pub(super) to: Option<String>,
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Longest time between two looks, in ms; changes are seen at once
    #[arg(long, value_name = "MS", default_value = "2000")]
    pub(super) interval: String,
    /// Stop after this many seconds
    #[arg(long, value_name = "S")]
    pub(super) timeout: Option<String>,
    /// Begin with the messages that are there already
    #[arg(long)]
    pub(super) from_start: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A message is handed over until its handler ended with 0, and then never again. What fails five
times and is for this surface alone is put away ('zeta bus list --dead').

Examples:
  zeta bus subscribe --surface otto-cli
  zeta bus subscribe --surface otto-cli --topic review-request -- ./review.sh   # JSON on stdin")]
pub(super) struct SubscribeArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Who is told [default: the agent that you are]
    #[arg(long, value_name = "NAME")]
    pub(super) surface: Option<String>,
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Command that takes one message on its standard input [default: print it]
    #[arg(last = true, value_name = "HANDLER")]
    pub(super) handler: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus clean --expired           # what counts no more; undelivered ones are put away
  zeta bus clean --from otto-cli
  zeta bus clean                     # every message")]
pub(super) struct CleanArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only what counts no more: expired, or a claim of a holder that is gone
    #[arg(long)]
    pub(super) expired: bool,
    /// Only messages of this sender
    #[arg(long, value_name = "WHO")]
    pub(super) from: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus status
  zeta bus status 9aceec27-66a3-4ba8-9531-73c168fd0aab   # stored, delivered, read, expired, dead")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Id of a message: what became of it
    pub(super) id: Option<String>,
}

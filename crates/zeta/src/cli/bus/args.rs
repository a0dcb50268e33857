//! The arguments of `zeta bus`, with examples for every verb.

use std::ffi::OsString;

use clap::Args;

use super::Place;

/// The examples of the noun.
pub(super) const EXAMPLES: &str = "\
Examples:
  zeta bus send vera-codex 'main is red, do not merge'
  zeta bus inbox
  zeta bus wait --timeout 10m
  zeta bus publish --to lior --topic review-request --payload '{\"artifact\":\"docs/a.md\"}'
  zeta bus list --to otto-cli
  zeta bus subscribe --surface otto-cli -- ./review.sh
  zeta bus status";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus publish --from otto-cli --topic heartbeat --payload '{\"status\":\"working\"}'
  zeta bus publish --from vera --to lior --topic review-request --payload '{\"artifact\":\"a.md\"}'
  zeta bus publish --from otto --topic gossip --topic-ttl 10m --payload '\"any JSON\"'
  zeta bus publish --from-state     # one message for each record that changed")]
pub(super) struct PublishArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Sender [default: your agent name]
    #[arg(long, value_name = "WHO")]
    pub(super) from: Option<String>,
    /// Recipient [default: '*', all agents]
    #[arg(long, value_name = "WHO")]
    pub(super) to: Option<String>,
    /// Topic, such as heartbeat, claim or review-request
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Content, in JSON
    #[arg(long, value_name = "JSON")]
    pub(super) payload: Option<String>,
    /// Time until the message expires; required for a topic of your own
    #[arg(long, value_name = "DURATION")]
    pub(super) topic_ttl: Option<String>,
    /// Store the payload even if it does not have the form of its topic
    #[arg(long)]
    pub(super) unchecked: bool,
    /// Publish a message for each record of the node that changed since the last call
    #[arg(long, conflicts_with_all = ["topic", "payload", "to"])]
    pub(super) from_state: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The message waits for 24 h. The agent gets it by its hooks or with 'zeta bus inbox', and 'zeta
status' says that it has one. What is known of the agent is a line on standard error: whether it
lives, and what tells it of its mail. 'zeta bus status ID' shows what became of the message. For
other content and another time, see 'zeta bus publish'.

Examples:
  zeta bus send vera-codex 'main is red, do not merge'
  zeta bus send '#build' 'main is green'    # to all agents in the channel
  zeta bus send '*' 'back in ten minutes'   # to all agents
  zeta bus send otto 'done' --reply-to 9aceec27-66a3-4ba8-9531-73c168fd0aab")]
pub(super) struct SendArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Sender [default: your agent name]
    #[arg(long, value_name = "WHO")]
    pub(super) from: Option<String>,
    /// Id of the message that this one answers; both are then in one thread
    #[arg(long, value_name = "ID")]
    pub(super) reply_to: Option<String>,
    /// Agent that gets the message, a channel such as '#build', or '*' for all
    #[arg(value_name = "AGENT")]
    pub(super) to: String,
    /// What to say
    #[arg(value_name = "TEXT", required = true, num_args = 1..)]
    pub(super) text: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Messages for you alone, those for a channel that you are in, and those for all agents that people
write. Announcements of claims, heartbeat messages and state changes are left out: 'zeta bus list'
shows them.

Examples:
  zeta bus inbox
  zeta bus inbox --thread 9aceec27-66a3-4ba8-9531-73c168fd0aab
  zeta bus inbox --keep --json       # do not mark them read")]
pub(super) struct InboxArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only the thread that this message is in
    #[arg(long, value_name = "ID")]
    pub(super) thread: Option<String>,
    /// Leave the messages unread
    #[arg(long)]
    pub(super) keep: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The call ends at the first message for you, also if it was there before. It prints from whom there
are messages, not what they say: 'zeta bus inbox' does. So an agent tool that looks at its
background commands is woken by it: run it in the background. While a turn of the agent runs and its
hooks give it its mail, the call goes on, for up to 30 s. One process at a time waits for an agent.
Exit status 3: another one waits. 5: the agent's process has ended. 6: the time is over.

Examples:
  zeta bus wait
  zeta bus wait --timeout 10m --from otto && zeta bus inbox
  zeta bus wait --thread 9aceec27-66a3-4ba8-9531-73c168fd0aab --timeout 60s --json")]
pub(super) struct WaitArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only messages of this agent
    #[arg(long, value_name = "WHO")]
    pub(super) from: Option<String>,
    /// Only the thread that this message is in
    #[arg(long, value_name = "ID")]
    pub(super) thread: Option<String>,
    /// Stop after this long. A bare number is in seconds
    #[arg(long, value_name = "DURATION")]
    pub(super) timeout: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A message to a channel reaches each agent that was in it when it was sent, once. The files
'.zeta/channels/CHANNEL,AGENT' in the bus directory say who is in it; 'zeta bus status' lists them.

Examples:
  zeta bus join '#build'
  zeta bus send '#build' 'main is green'
  zeta bus leave '#build'")]
pub(super) struct ChannelArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Channel, as in '#build'
    #[arg(value_name = "CHANNEL")]
    pub(super) channel: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus list
  zeta bus list --to otto-cli --topic review-request --json
  zeta bus list --dead               # messages that could not be delivered")]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Only messages for this recipient, or for all agents
    #[arg(long, value_name = "WHO")]
    pub(super) to: Option<String>,
    /// Only the thread that this message is in
    #[arg(long, value_name = "ID")]
    pub(super) thread: Option<String>,
    /// Also expired messages
    #[arg(long)]
    pub(super) include_expired: bool,
    /// The dead letters: messages that could not be delivered
    #[arg(long)]
    pub(super) dead: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus read 9aceec27-66a3-4ba8-9531-73c168fd0aab
  zeta bus read 9aceec27-66a3-4ba8-9531-73c168fd0aab --as otto-cli   # marks it read")]
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
  zeta bus watch --topic claim --timeout 60s --json")]
pub(super) struct WatchArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only messages for this recipient, or for all agents
    #[arg(long, value_name = "WHO")]
    pub(super) to: Option<String>,
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Longest time between two checks; changes are noticed at once. A bare number is in ms
    /// [default: 2s]
    #[arg(long, value_name = "DURATION")]
    pub(super) interval: Option<String>,
    /// Stop after this long. A bare number is in seconds
    #[arg(long, value_name = "DURATION")]
    pub(super) timeout: Option<String>,
    /// Start with the messages that are already stored
    #[arg(long)]
    pub(super) from_start: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The command delivers the stored messages, oldest first, and ends. With --follow it stays, delivers
new ones as they come, and offers a failed one again after 2 s.
A message is delivered until its handler ends with 0, and then never again. When the handler has
failed five times for a message to this surface alone, the message becomes a dead letter ('zeta bus
list --dead').

Examples:
  zeta bus subscribe --surface otto-cli
  zeta bus subscribe --surface otto-cli --follow
  zeta bus subscribe --surface otto-cli --topic review-request -- ./review.sh   # JSON on stdin")]
pub(super) struct SubscribeArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Subscriber [default: your agent name]
    #[arg(long, value_name = "NAME")]
    pub(super) surface: Option<String>,
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Stay, and deliver new messages as they come
    #[arg(long)]
    pub(super) follow: bool,
    /// Command that gets one message on its standard input [default: print the message]
    #[arg(last = true, value_name = "HANDLER")]
    pub(super) handler: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta bus clean --expired           # undelivered ones become dead letters
  zeta bus clean --from otto-cli
  zeta bus clean                     # every message")]
pub(super) struct CleanArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only expired messages, and claims of holders that have ended
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
  zeta bus status 9aceec27-66a3-4ba8-9531-73c168fd0aab   # the state of one message")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Id of a message, to show its state
    pub(super) id: Option<String>,
}

//! Sends a text to agents, and finds out what is known of them: whether each one lives, and what
//! tells it of its mail.

use std::path::Path;

use serde_json::json;
use zeta_core::bus::{
    Address, CHANNEL_SIGN, Channel, EVERYBODY, Envelope, Means, Recipient, judge_means, topic,
};
use zeta_core::hook::turn;
use zeta_core::name::Label;

use super::{NewMessage, Reply, channel, publish_to, read, wake};
use crate::claim;
use crate::directory::{Bus, delivery_log};
use zeta_os::error::{Error, Kind, Result};
use zeta_state::context::{Context, NodeHandle};
use zeta_state::directory::copied::node_of_agent;
use zeta_state::presence::tool_session::{self, AgentRecord};

/// A text to send.
#[derive(Debug, Clone)]
pub struct NewText {
    /// The sender.
    pub from: Address,
    /// The recipient.
    pub to: Recipient,
    /// What it says.
    pub text: String,
    /// The id of the message that it answers.
    pub reply_to: Option<String>,
}

/// A text that was sent.
#[derive(Debug, Clone)]
pub struct SentText {
    /// Its message.
    pub envelope: Envelope,
    /// The agents that it is for, as far as they are known.
    pub reached: Vec<Reached>,
}

/// What is known of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub agent: String,
    /// Whether an agent of this name was here: it has a record on this node, or it has received a
    /// message before.
    pub known: bool,
    /// Whether its record shows that it lives.
    pub lives: bool,
    /// What tells it of the message at once.
    pub wakes_by: Option<Means>,
    /// The other machine's node that has a record of it, if this one knows nothing of it.
    pub node: Option<Label>,
}

/// Parses a recipient: an agent, a channel, or `*`.
pub fn recipient(text: &str) -> Result<Recipient> {
    match text {
        EVERYBODY => Ok(Recipient::All),
        text if text.starts_with(CHANNEL_SIGN) => Channel::new(text)
            .map(Recipient::Channel)
            .map_err(|rule| Error::usage(format!("channel {text:?} is not valid: {rule}"))),
        text => claim::address("recipient", text).map(Recipient::Agent),
    }
}

/// Sends a text. One for all agents is marked as unread for those that are here: that live, or that
/// a process waits for.
///
/// # Errors
/// [`Kind::NotFound`] if the message that it answers is not on the bus.
pub fn send(ctx: &Context, dir: &Path, new: &NewText) -> Result<SentText> {
    let reply = new.reply_to.as_deref().map(|id| reply_to(dir, id)).transpose()?;
    let message = NewMessage {
        from: new.from.clone(),
        to: new.to.clone(),
        topic: topic::TEXT.to_owned(),
        payload: json!({ "text": new.text }),
        life_ms: None,
        unchecked: false,
        reply,
    };
    let envelope = message.envelope()?;
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.find()?;
    let recipients = recipients(&bus, handle.as_ref(), &new.to)?;
    let is_reached = |one: &String| matches!(new.to, Recipient::Agent(_)) || *one != envelope.from;
    let reached = recipients.iter().filter(|one| is_reached(one));
    // The message ends the waits, so what it ends is found out before it is there.
    let reached = reached.map(|one| reached_one(handle.as_ref(), &bus, one)).collect();
    publish_to(&bus, &envelope, &recipients)?;
    Ok(SentText { envelope, reached })
}

/// Returns the agents of this node that a text is for, as far as they are known.
pub(crate) fn recipients(
    bus: &Bus,
    handle: Option<&NodeHandle<'_>>,
    to: &Recipient,
) -> Result<Vec<String>> {
    Ok(match to {
        Recipient::Agent(address) => vec![address.as_str().to_owned()],
        Recipient::Channel(channel) => channel::members(bus, channel)?,
        Recipient::All => {
            let living = handle.map(tool_session::living).unwrap_or_default();
            let mut here: Vec<String> = living.into_iter().map(|(name, _)| name).collect();
            // A process that waits for mail needs no record.
            here.extend(wake::all_armed(bus).unwrap_or_default());
            here.sort_unstable();
            here.dedup();
            here
        }
    })
}

/// Finds the message that another one answers.
pub fn reply_to(dir: &Path, id: &str) -> Result<Reply> {
    match read(dir, id, None)? {
        Some(seen) => Ok(Reply { to: id.to_owned(), thread: seen.envelope.thread().to_owned() }),
        None => Err(Error::new(Kind::NotFound, format!("no message with id {id}"))
            .hint("it was removed, or the id is another one: see 'zeta bus list'")
            .hint("to send the text without it, leave out --reply-to")),
    }
}

/// Finds out what is known of a recipient.
fn reached_one(handle: Option<&NodeHandle<'_>>, bus: &Bus, agent: &str) -> Reached {
    let label = Address::new(agent).map(|address| address.as_label()).unwrap_or_default();
    let record = handle.and_then(|handle| tool_session::find(handle, &label));
    let has_record = record.is_some();
    let lives = record.as_ref().is_some_and(|record| record.lives);
    let wakes_by = wakes_by(bus, agent, record);
    let known = has_record
        || wakes_by.is_some()
        || delivery_log::peek(bus, agent).is_ok_and(|log| !log.states.is_empty());
    let elsewhere = || node_of_agent(&handle?.tree, &label);
    let node = if known { None } else { elsewhere() };
    Reached { agent: agent.to_owned(), known: known || node.is_some(), lives, wakes_by, node }
}

/// What tells an agent of a message at once.
fn wakes_by(bus: &Bus, agent: &str, record: Option<AgentRecord>) -> Option<Means> {
    let record = record.filter(|record| record.lives);
    let turn = record.as_ref().and_then(|record| turn::of(&record.fields));
    let with_terminal = record.filter(|record| {
        record.fields.text(tool_session::WAKE).is_some_and(|word| word == tool_session::WAKE_BY_PTY)
    });
    let owner = with_terminal.as_ref().and_then(|record| record.own).map(|own| own.pid);
    judge_means(turn, wake::armed(bus, agent), with_terminal.is_some(), owner)
}

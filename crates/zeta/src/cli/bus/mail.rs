//! The verbs of `zeta bus` for texts from agent to agent: sent, read, waited for, and channels.

use std::time::Duration;

use zeta_core::bus::{Channel, Recipient};
use zeta_core::time::format_duration;

use super::args::{ChannelArgs, InboxArgs, SendArgs, WaitArgs};
use super::{Call, address, duration};
use crate::environment::bus_shape;
use zeta_bus::directory::Bus;
use zeta_bus::directory::delivery_log::Delivery;
use zeta_bus::messages::inbox::{self, Given, Selection};
use zeta_bus::messages::send::NewText;
use zeta_bus::messages::wake::{self, Waited};
use zeta_bus::messages::{Listing, channel, report, send, thread_of};
use zeta_bus::report::Shape;
use zeta_os::error::{Error, Kind, Result};

/// Parses a recipient: an agent, a channel, or `*`. The original knows only some ids.
pub(super) fn recipient(text: &str) -> Result<Recipient> {
    let recipient = send::recipient(text)?;
    match &recipient {
        Recipient::Agent(agent) => address("recipient", agent.as_str()).map(|_| ())?,
        Recipient::Channel(_) => no_original()?,
        Recipient::All => {}
    }
    Ok(recipient)
}

/// Refuses channels where only what the original knows is allowed.
fn no_original() -> Result<()> {
    match bus_shape() {
        Shape::Original => Err(Error::usage("the original knows no channels")
            .hint("ZETA_BUS_IDS=original is set: unset it to use them")),
        Shape::Zeta => Ok(()),
    }
}

pub(super) fn send(call: &Call) -> Result<u8> {
    let args: SendArgs = call.args()?;
    let ctx = call.context()?;
    let new = NewText {
        from: address("sender", args.from.as_deref().unwrap_or(ctx.agent.as_str()))?,
        to: recipient(&args.to)?,
        text: args.text.join(" "),
        reply_to: args.reply_to,
    };
    let sent = send::send(&ctx, &args.place.dir(), &new)?;
    call.out.note(&report::sent_note(&sent));
    call.out.data(&match call.out.json {
        true => bus_shape().text(&report::sent(&sent)),
        false => sent.envelope.id,
    })?;
    Ok(0)
}

pub(super) fn inbox(call: &Call) -> Result<u8> {
    let args: InboxArgs = call.args()?;
    let (dir, agent) = (args.place.dir(), call.context()?.agent);
    let thread = args.thread.as_deref().map(|id| thread_of(&dir, id)).transpose()?;
    let selection = Selection { thread, ..Selection::default() };
    let print = |unread: &Listing| {
        call.out.either(|| report::inbox(unread), || report::inbox_text(unread))?;
        if !call.out.json {
            unread.findings.iter().for_each(|finding| call.out.note_finding(finding));
        }
        Ok(())
    };
    if args.keep {
        return print(&inbox::unread_of(&dir, agent.as_str(), &selection)?).map(|()| 0);
    }
    let mut printed = false;
    let as_read = Given { as_state: Delivery::Read, wakes_by: None };
    let taken = inbox::take(&dir, agent.as_str(), &selection, as_read, |unread| {
        printed = true;
        print(unread)?;
        Ok(unread.messages.iter().map(|one| one.envelope.id.clone()).collect())
    });
    match taken {
        Err(error) if !printed => {
            print(&inbox::unread_of(&dir, agent.as_str(), &selection)?)?;
            match error.kind {
                // They are being delivered to this very agent, whose handler reads them.
                Kind::Busy => Ok(0),
                _ => Err(error),
            }
        }
        taken => taken.map(|()| 0),
    }
}

pub(super) fn wait(call: &Call) -> Result<u8> {
    let args: WaitArgs = call.args()?;
    let ctx = call.context()?;
    let (dir, agent) = (args.place.dir(), ctx.agent.as_str());
    let limit = args.timeout.as_deref().map(|text| duration("timeout", 1000, text)).transpose()?;
    let thread = args.thread.as_deref().map(|id| thread_of(&dir, id)).transpose()?;
    let from = args.from.as_deref().map(|from| address("sender", from)).transpose()?;
    let from = from.map(|from| from.to_string());
    let selection = Selection { from, thread, ..Selection::default() };
    match wake::wait(&ctx, &dir, agent, &selection, limit)? {
        Waited::Mail(mail) => {
            call.out
                .either(|| report::waiting(agent, &mail), || report::waiting_text(agent, &mail))?;
            Ok(0)
        }
        Waited::TimeOut => {
            let ms = limit.unwrap_or(Duration::ZERO).as_millis();
            Err(report::no_mail(agent, &format_duration(u64::try_from(ms).unwrap_or(u64::MAX))))
        }
        Waited::AgentEnded => Err(report::agent_ended(agent)),
    }
}

pub(super) fn join(call: &Call) -> Result<u8> {
    membership(call, channel::join, "joined", "already_joined")
}

pub(super) fn leave(call: &Call) -> Result<u8> {
    membership(call, channel::leave, "left", "not_joined")
}

fn membership(
    call: &Call,
    change: fn(&std::path::Path, &str, &Channel) -> Result<bool>,
    done: &str,
    nothing: &str,
) -> Result<u8> {
    let args: ChannelArgs = call.args()?;
    let (dir, agent) = (args.place.dir(), call.context()?.agent);
    no_original()?;
    let Recipient::Channel(channel) = send::recipient(&args.channel)? else {
        return Err(Error::usage(format!("{:?} is no channel: write '#name'", args.channel))
            .hint("quote it: '#' begins a comment in the shell"));
    };
    let word = if change(&dir, agent.as_str(), &channel)? { done } else { nothing };
    let members = match Bus::open(&dir)? {
        Some(bus) => channel::members(&bus, &channel)?,
        None => Vec::new(),
    };
    let (agent, channel) = (agent.as_str(), channel.as_str());
    call.out.either(
        || report::membership(agent, channel, word, &members),
        || report::membership_text(agent, channel, word, &members),
    )?;
    Ok(0)
}

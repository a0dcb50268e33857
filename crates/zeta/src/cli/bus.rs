//! `zeta bus`: messages between agents, in the files of the original tool.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use zeta_core::bus::{Address, Envelope, Reader, Recipient};
use zeta_core::time::parse_duration;

use super::{Call, Noun, Verb};
use crate::environment::bus_shape;
use zeta_bus::messages as ops;
use zeta_bus::messages::follow;
use zeta_bus::messages::follow::{Changes, Following, Seen};
use zeta_bus::messages::status::DeliveryState;
use zeta_bus::messages::{Filter, NewMessage, report, state_changes};
use zeta_bus::report::{Shape, json_line};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::signal::pass_on_inherited;

mod args;
mod mail;

use args::{
    ChannelArgs, CleanArgs, InboxArgs, ListArgs, PublishArgs, ReadArgs, SendArgs, StatusArgs,
    SubscribeArgs, WaitArgs, WatchArgs,
};

pub(super) const NOUN: Noun = Noun {
    name: "bus",
    about: "Messages that agents leave for each other",
    build: |noun| super::needs_verb_unless_original(noun).after_help(args::EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb_or_help(call, &NOUN),
};

const VERBS: &[Verb] = &[
    Verb {
        name: "publish",
        about: "Store a message; prints its id",
        args: PublishArgs::augment_args,
        run: publish,
    },
    Verb {
        name: "send",
        about: "Send a text to an agent, a channel or all; prints the id of the message",
        args: SendArgs::augment_args,
        run: mail::send,
    },
    Verb {
        name: "inbox",
        about: "Print the messages that you have not read yet, and mark them read",
        args: InboxArgs::augment_args,
        run: mail::inbox,
    },
    Verb {
        name: "wait",
        about: "End as soon as there is a message for you; prints from whom",
        args: WaitArgs::augment_args,
        run: mail::wait,
    },
    Verb {
        name: "join",
        about: "Come into a channel: its messages reach you from now on",
        args: ChannelArgs::augment_args,
        run: mail::join,
    },
    Verb {
        name: "leave",
        about: "Leave a channel",
        args: ChannelArgs::augment_args,
        run: mail::leave,
    },
    Verb {
        name: "list",
        about: "List the messages, oldest first",
        args: ListArgs::augment_args,
        run: list,
    },
    Verb {
        name: "read",
        about: "Print one message, by its id",
        args: ReadArgs::augment_args,
        run: read,
    },
    Verb {
        name: "watch",
        about: "Print every message as it comes",
        args: WatchArgs::augment_args,
        run: watch,
    },
    Verb {
        name: "subscribe",
        about: "Deliver the messages that a surface has not received yet, each once",
        args: SubscribeArgs::augment_args,
        run: subscribe,
    },
    Verb {
        name: "clean",
        about: "Remove messages: all, those of one sender, or the expired ones",
        args: CleanArgs::augment_args,
        run: clean,
    },
    Verb {
        name: "status",
        about: "Show heartbeats, claims and review requests, or the state of one message",
        args: StatusArgs::augment_args,
        run: status,
    },
];

// No documentation comment: the help would print it as the description of the whole verb.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Bus directory [default: /tmp/zeta-bus] [env: ZETA_BUS_DIR]
    #[arg(long, value_name = "DIR")]
    bus_dir: Option<PathBuf>,
}

impl Place {
    pub(super) fn dir(&self) -> PathBuf {
        crate::environment::bus_dir(self.bus_dir.clone())
    }
}

/// Parses a sender or recipient. With `ZETA_BUS_IDS=original` only the ids of the original tool are
/// valid, for a bus whose other readers refuse all others.
pub(super) fn address(what: &str, text: &str) -> Result<Address> {
    let address = zeta_bus::claim::address(what, text)?;
    if bus_shape() == Shape::Original && !address.is_original() {
        return Err(Error::usage(format!("{what} {text:?} is not an id of the original"))
            .hint("ZETA_BUS_IDS=original is set: unset it to use any name"));
    }
    Ok(address)
}

fn publish(call: &Call) -> Result<u8> {
    let args: PublishArgs = call.args()?;
    let dir = args.place.dir();
    let ctx = call.context()?;
    let from = match &args.from {
        Some(from) => address("sender", from)?,
        None => address("sender", ctx.agent.as_str())?,
    };
    if args.from_state {
        let published = state_changes::publish_changes(&ctx, &dir, &from)?;
        let ids = || published.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join("\n");
        return call.out.either(|| report::all_published(&published), ids).map(|()| 0);
    }
    let (Some(topic), Some(payload)) = (&args.topic, &args.payload) else {
        return Err(Error::usage("a message needs --topic and --payload")
            .hint("to leave a text for an agent: zeta bus send AGENT 'text'")
            .hint("zeta bus publish --topic shadow-catch --payload '{\"content\":\"…\"}'"));
    };
    let payload: Value = serde_json::from_str(payload).map_err(|error| {
        Error::usage(format!("message refused: the payload is not JSON: {error}"))
            .hint("quote it for the shell: --payload '{\"status\":\"alive\"}'")
    })?;
    let life = args.topic_ttl.as_deref().map(|text| parse_duration("topic TTL", text));
    let draft = NewMessage {
        from,
        to: args.to.as_deref().map_or(Ok(Recipient::All), mail::recipient)?,
        topic: topic.clone(),
        payload,
        life_ms: life.transpose()?,
        unchecked: args.unchecked,
        reply: None,
    };
    let envelope = ops::publish(&dir, &draft)?;
    call.out.data(&match call.out.json {
        true => bus_shape().text(&report::published(&envelope)),
        false => envelope.id,
    })?;
    Ok(0)
}

fn list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let dir = args.place.dir();
    if args.dead {
        let dead = ops::dead_letters(&dir)?;
        let text = || report::dead_letters_text(&dead);
        return call.out.either(|| report::dead_letters(&dead), text).map(|()| 0);
    }
    let filter = Filter {
        topic: args.topic.clone(),
        to: args.to.as_deref().map(Reader::named),
        thread: args.thread.as_deref().map(|id| ops::thread_of(&dir, id)).transpose()?,
        expired: args.include_expired,
        ..Filter::default()
    };
    ops::show(&dir, &filter, |rows, findings| {
        call.out.data(&match call.out.json {
            true => report::rows_json(rows, findings, bus_shape()),
            false => report::rows_text(rows),
        })?;
        findings.iter().for_each(|finding| call.out.note_finding(finding));
        Ok(0)
    })
}

fn read(call: &Call) -> Result<u8> {
    let args: ReadArgs = call.args()?;
    let ctx = call.context()?;
    let reader = ctx.agent_named.then(|| ctx.agent.as_str());
    let Some(seen) = ops::read(&args.place.dir(), &args.id, reader)? else {
        return Err(report::no_such_message(
            &args.id,
            "see 'zeta bus list'; removed messages are not kept",
        ));
    };
    call.out.data(&match call.out.json {
        true => bus_shape().text(&report::envelope(&seen.envelope)),
        false => report::whole(&seen),
    })?;
    Ok(0)
}

/// Reads a duration whose bare numbers are units of `unit_ms`. The original accepts nothing else.
fn duration(what: &'static str, unit_ms: u64, text: &str) -> Result<Duration> {
    let wrong = || Error::usage(format!("{what} {text:?} is not valid: write a whole number"));
    let ms = match text.parse::<u64>() {
        Ok(number) if !text.starts_with('+') => number.saturating_mul(unit_ms),
        _ if bus_shape() == Shape::Original => {
            return Err(wrong().hint("with ZETA_BUS_IDS=original no unit may be written"));
        }
        _ if !text.contains(|c: char| c.is_ascii_alphabetic()) => {
            return Err(wrong().hint("or a number with its unit, as in 500ms or 2s"));
        }
        _ => parse_duration(what, text)?,
    };
    Ok(Duration::from_millis(ms))
}

/// The longest time between two checks of `bus watch`, by default.
const INTERVAL: Duration = Duration::from_secs(2);

fn watch(call: &Call) -> Result<u8> {
    let args: WatchArgs = call.args()?;
    let interval =
        args.interval.as_deref().map(|text| duration("interval", 1, text)).transpose()?;
    let interval = interval.unwrap_or(INTERVAL);
    if interval.is_zero() {
        return Err(Error::usage("interval 0 is not valid: it must be more than 0"));
    }
    let limit = args.timeout.as_deref().map(|text| duration("timeout", 1000, text)).transpose()?;
    let following = Following {
        filter: Filter {
            topic: args.topic,
            to: args.to.as_deref().map(Reader::named),
            ..Filter::default()
        },
        from_start: args.from_start,
        interval,
        limit,
    };
    follow::watch(&args.place.dir(), &following, |seen| {
        let seen = match seen {
            Seen::Message(message) => message,
            Seen::Finding(finding) => {
                call.out.warn(finding);
                return Ok(true);
            }
        };
        let line = match call.out.json {
            true => json_line(&report::envelope(&seen.envelope)),
            false => report::line(seen, 80),
        };
        call.out.data(&line).map(|()| true)
    })?;
    Ok(0)
}

fn subscribe(call: &Call) -> Result<u8> {
    let args: SubscribeArgs = call.args()?;
    let dir = args.place.dir();
    let surface = match &args.surface {
        Some(surface) => surface.clone(),
        None => call.context()?.agent.to_string(),
    };
    let handle = |envelope: &Envelope| match args.handler.as_slice() {
        [] => call
            .out
            .data(&match call.out.json {
                true => json_line(&report::envelope(envelope)),
                false => report::delivered(envelope, 80),
            })
            .map(|()| true),
        [program, rest @ ..] => hand_to(program, rest, envelope),
    };
    let mut changes = args.follow.then(|| Changes::of(&dir)).transpose()?;
    let mut named = HashSet::new();
    loop {
        let (deliveries, findings) =
            follow::deliver(&dir, &surface, args.topic.as_deref(), handle)?;
        let failures: Vec<Error> = deliveries.iter().filter_map(report::failed_delivery).collect();
        failures.iter().for_each(|error| call.out.warn(error));
        let new = findings.iter().filter(|finding| named.insert(finding.text.clone()));
        new.for_each(|finding| call.out.warn(finding));
        match &mut changes {
            Some(changes) => changes.wait(&dir, INTERVAL)?,
            None if failures.is_empty() => return Ok(0),
            None => return Ok(Kind::Fault.status()),
        }
    }
}

/// Runs a handler with the message on its standard input; returns whether it ended with 0.
fn hand_to(
    program: &std::ffi::OsString,
    rest: &[std::ffi::OsString],
    envelope: &Envelope,
) -> Result<bool> {
    let mut command = Program::new(program);
    command
        .args(rest)
        .env("ZETA_MESSAGE_ID", &envelope.id)
        .env("ZETA_MESSAGE_TOPIC", &envelope.topic)
        .stdin(Stdio::piped());
    let mut child = pass_on_inherited(&mut command).spawn().map_err(|error| {
        let name = program.to_string_lossy();
        Error::new(Kind::Fault, format!("cannot start the handler {name:?}: {error}"))
            .hint("nothing was delivered; the messages stay")
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A handler may need only the environment and read nothing, so a failure is ignored.
        let _ = stdin.write_all(envelope.render().as_bytes());
    }
    let ended = child.wait().map_err(|error| {
        Error::new(Kind::Fault, format!("cannot wait for the handler: {error}"))
    })?;
    Ok(ended.success())
}

fn clean(call: &Call) -> Result<u8> {
    let args: CleanArgs = call.args()?;
    let ctx = call.context()?;
    let cleaned =
        zeta_bus::clean::clean(&ctx, &args.place.dir(), args.expired, args.from.as_deref())?;
    call.out.either(|| cleaned.object(), || cleaned.text())?;
    Ok(0)
}

fn status(call: &Call) -> Result<u8> {
    let args: StatusArgs = call.args()?;
    let dir = args.place.dir();
    let Some(id) = &args.id else {
        let status = ops::status::status(&dir)?;
        call.out.data(&match call.out.json {
            true => bus_shape().text_of(report::status(&status), report::STATUS_CAMEL),
            false => report::status_text(&status),
        })?;
        status.findings.iter().for_each(|finding| call.out.note_finding(finding));
        return Ok(0);
    };
    let Some((state, at)) = ops::status::fate(&dir, id)? else {
        let hint = "it was never stored here, or it was removed";
        return Err(report::no_such_message(id, hint));
    };
    let object = || report::fate(id, state, &at);
    if state == DeliveryState::Dead && call.out.json {
        let error = report::is_dead(id);
        call.out.error(&error, Some(object()));
        return Ok(error.kind.status());
    }
    call.out.either(object, || report::fate_text(state, &at))?;
    Ok(if state == DeliveryState::Dead { Kind::NotFound.status() } else { 0 })
}

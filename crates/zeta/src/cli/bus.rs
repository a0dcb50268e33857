//! `zeta bus`: messages that agents leave for each other, in the files of the original tool.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use zeta_core::bus::{Address, EVERYBODY, Envelope};
use zeta_core::time::parse_duration;

use super::{Call, Noun, Verb};
use zeta_bus::messages as ops;
use zeta_bus::messages::follow;
use zeta_bus::messages::follow::{Delivery, Following};
use zeta_bus::messages::{Filter, NewMessage, state_changes};
use zeta_os::error::{Error, Kind, Result};

mod args;
mod words;

use args::{CleanArgs, ListArgs, PublishArgs, ReadArgs, StatusArgs, SubscribeArgs, WatchArgs};

pub(super) use words::{json_line, json_text};

pub(super) const NOUN: Noun = Noun {
    name: "bus",
    about: "Messages that agents leave for each other",
    build: super::may_lack_verb,
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
        name: "list",
        about: "The messages, oldest first",
        args: ListArgs::augment_args,
        run: list,
    },
    Verb { name: "read", about: "One message, by its id", args: ReadArgs::augment_args, run: read },
    Verb {
        name: "watch",
        about: "Print every message as it comes",
        args: WatchArgs::augment_args,
        run: watch,
    },
    Verb {
        name: "subscribe",
        about: "Hand over what a surface was not told yet, each message once",
        args: SubscribeArgs::augment_args,
        run: subscribe,
    },
    Verb {
        name: "clean",
        about: "Remove messages: all, one sender's, or those whose time is over",
        args: CleanArgs::augment_args,
        run: clean,
    },
    Verb {
        name: "status",
        about: "Who is on the bus; or what became of one message",
        args: StatusArgs::augment_args,
        run: status,
    },
];

/// Where the bus is: the flag, the environment, the default.
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

/// A sender or recipient as typed. `ZETA_BUS_IDS=original` accepts only those that the original
/// does, for a bus whose other readers refuse any other.
pub(super) fn address(what: &str, text: &str) -> Result<Address> {
    let address = zeta_bus::claim::address(what, text)?;
    let closed = std::env::var("ZETA_BUS_IDS").is_ok_and(|ids| ids == "original");
    match closed && !address.is_original() {
        true => Err(Error::usage(format!("{what} {text:?} is not an id of the original"))
            .hint("ZETA_BUS_IDS=original is set: unset it to use any name")),
        false => Ok(address),
    }
}

fn recipient(text: Option<&str>) -> Result<Option<Address>> {
    match text {
        None | Some(EVERYBODY) => Ok(None),
        Some(text) => address("recipient", text).map(Some),
    }
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
        let told = state_changes::publish_changes(&ctx, &dir, &from)?;
        return print_published(call, &told, true);
    }
    let (Some(topic), Some(payload)) = (&args.topic, &args.payload) else {
        return Err(Error::usage("a message needs --topic and --payload")
            .hint("zeta bus publish --topic shadow-catch --payload '{\"content\":\"…\"}'"));
    };
    let payload: Value = serde_json::from_str(payload).map_err(|error| {
        Error::usage(format!("message refused: the payload is no JSON: {error}"))
            .hint("quote it for the shell: --payload '{\"status\":\"alive\"}'")
    })?;
    let life = args.topic_ttl.as_deref().map(|text| parse_duration("topic TTL", text));
    let draft = NewMessage {
        from,
        to: recipient(args.to.as_deref())?,
        topic: topic.clone(),
        payload,
        life_ms: life.transpose()?,
        unchecked: args.unchecked,
    };
    let envelope = ops::publish(&dir, &draft)?;
    print_published(call, &[envelope], false)
}

fn print_published(call: &Call, envelopes: &[Envelope], many: bool) -> Result<u8> {
    let stored = |envelope: &Envelope| {
        let mut object = envelope.to_object();
        object.insert("result".to_owned(), "stored".into());
        Value::Object(object)
    };
    match call.out.json {
        true if many => {
            let all: Vec<Value> = envelopes.iter().map(stored).collect();
            call.out.data(&json_text(&Value::Array(all)))?;
        }
        _ => {
            for envelope in envelopes {
                match call.out.json {
                    true => call.out.data(&json_text(&stored(envelope)))?,
                    false => call.out.data(&envelope.id)?,
                }
            }
        }
    }
    Ok(0)
}

fn list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let dir = args.place.dir();
    if args.dead {
        let dead = ops::dead_letters(&dir)?;
        return words::print_envelopes(call.out, &dead);
    }
    let filter =
        Filter { topic: args.topic.clone(), to: args.to.clone(), expired: args.include_expired };
    ops::show(&dir, &filter, |rows, findings| words::print_rows(call.out, rows, findings))
}

fn read(call: &Call) -> Result<u8> {
    let args: ReadArgs = call.args()?;
    let ctx = call.context()?;
    let reader = ctx.agent_named.then(|| ctx.agent.as_str());
    match ops::read(&args.place.dir(), &args.id, reader)? {
        Some(seen) => {
            let object = Value::Object(seen.envelope.to_object());
            let text = || words::whole(&seen);
            match call.out.json {
                true => call.out.data(&json_text(&object))?,
                false => call.out.data(&text())?,
            }
            Ok(0)
        }
        None => {
            let error = Error::new(Kind::NotFound, format!("no message with id {}", args.id))
                .hint("see 'zeta bus list'; what was cleaned away is gone");
            call.out.error(&error, None);
            Ok(error.kind.status())
        }
    }
}

/// Whole numbers only, as the original asks.
fn digits(what: &str, text: &str) -> Result<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain => Ok(number),
        _ => Err(Error::usage(format!("{what} {text:?} is not valid: write a whole number"))),
    }
}

fn watch(call: &Call) -> Result<u8> {
    let args: WatchArgs = call.args()?;
    let interval_ms = digits("interval (in ms)", &args.interval)?;
    if interval_ms == 0 {
        return Err(Error::usage("interval 0 is not valid: it is in ms, and more than 0"));
    }
    let limit = args.timeout.as_deref().map(|text| digits("timeout (in s)", text)).transpose()?;
    let following = Following {
        filter: Filter { topic: args.topic, to: args.to, expired: false },
        from_start: args.from_start,
        interval: Duration::from_millis(interval_ms),
        limit: limit.map(Duration::from_secs),
    };
    follow::watch(&args.place.dir(), &following, |seen| {
        let line = match call.out.json {
            true => json_line(&Value::Object(seen.envelope.to_object())),
            false => words::line(seen, 80),
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
    let topic = args.topic.as_deref();
    let (deliveries, findings) =
        follow::deliver(&dir, &surface, topic, |envelope| match args.handler.as_slice() {
            [] => call
                .out
                .data(&match call.out.json {
                    true => json_line(&Value::Object(envelope.to_object())),
                    false => words::short(envelope, 80),
                })
                .map(|()| true),
            [program, rest @ ..] => hand_to(program, rest, envelope),
        })?;
    let mut failed = false;
    for delivery in &deliveries {
        match delivery {
            Delivery::Delivered(_) => {}
            Delivery::Failed(envelope, times) => {
                failed = true;
                call.out.note(&format!(
                    "message {}: its handler failed (time {times}); it comes again",
                    envelope.id
                ));
            }
            Delivery::Buried(envelope) => {
                failed = true;
                call.out.note(&format!(
                    "message {}: its handler failed {} times; it was put away \
                     ('zeta bus list --dead')",
                    envelope.id,
                    follow::FAILURES_MAX
                ));
            }
        }
    }
    findings.iter().for_each(|finding| call.out.error_on_stderr(finding, None));
    Ok(if failed { Kind::Fault.status() } else { 0 })
}

/// Runs a handler with the message on its standard input; its exit status says whether it took it.
fn hand_to(
    program: &std::ffi::OsString,
    rest: &[std::ffi::OsString],
    envelope: &Envelope,
) -> Result<bool> {
    let started = Program::new(program)
        .args(rest)
        .env("ZETA_MESSAGE_ID", &envelope.id)
        .env("ZETA_MESSAGE_TOPIC", &envelope.topic)
        .stdin(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| {
        let name = program.to_string_lossy();
        Error::new(Kind::Fault, format!("cannot start the handler {name:?}: {error}"))
            .hint("nothing was delivered; the messages stay")
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A handler may know enough by the environment, and read nothing.
        let _ = stdin.write_all(envelope.render().as_bytes());
    }
    let ended = child.wait().map_err(|error| {
        Error::new(Kind::Fault, format!("the handler cannot be waited for: {error}"))
    })?;
    Ok(ended.success())
}

fn clean(call: &Call) -> Result<u8> {
    let args: CleanArgs = call.args()?;
    let ctx = call.context()?;
    let cleaned =
        zeta_bus::clean::clean(&ctx, &args.place.dir(), args.expired, args.from.as_deref())?;
    let object = || {
        let mut object = zeta_core::json::Object::new();
        object.number("removed", cleaned.removed as u64);
        object.number("dead_letters", cleaned.buried as u64);
        object.number("temps_swept", cleaned.swept as u64);
        object
    };
    let text = || match cleaned.buried {
        0 => format!("removed {}", cleaned.removed),
        buried => format!("removed {} (put away undelivered: {buried})", cleaned.removed),
    };
    call.out.either(object, text)?;
    Ok(0)
}

fn status(call: &Call) -> Result<u8> {
    let args: StatusArgs = call.args()?;
    match &args.id {
        None => words::print_status(call.out, &ops::status::status(&args.place.dir())?),
        Some(id) => match ops::status::fate(&args.place.dir(), id)? {
            Some((came, at)) => words::print_fate(call.out, id, came, &at),
            None => {
                let error = Error::new(Kind::NotFound, format!("no message with id {id}"))
                    .hint("it was never stored here, or was cleaned away");
                call.out.error(&error, None);
                Ok(error.kind.status())
            }
        },
    }
}

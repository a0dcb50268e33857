//! `zeta claim`: who works on which item, with branch and worktree.

use clap::Args;
use serde_json::{Map, Value, json};
use zeta_core::bus::item::Item;
use zeta_core::lease::{FencingToken, Held, Observed};
use zeta_core::record::printable;
use zeta_core::time::{parse_duration, parse_ttl, parse_utc};

use super::{Call, Noun, Verb};
use crate::cli::bus::{Place, address, json_line, json_text};
use crate::cli::lease::words as lease_words;
use zeta_bus::claim as ops;
use zeta_bus::claim::{Acquired, ClaimRequest, Claimant, Granted};
use zeta_core::json::Object;
use zeta_core::time::moment;
use zeta_os::error::{Error, Kind, Result};
use zeta_state::context::Context;

pub(super) const NOUN: Noun = Noun {
    name: "claim",
    about: "Who works on which item, with branch and worktree",
    build: super::may_lack_verb,
    verbs: VERBS,
    run: |call| super::run_verb_or_help(call, &NOUN),
};

const VERBS: &[Verb] = &[
    Verb {
        name: "acquire",
        about: "Claim an item; prints its fencing token. Exit 3 if another has it",
        args: AcquireArgs::augment_args,
        run: acquire,
    },
    Verb {
        name: "release",
        about: "Give an item back",
        args: ReleaseArgs::augment_args,
        run: release,
    },
    Verb {
        name: "check",
        about: "Exit 0 if the item is free, 3 if somebody has it",
        args: CheckArgs::augment_args,
        run: check,
    },
    Verb { name: "list", about: "Who holds what", args: ListArgs::augment_args, run: list },
    Verb {
        name: "renew",
        about: "Start the life of a claim again, and tell it anew",
        args: RenewArgs::augment_args,
        run: renew,
    },
    Verb {
        name: "handover",
        about: "Give a claim to somebody else, without a moment in which it is free",
        args: HandoverArgs::augment_args,
        run: handover,
    },
];

/// Who, what, and on which bus.
#[derive(Debug, Args)]
struct Subject {
    #[command(flatten)]
    place: Place,
    /// Whose claim it is [default: the agent that you are]
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// What, in any words
    #[arg(long, value_name = "ITEM")]
    item: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A claim is bound to the session ('zeta run') that takes it: free at once when that ends. Without a
session it lives for 24 h, as the original's does.

Examples:
  zeta claim acquire --from otto-cli --item B-0856
  zeta claim acquire --from otto-cli --item B-0856 --branch feat/x --worktree /home/zeta/wt-1
  zeta claim acquire --from otto-cli --item B-0856 --wait 10m")]
struct AcquireArgs {
    #[command(flatten)]
    subject: Subject,
    /// Branch that it is worked on
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Worktree that it is worked in
    #[arg(long, value_name = "PATH")]
    worktree: Option<String>,
    /// Other surfaces of the persona may claim it, too, if they say the same
    #[arg(long)]
    shareable: bool,
    /// Life without renewal [default: 10m in a session, which renews it; else 24h]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Wait for at most this long [default: try once]
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta claim release --from otto-cli --item B-0856
  zeta claim release --from otto-cli --item B-0856 --token 1779000000000001")]
struct ReleaseArgs {
    #[command(flatten)]
    subject: Subject,
    /// Fencing token that acquire printed; needed for another session's claim
    #[arg(long, value_name = "N")]
    token: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim check --item B-0856 --json")]
struct CheckArgs {
    #[command(flatten)]
    place: Place,
    /// What
    #[arg(long, value_name = "ITEM")]
    item: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim list --json")]
struct ListArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim renew --from otto-cli --item B-0856")]
struct RenewArgs {
    #[command(flatten)]
    subject: Subject,
    /// Fencing token that acquire printed
    #[arg(long, value_name = "N")]
    token: Option<String>,
    /// New life without renewal [default: as before]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The new holder has it until it expires; it takes it into its session with 'zeta claim acquire'.

Example:
  zeta claim handover --from otto-cli --to vera-codex --item B-0856")]
struct HandoverArgs {
    #[command(flatten)]
    subject: Subject,
    /// Who gets it
    #[arg(long, value_name = "WHO")]
    to: String,
    /// Fencing token that acquire printed; needed for another session's claim
    #[arg(long, value_name = "N")]
    token: Option<String>,
}

fn item(text: &str) -> Result<Item> {
    Item::new(text).map_err(|error| Error::usage(error.to_string()))
}

fn token(text: Option<&str>) -> Result<Option<FencingToken>> {
    text.map(crate::cli::lease::token).transpose()
}

fn asked(ctx: &Context, subject: &Subject) -> Result<ClaimRequest> {
    let from = subject.from.as_deref().unwrap_or(ctx.agent.as_str());
    Ok(ClaimRequest {
        from: address("sender", from)?,
        item: item(&subject.item)?,
        branch: None,
        worktree: None,
        shareable: false,
        ttl_ms: None,
        limit_ms: None,
    })
}

fn acquire(call: &Call) -> Result<u8> {
    let args: AcquireArgs = call.args()?;
    let ctx = call.context()?;
    let asked = ClaimRequest {
        branch: args.branch,
        worktree: args.worktree,
        shareable: args.shareable,
        ttl_ms: args.ttl.as_deref().map(parse_ttl).transpose()?,
        limit_ms: args.wait.as_deref().map(|text| parse_duration("wait", text)).transpose()?,
        ..asked(&ctx, &args.subject)?
    };
    let out = call.out;
    let mut tell =
        |observed: &Observed, held: &Held| out.note(&lease_words::waiting(observed, held));
    let acquired = ops::acquire(&ctx, &args.subject.place.dir(), &asked, &mut tell)?;
    tell_acquired(call, &asked, acquired)
}

fn tell_acquired(call: &Call, asked: &ClaimRequest, acquired: Acquired) -> Result<u8> {
    match acquired {
        Acquired::Granted(mine) => {
            tell_mine(call, asked.item.as_str(), &asked.worktree, &mine)?;
            Ok(0)
        }
        Acquired::Taken(claimants) => {
            let error = taken(asked.item.as_str(), &claimants);
            let mut object = Object::new();
            object.text("itemId", asked.item.as_str()).flag("acquired", false);
            let by = claimants.iter().map(|c| zeta_core::record::quote(&c.from));
            object.list("claimedBy", by);
            let all = claimants.iter().map(|claimant| json_line(&value_of(claimant)));
            object.list("claims", all);
            call.out.error(&error, Some(object));
            Ok(error.kind.status())
        }
    }
}

fn tell_mine(call: &Call, item: &str, worktree: &Option<String>, mine: &Granted) -> Result<()> {
    if let Some(from) = &mine.taken_from {
        call.out.note(&format!("taken over from {from}, which is gone"));
    }
    let token = mine.record.fencing_token;
    let object = || {
        let mut object = Object::new();
        object.text("itemId", item).flag("acquired", true).text("messageId", &mine.message);
        if let Some(worktree) = worktree {
            object.text("worktree", worktree);
        }
        object.flag("renewed", mine.renewed);
        object.fields(&mine.record.to_fields());
        object
    };
    call.out
        .either(object, || token.to_string())
        .map_err(|error| error.hint(format!("the claim stands all the same, with token {token}")))
}

/// Who has it, since when, where, and what to do.
fn taken(item: &str, claimants: &[Claimant]) -> Error {
    let now_us = zeta_os::host::wall_us();
    let said = |claimant: &Claimant| {
        let mut text = claimant.from.clone();
        if let Some(session) = claimant.session() {
            text += &format!(" (session {})", session.get(..8).unwrap_or(session));
        }
        if let Ok(since_us) = parse_utc(&claimant.timestamp) {
            text += &format!(" since {}", moment(since_us, now_us));
        }
        for (word, what) in [(" on branch", &claimant.branch), (" in", &claimant.worktree)] {
            if let Some(what) = what {
                text += &format!("{word} {what}");
            }
        }
        text
    };
    let who: Vec<String> = claimants.iter().map(said).collect();
    let who = if who.is_empty() { "somebody".to_owned() } else { who.join("; ") };
    let mut error = Error::new(Kind::Refused, format!("item {item:?} is claimed by {who}"));
    for claimant in claimants {
        let why = match &claimant.grant {
            Some(look) => format!("its lease is {}", lease_words::standing_word(&look.standing)),
            None => format!("told by a message until {}", claimant.expires_at),
        };
        error = error.hint(format!("{}: {why}", claimant.from));
    }
    error.hint("wait for it: --wait 10m; or ask its holder: zeta bus publish --to …")
}

fn value_of(claimant: &Claimant) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    put("id", text(&claimant.message));
    put("from", Some(claimant.from.as_str().into()));
    put("itemId", Some(claimant.item.as_str().into()));
    put("branch", text(&claimant.branch));
    put("worktree", text(&claimant.worktree));
    put("timestamp", Some(claimant.timestamp.as_str().into()));
    put("expiresAt", Some(claimant.expires_at.as_str().into()));
    put("shareable", claimant.shareable.then_some(Value::Bool(true)));
    put("fencing_token", claimant.fencing_token().map(|token| token.get().into()));
    put("session", claimant.session().map(Value::from));
    Value::Object(object)
}

fn check(call: &Call) -> Result<u8> {
    let args: CheckArgs = call.args()?;
    let ctx = call.context()?;
    let item = item(&args.item)?;
    let claimants = ops::check(&ctx, &args.place.dir(), &item)?;
    if call.out.json {
        let claims: Vec<Value> = claimants.iter().map(value_of).collect();
        let claimed = !claims.is_empty();
        let object = json!({ "itemId": item.as_str(), "claims": claims, "claimed": claimed });
        call.out.data(&json_text(&object))?;
    }
    match claimants.is_empty() {
        true => {
            if !call.out.json {
                call.out.data("free")?;
            }
            Ok(0)
        }
        false => {
            let error = taken(item.as_str(), &claimants);
            if !call.out.json {
                call.out.error(&error, None);
            }
            Ok(error.kind.status())
        }
    }
}

fn list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let ctx = call.context()?;
    let claimants = ops::list(&ctx, &args.place.dir())?;
    if call.out.json {
        let claims: Vec<Value> = claimants.iter().map(value_of).collect();
        return call.out.data(&json_text(&json!({ "claims": claims }))).map(|()| 0);
    }
    let now_us = zeta_os::host::wall_us();
    for claimant in &claimants {
        let since = parse_utc(&claimant.timestamp).map(|us| moment(us, now_us)).unwrap_or_default();
        let place = [&claimant.branch, &claimant.worktree];
        let place: Vec<&str> = place.into_iter().flatten().map(String::as_str).collect();
        let line =
            format!("{}  {}  since {since}  {}", claimant.item, claimant.from, place.join(" in "));
        call.out.data(printable(line.trim_end()).as_ref())?;
    }
    Ok(0)
}

fn release(call: &Call) -> Result<u8> {
    let args: ReleaseArgs = call.args()?;
    let ctx = call.context()?;
    let asked = asked(&ctx, &args.subject)?;
    let token = token(args.token.as_deref())?;
    match ops::release(&ctx, &args.subject.place.dir(), &asked.from, &asked.item, token)? {
        Ok(released) => {
            if !released.stood {
                call.out.note(&format!(
                    "{} held no claim of zeta on {:?}; the release was told all the same",
                    asked.from,
                    asked.item.as_str()
                ));
            }
            if call.out.json {
                let mut object = Object::new();
                object.text("itemId", asked.item.as_str()).flag("released", true);
                object.text("messageId", &released.message).flag("stood", released.stood);
                call.out.data(&object.done())?;
            }
            Ok(0)
        }
        Err(lost) => Ok(lease_words::tell_lost(call.out, &lost, &ctx)),
    }
}

fn renew(call: &Call) -> Result<u8> {
    let args: RenewArgs = call.args()?;
    let ctx = call.context()?;
    let mut asked = asked(&ctx, &args.subject)?;
    asked.ttl_ms = args.ttl.as_deref().map(parse_ttl).transpose()?;
    let token = token(args.token.as_deref())?;
    match ops::renew(&ctx, &args.subject.place.dir(), &asked, token)? {
        Some(acquired) => tell_acquired(call, &asked, acquired),
        None => not_held(call, &asked),
    }
}

fn not_held(call: &Call, asked: &ClaimRequest) -> Result<u8> {
    let (from, item) = (&asked.from, asked.item.as_str());
    let error = Error::new(Kind::Lost, format!("{from} does not hold {item:?} (any more)"))
        .hint(format!("who does: zeta claim check --item {item:?}"))
        .hint("stop working on it, or claim it anew");
    call.out.error(&error, None);
    Ok(error.kind.status())
}

fn handover(call: &Call) -> Result<u8> {
    let args: HandoverArgs = call.args()?;
    let ctx = call.context()?;
    let asked = asked(&ctx, &args.subject)?;
    let to = address("new holder", &args.to)?;
    let token = token(args.token.as_deref())?;
    match ops::hand_over(&ctx, &args.subject.place.dir(), &asked, &to, token)? {
        Ok(Some(mine)) => {
            tell_mine(call, asked.item.as_str(), &None, &mine)?;
            Ok(0)
        }
        Ok(None) => not_held(call, &asked),
        Err(lost) => Ok(lease_words::tell_lost(call.out, &lost, &ctx)),
    }
}

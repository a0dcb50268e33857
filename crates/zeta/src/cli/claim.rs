//! `zeta claim`: who works on which item, with branch and worktree.

use std::io::{Read as _, stdin};
use std::path::{Path, PathBuf};

use clap::Args;
use zeta_core::bus::Address;
use zeta_core::bus::item::Item;
use zeta_core::bus::note::{NOTE_TEXT_MAX, Note, text_of};
use zeta_core::lease::{Held, Observed};
use zeta_core::time::{parse_duration, parse_ttl};

mod paths;

use self::paths::PathArgs;
use super::{Call, Noun, Verb};
use crate::cli::bus::{Place, address};
use crate::cli::lease::print_lost;
use crate::cli::lease::scope::is_cluster;
use crate::environment::bus_shape;
use crate::hooks::repository;
use zeta_bus::claim as ops;
use zeta_bus::claim::note::NewNote;
use zeta_bus::claim::{
    Acquired, ClaimRequest, Claimant, Granted, Holders, Released, Taken, report,
};
use zeta_bus::report::Shape;
use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_state::context::Context;
use zeta_state::lease::report as lease_report;

pub(super) const NOUN: Noun = Noun {
    name: "claim",
    about: "Claim work: an item, or files. Who works on what, on which branch, in which worktree",
    build: |noun| super::needs_verb_unless_original(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb_or_help(call, &NOUN),
};

const EXAMPLES: &str = "\
A claim is a lease of work: other agents see who does it and where. For a right that is no work, as
to deploy, see 'zeta lease'.

Examples:
  zeta claim acquire B-0856 --branch feat/x --worktree /home/zeta/wt-1
  zeta claim acquire --path 'src/**'       # files, before you edit them
  zeta claim check B-0856                  # exit 0: free, or yours; exit 3: claimed
  zeta claim check --path src/main.rs      # who edits this file?
  zeta claim list
  zeta claim release B-0856 --token 1779000000000001";

const VERBS: &[Verb] = &[
    Verb {
        name: "acquire",
        about: "Claim an item or files; prints a fencing token. Exit 3 if another agent has it",
        args: AcquireArgs::augment_args,
        run: acquire,
    },
    Verb {
        name: "release",
        about: "Release your claim, with a note for the next holder if work is left",
        args: ReleaseArgs::augment_args,
        run: release,
    },
    Verb {
        name: "check",
        about: "Check who holds an item or files; exit 0 if free or yours, 3 if claimed",
        args: CheckArgs::augment_args,
        run: check,
    },
    Verb {
        name: "list",
        about: "List all claims: item or path, holder, branch, worktree",
        args: ListArgs::augment_args,
        run: list,
    },
    Verb {
        name: "renew",
        about: "Restart the TTL of a claim, and publish the claim again",
        args: RenewArgs::augment_args,
        run: renew,
    },
    Verb {
        name: "handover",
        about: "Give a claim to another agent, with a note; the item is never free in between",
        args: HandoverArgs::augment_args,
        run: handover,
    },
];

// No documentation comment: the help would print it as the description of the whole verb.
#[derive(Debug, Args)]
struct ItemArgs {
    /// Work item: any text
    #[arg(value_name = "ITEM", required_unless_present_any = ["named_item", "paths", "token"])]
    item: Option<String>,
    /// Work item, as the original's tool takes it
    #[arg(id = "named_item", long = "item", value_name = "ITEM", conflicts_with = "item")]
    named_item: Option<String>,
}

// No documentation comment: as above.
#[derive(Debug, Args)]
struct Subject {
    #[command(flatten)]
    item: ItemArgs,
    #[command(flatten)]
    paths: PathArgs,
    #[command(flatten)]
    place: Place,
    /// Holder [default: your agent name]
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// Fencing token that acquire printed: it shows that the claim is yours
    #[arg(long, value_name = "N")]
    token: Option<String>,
    /// Branch of the work
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Worktree of the work, from where you are
    #[arg(long, value_name = "PATH")]
    worktree: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each agent needs a name of its own: 'zeta run --as NAME -- COMMAND' gives it one, or --as NAME in
each call. A claim belongs to the session that acquires it ('zeta run', or an agent tool with zeta's
hooks), and is free at once when that session ends. Without a session the claim lasts for 24 h.

A path begins where you are, or at the top of the worktree with ':/'. A file that exists is claimed
alone, any other path with all that is below it. '*' is within a name, '**' any directories. All
worktrees of a repository count as one.

A held item is refused (3), also under your own name: another agent may use that name. The claim is
yours, and acquire renews it, in the session that holds it; with its --token; or, if no session
holds it, with the same --branch and the same --worktree. The other verbs go by the same rule.

Examples:
  zeta claim acquire B-0856
  zeta claim acquire B-0856 --branch feat/x --worktree /home/zeta/wt-1
  zeta claim acquire B-0856 --wait 10m
  zeta claim acquire B-0856 --scope cluster            # no agent of another machine, either
  zeta claim acquire B-0856 --token 1779000000000001   # renew it
  zeta claim acquire --path 'src/**' --path docs/api.md
  zeta claim acquire --path src/ --shared              # beside other shared claims")]
struct AcquireArgs {
    #[command(flatten)]
    subject: Subject,
    /// Let other surfaces of the persona claim it too, if they also give --shareable
    #[arg(long)]
    shareable: bool,
    /// Among which agents: node, or cluster [default: claim_scope in the configuration, or node]
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Id of this attempt, as the answer named it that does not know what became of it
    #[arg(long, value_name = "ID", conflicts_with = "paths")]
    lease_id: Option<String>,
    /// Time to live without renewal [default: 10m in a session, which renews it; else 24h]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Wait for at most this long [default: try once]
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 released; 4 the item is free; 5 another agent holds it; 3 an agent of your name holds
it, and neither your session nor a token shows that it is you. Only a release is published.

If the work is not done, leave a note: what was done, what is next. The next agent that claims the
item reads it, with your branch and its last commit.

Examples:
  zeta claim release B-0856          # in the session that claimed it
  zeta claim release B-0856 --token 1779000000000001
  echo 'parser done; next: the tests of errors' | zeta claim release B-0856 --note -
  zeta claim release --path 'src/**'
  zeta claim release --token 1779000000000001          # the token of a claim on paths is enough")]
struct ReleaseArgs {
    #[command(flatten)]
    subject: Subject,
    /// File with a note for the next holder, of at most 8 KiB; - is standard input
    #[arg(long, value_name = "FILE")]
    note: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 the item is free, or yours (by your session or --token); 3 it is claimed; 5 the claim
with your --token is lost: stop working on it.

Examples:
  zeta claim check B-0856 --json
  zeta claim check B-0856 --token 1779000000000001     # is it still mine?
  zeta claim check --path src/main.rs                  # who has this path?")]
struct CheckArgs {
    #[command(flatten)]
    subject: Subject,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim list --json")]
struct ListArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim renew B-0856 --token 1779000000000001")]
struct RenewArgs {
    #[command(flatten)]
    subject: Subject,
    /// New time to live without renewal [default: as before]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Branch and worktree stay. To move the claim into its own session, the new holder calls 'zeta claim
acquire'; until then, its name is enough. That call shows it the note: what was done, what is next.

Examples:
  zeta claim handover B-0856 --to vera-codex --token 1779000000000001
  zeta claim handover --path 'src/**' --to vera-codex --token 1779000000000001
  echo 'next: the tests of errors' | zeta claim handover B-0856 --to vera-codex --note -")]
struct HandoverArgs {
    #[command(flatten)]
    subject: Subject,
    /// New holder
    #[arg(long, value_name = "WHO")]
    to: String,
    /// File with a note for the new holder, of at most 8 KiB; - is standard input
    #[arg(long, value_name = "FILE")]
    note: Option<PathBuf>,
}

fn item(text: &str) -> Result<Item> {
    Item::new(text).map_err(|error| Error::usage(error.to_string()))
}

fn new_request(ctx: &Context, subject: &Subject) -> Result<ClaimRequest> {
    new_request_of(address("sender", name(ctx, subject))?, subject)
}

fn name<'a>(ctx: &'a Context, subject: &'a Subject) -> &'a str {
    subject.from.as_deref().unwrap_or(ctx.agent.as_str())
}

fn new_request_of(from: Address, subject: &Subject) -> Result<ClaimRequest> {
    let ItemArgs { item: positional, named_item } = &subject.item;
    let text = positional.as_ref().or(named_item.as_ref()).map_or("", String::as_str);
    let by_name = bus_shape() == Shape::Original;
    let worktree = subject.worktree.as_deref();
    Ok(ClaimRequest {
        token: subject.token.as_deref().map(crate::cli::lease::token).transpose()?,
        branch: subject.branch.clone(),
        // The original takes any text.
        worktree: worktree.map(|dir| if by_name { dir.to_owned() } else { from_here(dir) }),
        by_name,
        ..ClaimRequest::new(from, item(text)?)
    })
}

/// Makes a relative directory absolute: those who read the claim are elsewhere.
fn from_here(dir: &str) -> String {
    let path = Path::new(dir);
    if dir.is_empty() || path.is_absolute() {
        return dir.to_owned();
    }
    let found = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    found.ok().and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| dir.to_owned())
}

/// Reads a note, and the branch and commit of the worktree that the caller is in.
fn new_note(file: &Path) -> Result<NewNote> {
    // No more than that is ever read: the rest would only be refused.
    let max = NOTE_TEXT_MAX as u64;
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => stdin().lock().take(max + 1).read_to_end(&mut bytes).map(|_| ()),
        false => read_plain(file, max).map(|read| bytes = read),
    };
    let hint = "say what was done and what is next; put long texts into the branch";
    let bad = |why: &str| {
        Error::usage(format!("note {}: {why}; nothing was changed", file.display())).hint(hint)
    };
    read.map_err(|error| bad(&error.to_string()))?;
    let text = text_of(&bytes).map_err(|error| bad(&error.to_string()))?;
    let here = std::env::current_dir().ok();
    Ok(NewNote { text, head: here.as_deref().and_then(repository::head) })
}

fn acquire(call: &Call) -> Result<u8> {
    let args: AcquireArgs = call.args()?;
    if args.subject.is_of_paths() {
        return paths::acquire(call, &args);
    }
    let ctx = call.context()?;
    let in_cluster = is_cluster(args.scope.as_deref(), call.config()?.claim_scope)?;
    let request = ClaimRequest {
        shareable: args.shareable,
        in_cluster,
        lease_id: args.lease_id,
        ttl_ms: args.ttl.as_deref().map(parse_ttl).transpose()?,
        limit_ms: args.wait.as_deref().map(|text| parse_duration("wait", text)).transpose()?,
        ..new_request(&ctx, &args.subject)?
    };
    let out = call.out;
    let mut on_wait =
        |observed: &Observed, held: &Held| out.note(&lease_report::waiting(observed, held));
    match ops::acquire(&ctx, &args.subject.place.dir(), &request, &mut on_wait)? {
        Acquired::Granted(granted) => {
            let (item, worktree) = (request.item.as_str(), request.worktree.as_deref());
            show_note(call, granted.note.as_deref());
            let object = || report::granted(item, worktree, &granted);
            print_granted(call, &granted, || bus_shape().of(object(), report::GRANTED_CAMEL))
        }
        Acquired::Taken(taken) => Ok(refuse(call, &request, &taken)),
    }
}

/// Prints a grant: its token, or the object.
fn print_granted(call: &Call, granted: &Granted, object: impl FnOnce() -> Object) -> Result<u8> {
    report::taken_over(granted).into_iter().for_each(|text| call.out.note(&text));
    granted.findings.iter().for_each(|finding| call.out.warn(finding));
    let token = granted.record.fencing_token;
    let printed = call.out.either(object, || token.to_string());
    printed.map_err(|error| error.hint(format!("the claim was granted, with token {token}")))?;
    Ok(0)
}

/// Shows the note of the last holder beside an answer; the object of an answer has it, too.
fn show_note(call: &Call, note: Option<&Note>) {
    if let Some(note) = note.filter(|_| !call.out.json) {
        call.out.note_lines(&report::note_text(note));
    }
}

/// Reports that others hold the item; returns the exit status.
fn refuse(call: &Call, request: &ClaimRequest, taken: &Taken) -> u8 {
    let item = request.item.as_str();
    let error = report::taken(request, taken);
    let object = report::taken_object(item, taken);
    let object = bus_shape().of(object, report::CLAIMS_CAMEL);
    call.out.error(&error, Some(object));
    error.kind.status()
}

fn check(call: &Call) -> Result<u8> {
    let args: CheckArgs = call.args()?;
    if args.subject.is_of_paths() {
        return paths::check(call, &args.subject);
    }
    let ctx = call.context()?;
    // A check writes no name, so that any name may ask.
    let from = ops::address("sender", name(&ctx, &args.subject))?;
    let request = new_request_of(from, &args.subject)?;
    let dir = args.subject.place.dir();
    let (item, holders) = (request.item.as_str(), ops::holders(&ctx, &dir, Some(&request))?);
    let claimants = &holders.claimants;
    holders.findings.iter().for_each(|finding| call.out.warn(finding));
    if !call.out.json {
        holders.alone.iter().for_each(|claimant| call.out.note(&report::alone(claimant)));
    }
    let object = || report::check(item, &holders);
    let shape = bus_shape();
    if shape == Shape::Original && call.out.json {
        call.out.data(&shape.text_of(object(), report::CLAIMS_CAMEL))?;
        return Ok(if claimants.is_empty() { 0 } else { Kind::Refused.status() });
    }
    match report::yours(claimants) {
        Some(yours) if shape == Shape::Zeta => {
            show_note(call, holders.note.as_ref());
            call.out.either(object, || report::yours_text(yours)).map(|()| 0)
        }
        // A question about a token is a question whether its claim lasts.
        _ if request.token.is_some() => Ok(not_held(call, &request, Some(claimants))),
        _ if claimants.is_empty() => {
            show_note(call, holders.note.as_ref());
            call.out.either(object, || "free".to_owned()).map(|()| 0)
        }
        _ => {
            let error = report::held(item, claimants, false);
            call.out.error(&error, Some(object()));
            Ok(error.kind.status())
        }
    }
}

fn list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let ctx = call.context()?;
    let Holders { claimants, findings, .. } = ops::holders(&ctx, &args.place.dir(), None)?;
    findings.iter().for_each(|finding| call.out.warn(finding));
    let text = match call.out.json {
        true => bus_shape().text_of(report::list(&claimants), report::CLAIMS_CAMEL),
        false if claimants.is_empty() => return Ok(0),
        false => report::list_text(&claimants),
    };
    call.out.data(&text).map(|()| 0)
}

fn release(call: &Call) -> Result<u8> {
    let args: ReleaseArgs = call.args()?;
    if args.subject.is_of_paths() {
        return paths::release(call, &args);
    }
    let ctx = call.context()?;
    let note = args.note.as_deref().map(new_note).transpose()?;
    let request = ClaimRequest { note, ..new_request(&ctx, &args.subject)? };
    let item = request.item.as_str();
    let released = match ops::release(&ctx, &args.subject.place.dir(), &request)? {
        Ok(Released::NotHeld(claimants)) => {
            let error = report::not_released(&request, &claimants);
            let object = report::not_held_object(item, Some(&claimants), error.kind);
            call.out.error(&error, Some(object));
            return Ok(error.kind.status());
        }
        Ok(released) => released,
        Err(lost) => return Ok(print_lost(call.out, &lost, &ctx)),
    };
    if let Released::Published { note_file: Some(file), .. } = &released
        && !call.out.json
    {
        call.out.note(&format!("the next holder reads your note: {file}"));
    }
    let object = || {
        let object = report::released(item, &released).unwrap_or_default();
        bus_shape().of(object, report::GRANTED_CAMEL)
    };
    call.out.either(object, String::new).map(|()| 0)
}

fn renew(call: &Call) -> Result<u8> {
    let args: RenewArgs = call.args()?;
    if args.subject.is_of_paths() {
        return paths::renew(call, &args);
    }
    let ctx = call.context()?;
    let mut request = new_request(&ctx, &args.subject)?;
    request.ttl_ms = args.ttl.as_deref().map(parse_ttl).transpose()?;
    let dir = args.subject.place.dir();
    match ops::renew(&ctx, &dir, &request)? {
        Some(Acquired::Granted(granted)) => {
            show_note(call, granted.note.as_deref());
            print_granted(call, &granted, || report::renewed(request.item.as_str(), &granted))
        }
        Some(Acquired::Taken(taken)) => Ok(refuse(call, &request, &taken)),
        // Without an answer the refusal is the same, and does not name the holder.
        None => Ok(not_held(call, &request, ops::check(&ctx, &dir, &request).ok().as_deref())),
    }
}

/// Reports that the caller does not hold the item; returns the exit status.
fn not_held(call: &Call, request: &ClaimRequest, claimants: Option<&[Claimant]>) -> u8 {
    let error = report::not_held(request, claimants);
    let object = report::not_held_object(request.item.as_str(), claimants, error.kind);
    call.out.error(&error, Some(object));
    error.kind.status()
}

fn handover(call: &Call) -> Result<u8> {
    let args: HandoverArgs = call.args()?;
    if args.subject.is_of_paths() {
        return paths::hand_over(call, &args);
    }
    let ctx = call.context()?;
    let note = args.note.as_deref().map(new_note).transpose()?;
    let request = ClaimRequest { note, ..new_request(&ctx, &args.subject)? };
    let to = address("new holder", &args.to)?;
    let dir = args.subject.place.dir();
    match ops::hand_over(&ctx, &dir, &request, &to)? {
        Ok(Some(granted)) => {
            if request.note.is_some() && !call.out.json {
                call.out
                    .note(&format!("{} reads your note when it acquires the item", to.as_str()));
            }
            let (item, from) = (request.item.as_str(), request.from.as_str());
            print_granted(call, &granted, || report::handed_over(item, from, to.as_str(), &granted))
        }
        Ok(None) => Ok(not_held(call, &request, ops::check(&ctx, &dir, &request).ok().as_deref())),
        Err(lost) => Ok(print_lost(call.out, &lost, &ctx)),
    }
}

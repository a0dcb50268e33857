//! `claim` and `unclaim`: paths, or items of work.

use std::path::{Path, PathBuf};

use zeta_bus::claim::note::NewNote;
use zeta_bus::claim::paths::{self, PathRequest};
use zeta_bus::claim::{self, Acquired, ClaimRequest, Claimant, Released, address, report};
use zeta_core::bus::item::Item;
use zeta_core::bus::note::text_of;
use zeta_core::pattern::{Mode, PathClaim, Pattern};
use zeta_core::record::printable;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::Context;
use zeta_state::lease::LeaseView;
use zeta_state::lease::acquire::Outcome;
use zeta_state::lease::cluster::CopyOf;
use zeta_state::lease::report::{self as report_of_lease, who};
use zeta_state::lease::space::Space;

use super::caller;
use super::lease::unknown;
use crate::answer::Answer;
use crate::holding::of_cluster;
use crate::tool::Args;
use crate::worker::Worker;

/// What an agent can do about work that another one has claimed.
const NEXT: &str = "leave that work to its holder and do other work, or agree with it: send";

/// What a call about paths needs that were not found.
pub const WORKTREE: &str = "name a directory in the repository of these paths: worktree";

/// Claims paths or an item.
pub fn claim(worker: &mut Worker, args: &Args) -> Result<Answer> {
    let ctx = caller(worker)?;
    match (args.text("item"), args.list("paths").is_empty()) {
        (Some(item), true) => {
            let request = item_request(worker, &ctx, item, args)?;
            let lease_id = args.text("lease_id").map_or_else(host::random_hex, |id| Ok(id.into()));
            let in_cluster = args.in_cluster(worker.setting.claims_in_cluster);
            claim_item(&ctx, &ClaimRequest { in_cluster, lease_id: Some(lease_id?), ..request })
        }
        (None, false) if args.in_cluster(false) => {
            Err(Error::usage("claims on paths are of one machine: no scope cluster")
                .hint("claim the work as an item, with scope cluster"))
        }
        (None, false) => claim_paths(&ctx, &path_request(worker, &args.list("paths"), args)?),
        _ => Err(neither()),
    }
}

/// Ends a claim.
pub fn unclaim(worker: &mut Worker, args: &Args) -> Result<Answer> {
    let ctx = caller(worker)?;
    let answer = match (args.text("item"), args.list("paths").is_empty()) {
        (Some(item), true) => {
            let note = args.text("note").map(|text| text_of(text.as_bytes())).transpose();
            let note = note.map_err(|why| Error::usage(format!("the note: {why}")))?;
            let note = note.map(|text| NewNote { text, head: None });
            let request = ClaimRequest { note, ..item_request(worker, &ctx, item, args)? };
            unclaim_item(&ctx, &request)?
        }
        (None, false) if args.text("note").is_some() => {
            return Err(Error::usage("a claim on paths has no next holder, and no note")
                .hint("send the agent that waits for them a message"));
        }
        (None, false) => unclaim_paths(&ctx, &path_request(worker, &args.list("paths"), args)?)?,
        _ => return Err(neither()),
    };
    if let Some(at) = ctx.find()? {
        let number = ctx.session.as_deref().unwrap_or_default();
        let notices = worker.holdings.read(&at, number, true);
        worker.notices.extend(notices);
    }
    Ok(answer)
}

fn neither() -> Error {
    Error::usage("give either paths or item")
}

fn item_request(worker: &Worker, ctx: &Context, item: &str, args: &Args) -> Result<ClaimRequest> {
    let item = Item::new(item).map_err(|error| Error::usage(error.to_string()))?;
    let from = address("sender", ctx.agent.as_str())?;
    let branch = args.text("branch").map(str::to_owned);
    let place = args.text("worktree").map(|dir| worker.setting.cwd.join(dir));
    let worktree = place.map(|dir| dir.to_string_lossy().into_owned());
    Ok(ClaimRequest { branch, worktree, ..ClaimRequest::new(from, item) })
}

fn claim_item(ctx: &Context, request: &ClaimRequest) -> Result<Answer> {
    let item = request.item.as_str();
    let acquired = match claim::acquire(ctx, &ctx.bus_dir, request, &mut |_, _| {}) {
        Ok(acquired) => acquired,
        Err(error) => {
            let lease_id = request.lease_id.as_deref().unwrap_or_default();
            return Ok(unknown(&error, "claim", lease_id).ok_or(error)?.with("item_id", item));
        }
    };
    match acquired {
        Acquired::Granted(granted) => {
            let token = granted.record.fencing_token;
            let from = report::taken_over(&granted).map_or(String::new(), |t| format!(" ({t})"));
            let scope = of_cluster(&granted.record);
            let text =
                format!("item {item:?}{scope} is claimed by you{from}. Its token is {token}.");
            let mut text = printable(&text).into_owned();
            if let Some(note) = &granted.note {
                text += &format!("\nHere is a {}", report::note_text(note));
            }
            let outcome = if granted.renewed { "renewed" } else { "granted" };
            Ok(Answer::new(outcome, text).with("item_id", item).with("fencing_token", token.get()))
        }
        Acquired::Taken(taken) => {
            let error = claimed_by(ctx, item, &taken.claimants);
            Ok(Answer::refusal("held", &error, NEXT).with("item_id", item))
        }
    }
}

/// Says who has an item, by all that is known of the holders' grants.
pub fn claimed_by(ctx: &Context, item: &str, claimants: &[Claimant]) -> Error {
    let now = ctx.now();
    let one = |claimant: &Claimant| {
        let place = [("branch", &claimant.branch), ("worktree", &claimant.worktree)];
        let place = place
            .into_iter()
            .filter_map(|(word, place)| place.as_ref().map(|place| format!(", {word} {place:?}")));
        match &claimant.grant {
            Some(view) => {
                who(&view.observed, &now)
                    + &place.collect::<String>()
                    + &copied(view.copy.as_deref())
            }
            None => format!(
                "{} since {} until {}{}",
                claimant.from,
                claimant.timestamp,
                claimant.expires_at,
                place.collect::<String>()
            ),
        }
    };
    let all: Vec<String> = claimants.iter().map(one).collect();
    let all = if all.is_empty() { "another process".to_owned() } else { all.join("; and by ") };
    Error::new(Kind::Refused, format!("item {item:?} is claimed by {all}"))
}

fn unclaim_item(ctx: &Context, request: &ClaimRequest) -> Result<Answer> {
    let item = request.item.as_str();
    Ok(match claim::release(ctx, &ctx.bus_dir, request)? {
        Ok(Released::NotHeld(claimants)) => {
            let error = report::not_released(request, &claimants);
            Answer::refusal("held", &error, "check shows who has it").with("item_id", item)
        }
        Ok(_) => Answer::new("released", printable(&format!("item {item:?} is free.")))
            .with("item_id", item),
        Err(lost) => {
            let error = zeta_state::lease::report::lost(&lost, ctx);
            Answer::refusal("lost", &error, "stop that work").with("item_id", item)
        }
    })
}

/// Reads the paths of a call, from the worktree that it names or from where the agent works.
pub fn path_request(worker: &Worker, given: &[&str], args: &Args) -> Result<PathRequest> {
    let cwd = &worker.setting.cwd;
    let from = args.text("worktree").map_or_else(|| cwd.clone(), |dir| cwd.join(dir));
    // An absolute path may be of another repository than that where the agent was started.
    let first = given.first().map(Path::new).filter(|path| path.is_absolute());
    let from = match first {
        Some(path) if args.text("worktree").is_none() => existing(path),
        _ => from,
    };
    let space = Space::find(&from).map_err(|error| {
        Error { hints: Vec::new(), ..error }
            .hint(WORKTREE)
            .hint("without a repository, claim an item, or acquire a name")
    })?;
    let patterns: Result<Vec<Pattern>> = given.iter().map(|text| space.pattern(text)).collect();
    let mode = if args.flag("shared") { Mode::Shared } else { Mode::Exclusive };
    let claim = PathClaim::new(mode, patterns?);
    Ok(PathRequest { space, claim, ttl_ms: None, limit_ms: None, token: None })
}

/// Returns the nearest directory at or above a path.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|dir| dir.is_dir());
    found.unwrap_or(Path::new("/")).to_path_buf()
}

fn claim_paths(ctx: &Context, request: &PathRequest) -> Result<Answer> {
    match paths::acquire(ctx, request, &mut |_, _| {}, &mut |_| {})? {
        Outcome::Granted { record, cause, .. } => {
            // One that is renewed may cover more than was asked for.
            let request = &PathRequest { claim: PathClaim::of(&record.extra), ..request.clone() };
            let claimed = paths::report::paths(&request.claim);
            let (mode, space) = (request.claim.mode.word(), &request.space.name);
            let text = format!("{claimed} in {space} is claimed by you ({mode}).");
            let outcome = if cause.is_none() { "renewed" } else { "granted" };
            Ok(with_paths(Answer::new(outcome, printable(&text)), request)
                .with("fencing_token", record.fencing_token.get()))
        }
        Outcome::Refused(refusal) => {
            let error = paths::report::refused(request, &refusal, &ctx.now());
            Ok(with_paths(Answer::refusal("held", &error, NEXT), request))
        }
    }
}

fn unclaim_paths(ctx: &Context, request: &PathRequest) -> Result<Answer> {
    let asked = paths::report::paths(&request.claim);
    if paths::release(ctx, request)?.is_some() {
        let text = format!("{asked} is free.");
        return Ok(with_paths(Answer::new("released", printable(&text)), request));
    }
    let error = Error::new(Kind::NotFound, format!("you have no claim of {asked}"));
    let next = "name the paths as you claimed them: check without a name shows them";
    Ok(with_paths(Answer::refusal("free", &error, next), request))
}

fn with_paths(answer: Answer, request: &PathRequest) -> Answer {
    let paths: Vec<String> = request.claim.patterns.iter().map(ToString::to_string).collect();
    answer.with("space", request.space.name.as_str()).with("paths", paths)
}

/// Says who has a lease, for a check.
pub fn holder(ctx: &Context, view: &LeaseView) -> String {
    let text = who(&view.observed, &ctx.now()) + &copied(view.copy.as_deref());
    printable(&text).into_owned()
}

/// Says of what another machine has that it is a copy, and how old.
fn copied(copy: Option<&CopyOf>) -> String {
    copy.map(|copy| format!(" (a copy {})", report_of_lease::copied(copy))).unwrap_or_default()
}

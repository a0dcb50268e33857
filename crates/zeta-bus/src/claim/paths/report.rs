//! Claims on paths as text and as JSON: who has them, since when, and what to do.

use std::borrow::Cow;

use zeta_core::bus::grant::key;
use zeta_core::bus::item::space_of;
use zeta_core::json::{Object, json_of};
use zeta_core::lease::{Observed, Record, Standing};
use zeta_core::name::Label;
use zeta_core::pattern::{Mode, PathClaim, Pattern};
use zeta_core::record::{printable, quote};
use zeta_core::shell::quote_word;
use zeta_core::time::{Now, format_duration};

use super::{PathHolders, PathRequest};
use zeta_os::error::{Error, Kind};
use zeta_state::lease::LeaseView;
use zeta_state::lease::acquire::{NAMED_MAX, Refusal};
use zeta_state::lease::report::{break_damaged, json, left_behind, who};
use zeta_state::lease::space::Space;

/// The patterns of a claim, for people.
pub fn paths(claim: &PathClaim) -> String {
    let patterns: Vec<String> = claim.patterns.iter().map(ToString::to_string).collect();
    patterns.join(" ")
}

/// A claim, for people: its patterns, its mode, and the worktree that it is of alone.
pub fn named(claim: &PathClaim) -> String {
    format!("{} ({})", paths(claim), how(claim))
}

fn how(claim: &PathClaim) -> String {
    let mode = claim.mode.word();
    match &claim.worktree {
        Some(top) => format!("{mode}, in the worktree {} only", printable(top)),
        None => mode.to_owned(),
    }
}

/// Names the repository or the worktree within which the claim of a record is acquired, if `here`
/// is not within it.
pub fn elsewhere(record: &Record, here: Option<&Space>) -> Option<String> {
    let here = here.filter(|here| here.lease == record.lease);
    match PathClaim::of(&record.extra).worktree {
        Some(top) if here.is_some_and(|here| here.worktree() == top) => None,
        Some(top) => Some(format!("the worktree {}", printable(&top))),
        None if here.is_some() => None,
        None => {
            let name = space_of(record.lease.as_str()).unwrap_or_default();
            Some(format!("the repository {name}"))
        }
    }
}

/// The options that make this request again, from where the call runs.
fn options(request: &PathRequest) -> String {
    arguments(&request.claim, |pattern| request.space.text_of(pattern))
}

/// The options that make a claim, each after a space; `text` is how a pattern is written where the
/// call will run.
pub fn arguments(claim: &PathClaim, text: impl Fn(&Pattern) -> String) -> String {
    let one = |pattern: &Pattern| format!(" --path {}", quote_word(&text(pattern)));
    let mut options: String = claim.patterns.iter().map(one).collect();
    if claim.mode == Mode::Shared {
        options.push_str(" --shared");
    }
    if claim.worktree.is_some() {
        options.push_str(" --this-worktree");
    }
    options
}

/// The keys of a claim that come first in its JSON.
const FIRST: [&str; 4] = ["outcome", "space", "paths", "mode"];

fn add_claim(object: &mut Object, space: &str, claim: &PathClaim) {
    object.text("space", space);
    let text = |pattern: &Pattern| json_of(&quote(&pattern.to_string())).into_owned();
    object.list("paths", claim.patterns.iter().map(text));
    object.text("mode", claim.mode.word());
    if let Some(worktree) = &claim.worktree {
        object.text("worktree", worktree);
    }
}

/// Returns whether a claim is announced on a bus.
pub fn is_announced(record: &Record) -> bool {
    record.extra.iter().any(|(known, _)| known == key::ANNOUNCED)
}

/// A claim that was granted or renewed, as JSON.
pub fn granted(request: &PathRequest, record: &Record, renewed: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", if renewed { "renewed" } else { "granted" });
    add_claim(&mut object, &request.space.name, &PathClaim::of(&record.extra));
    object.fields_but(&record.to_fields(), &FIRST);
    object
}

/// A claim that has a new holder, as JSON; `from` had it before.
pub fn handed_over(request: &PathRequest, from: &Label, record: &Record) -> Object {
    let mut object = Object::new();
    object.text("outcome", "handed_over");
    add_claim(&mut object, &request.space.name, &PathClaim::of(&record.extra));
    object.text("from", from.as_str()).text("to", record.agent.as_str());
    object.fields_but(&record.to_fields(), &[&FIRST[..], &["from", "to"]].concat());
    object
}

/// A claim that was released, as JSON.
pub fn released(request: &PathRequest, record: &Record, stood: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", if stood { "released" } else { "already_released" });
    add_claim(&mut object, &request.space.name, &PathClaim::of(&record.extra));
    object.number("fencing_token", record.fencing_token.get());
    object
}

/// Who has paths, as JSON.
pub fn holders(request: &PathRequest, holders: &PathHolders, now: &Now) -> Object {
    let mut object = Object::new();
    add_claim(&mut object, &request.space.name, &request.claim);
    object.list("holders", holders.others.iter().map(|view| json::view(view, now).done()));
    object.list("own", holders.own.iter().map(|view| json::view(view, now).done()));
    object
}

fn describe(view: &LeaseView, now: &Now) -> String {
    let of = match &view.observed {
        Observed::Ours(record, ..) => PathClaim::of(&record.extra),
        _ => PathClaim::of(&[]),
    };
    format!("{} ({})", who(&view.observed, now), how(&of))
}

/// Returns who has paths, as lines of text.
pub fn own_text(holders: &PathHolders, now: &Now) -> String {
    match holders.own.is_empty() {
        true => "free".to_owned(),
        false => {
            let lines: Vec<String> = holders.own.iter().map(|view| describe(view, now)).collect();
            format!("yours: {}", lines.join("\nyours: "))
        }
    }
}

/// Makes the answer that others have paths of the request.
pub fn held(request: &PathRequest, others: &[LeaseView], now: &Now) -> Error {
    let asked = paths(&request.claim);
    let all: Vec<String> = others.iter().take(SHOWN_MAX).map(|view| describe(view, now)).collect();
    let more = match others.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more if others.len() < NAMED_MAX => format!("; and {more} more"),
        _ => "; and many others".to_owned(),
    };
    let text = format!("{asked} is claimed by {}{more}", all.join("; "));
    let error = Error::new(Kind::Refused, text)
        .hint(format!("wait for it: zeta claim acquire --wait 10m{}", options(request)))
        .hint(format!("or agree with its holder: zeta bus send {} TEXT", holder_of(others)));
    let odd = others.iter().find_map(|view| match (&view.observed, &view.standing) {
        (Observed::Ours(..), _) => None,
        (_, Standing::Held(held)) => Some((&view.lease, held)),
        _ => None,
    });
    match odd {
        Some((lease, held)) => error.hint(left_behind(held)).hint(break_damaged(lease)),
        None => error,
    }
}

/// The first holder that a message can be sent to.
fn holder_of(others: &[LeaseView]) -> Cow<'_, str> {
    let name = others.iter().find_map(|view| match &view.observed {
        Observed::Ours(record, ..) => Some(quote_word(record.agent.as_str())),
        _ => None,
    });
    name.unwrap_or(Cow::Borrowed("WHO"))
}

/// A refusal names so many holders.
const SHOWN_MAX: usize = 3;

/// Makes the refusal of an acquire, from what decided it.
pub fn refused(request: &PathRequest, refusal: &Refusal, now: &Now) -> Error {
    let error = match &refusal.guarded {
        Some(busy) => Error { kind: Kind::Refused, ..Error::clone(busy) },
        None => held(request, &refusal.views(&request.space.lease, now), now),
    };
    match refusal.limit_ms {
        None => error,
        Some(_) => {
            let text = format!("{} (waited {})", error.text, format_duration(refusal.waited_ms));
            Error { kind: Kind::Busy, text, ..error }
        }
    }
}

/// Makes the refusal for a caller without a session that asks for a part of what was handed over to
/// it, which is in `record`.
pub fn handed_over_to_you(request: &PathRequest, record: &Record) -> Error {
    let (asked, claim) = (paths(&request.claim), PathClaim::of(&record.extra));
    let (given, to) = (named(&claim), &record.agent);
    let text = format!("{asked} is part of a claim that was handed over to {to}: {given}");
    let take = match elsewhere(record, Some(&request.space)) {
        None => {
            let options = arguments(&claim, |pattern| request.space.text_of(pattern));
            format!("take that one, under your name: zeta claim acquire{options}")
        }
        Some(place) => format!("take that one, under your name, from within {place}"),
    };
    Error::new(Kind::Refused, text)
        .hint(take)
        .hint("or work in a session, into which it moves: zeta run --as NAME -- COMMAND")
}

/// Says that a claim which was handed over has moved into the caller's session.
pub fn moved(record: &Record) -> String {
    let claim = named(&PathClaim::of(&record.extra));
    format!(
        "{claim} was handed over to you, and is your session's now: token {}",
        record.fencing_token
    )
}

/// Makes the error for a caller that does not have the claim it names; `ended` is the claim with
/// its token.
pub fn not_yours(
    request: &PathRequest,
    holders: &PathHolders,
    ended: Option<&LeaseView>,
    now: &Now,
) -> Error {
    if let (Some(view), Some(token)) = (ended, request.token) {
        let text = format!("the claim with token {token} does not last: {}", describe(view, now));
        return Error::new(Kind::Lost, text).hint(format!(
            "if no other agent has taken its paths: zeta claim renew --token {token}"
        ));
    }
    let kind = match (request.token, holders.others.is_empty()) {
        (Some(_), _) => Kind::Lost,
        (None, true) => Kind::NotFound,
        (None, false) => Kind::Refused,
    };
    if let (Some(token), true) = (request.token, request.claim.patterns.is_empty()) {
        let space = &request.space.name;
        return Error::new(kind, format!("no claim on paths of {space} has token {token}"))
            .hint("see the claims: zeta claim list")
            .hint("a claim of an item is named by the item: zeta claim release ITEM --token N");
    }
    let asked = paths(&request.claim);
    let options = options(request);
    Error::new(kind, format!("{asked}: no claim of these paths is shown to be yours"))
        .hint("your session ('zeta run') shows it, or the number that acquire printed: --token N")
        .hint(format!("see who has it: zeta claim check{options}"))
}

//! Claims on paths as text and as JSON: who has them, since when, and what to do.

use zeta_core::bus::grant::key;
use zeta_core::json::{Object, json_of};
use zeta_core::lease::{Observed, Record, Standing};
use zeta_core::name::Label;
use zeta_core::pattern::{Mode, PathClaim, Pattern};
use zeta_core::record::quote;
use zeta_core::shell::quote_word;
use zeta_core::time::{Now, format_duration};

use super::{PathHolders, PathRequest};
use zeta_os::error::{Error, Kind};
use zeta_state::lease::LeaseView;
use zeta_state::lease::acquire::{NAMED_MAX, Refusal};
use zeta_state::lease::report::{break_damaged, json, left_behind, who};

/// The patterns of a claim, for people.
pub fn paths(claim: &PathClaim) -> String {
    let patterns: Vec<String> = claim.patterns.iter().map(ToString::to_string).collect();
    patterns.join(" ")
}

/// The options that make this request again, from where the call runs.
fn options(request: &PathRequest) -> String {
    let PathRequest { space, claim, .. } = request;
    let one = |pattern: &Pattern| format!(" --path {}", quote_word(&space.text_of(pattern)));
    let mut options: String = claim.patterns.iter().map(one).collect();
    if claim.mode == Mode::Shared {
        options.push_str(" --shared");
    }
    if space.is_of_one_worktree() {
        options.push_str(" --this-worktree");
    }
    options
}

fn add_claim(object: &mut Object, request: &PathRequest) {
    object.text("space", &request.space.name);
    let patterns = &request.claim.patterns;
    object.list(
        "paths",
        patterns.iter().map(|pattern| json_of(&quote(&pattern.to_string())).into_owned()),
    );
    object.text("mode", request.claim.mode.word());
}

/// Returns whether a claim is announced on a bus.
pub fn is_announced(record: &Record) -> bool {
    record.extra.iter().any(|(known, _)| known == key::ANNOUNCED)
}

/// A claim that was granted or renewed, as JSON.
pub fn granted(request: &PathRequest, record: &Record, renewed: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", if renewed { "renewed" } else { "granted" });
    add_claim(&mut object, request);
    object.fields_but(&record.to_fields(), &["space", "paths", "mode", "outcome"]);
    object
}

/// A claim that has a new holder, as JSON; `from` had it before.
pub fn handed_over(request: &PathRequest, from: &Label, record: &Record) -> Object {
    let mut object = Object::new();
    object.text("outcome", "handed_over");
    add_claim(&mut object, request);
    object.text("from", from.as_str()).text("to", record.agent.as_str());
    object.fields_but(&record.to_fields(), &["space", "paths", "mode", "outcome", "from", "to"]);
    object
}

/// A claim that was released, as JSON.
pub fn released(request: &PathRequest, record: &Record, stood: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", if stood { "released" } else { "already_released" });
    add_claim(&mut object, request);
    object.number("fencing_token", record.fencing_token.get());
    object
}

/// Who has paths, as JSON.
pub fn holders(request: &PathRequest, holders: &PathHolders, now: &Now) -> Object {
    let mut object = Object::new();
    add_claim(&mut object, request);
    object.list("holders", holders.others.iter().map(|view| json::view(view, now).done()));
    object.list("own", holders.own.iter().map(|view| json::view(view, now).done()));
    object
}

fn describe(view: &LeaseView, now: &Now) -> String {
    let of = match &view.observed {
        Observed::Ours(record, ..) => PathClaim::of(&record.extra),
        _ => PathClaim::of(&[]),
    };
    format!("{} ({})", who(&view.observed, now), of.mode.word())
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
        .hint("or agree with its holder: zeta bus send");
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

/// A refusal names so many holders.
const SHOWN_MAX: usize = 3;

/// Makes the refusal of an acquire, from what decided it.
pub fn refused(request: &PathRequest, refusal: &Refusal, now: &Now) -> Error {
    let error = match &refusal.guarded {
        Some(busy) => Error { kind: Kind::Refused, ..busy.clone() },
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

/// Makes the error for a caller that does not have the claim it names.
pub fn not_yours(request: &PathRequest, holders: &PathHolders) -> Error {
    let asked = paths(&request.claim);
    let kind = match (request.token, holders.others.is_empty()) {
        (Some(_), _) => Kind::Lost,
        (None, true) => Kind::NotFound,
        (None, false) => Kind::Refused,
    };
    let options = options(request);
    Error::new(kind, format!("{asked}: no claim of these paths is shown to be yours"))
        .hint("your session ('zeta run') shows it, or the number that acquire printed: --token N")
        .hint(format!("see who has it: zeta claim check{options}"))
}

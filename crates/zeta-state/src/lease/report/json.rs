//! Leases as JSON: the keys of the records, and the judgements beside them.

use zeta_core::evidence::{Age, judge_age, judge_boot};
use zeta_core::json::Object;
use zeta_core::lease::joint::Joint;
use zeta_core::lease::{Cause, FencingToken, Held, Observed, Past, Record, Standing, judge};
use zeta_core::name::RecordName;
use zeta_core::record::Fields;
use zeta_core::time::{Now, format_utc};

use super::{held_word, standing_word, times};
use crate::finding;
use crate::lease::acquire::Refusal;
use crate::lease::cluster::CopyOf;
use crate::lease::{LeaseView, LostTo};
use zeta_os::error::Error;

/// A grant; `cause` is `None` if the same attempt was granted it before.
pub fn granted(record: &Record, cause: Option<Cause>) -> Object {
    let mut object = Object::new();
    object.text("outcome", "granted");
    object.text("cause", cause.map_or("again", |cause| cause.word()));
    object.fields_but(&record.to_fields(), &TIME_KEYS);
    add_times(&mut object, own_times(record));
    object
}

/// A refusal: the record that was found, and for how long it counts.
pub fn refused(lease: &RecordName, refusal: &Refusal, now: &Now) -> Object {
    let state = match &refusal.held {
        Some(held) => held_word(held.why),
        None => standing_word(&judge(&refusal.observed, now)),
    };
    let mut object = Object::new();
    object.text("outcome", "held").text("lease_state", state);
    object.number("waited_ms", refusal.waited_ms);
    add_observed(&mut object, lease, &refusal.observed, None, &REFUSED_KEYS);
    add_times(&mut object, times(&refusal.observed, now));
    if let Some(rest_ms) = refusal.held.as_ref().and_then(|held| held.rest_ms) {
        object.number("rest_ms", rest_ms);
    }
    if !refusal.others.is_empty() {
        object.number("other_holders", refusal.others.len() as u64);
    }
    object
}

/// A renewal; `gap_ms` says for how long the lease had been expired.
pub fn renewed(record: &Record, gap_ms: Option<u64>) -> Object {
    let mut object = Object::new();
    object.text("outcome", "renewed");
    if let Some(gap_ms) = gap_ms {
        object.number("gap_ms", gap_ms);
    }
    object.fields_but(&record.to_fields(), &["gap_ms", "since", "until"]);
    add_times(&mut object, own_times(record));
    object
}

/// A release; `existed` says whether the grant was still there.
pub fn released(lease: &RecordName, token: FencingToken, existed: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", if existed { "released" } else { "already_released" });
    object.text("lease", lease.as_str()).number("fencing_token", token.get());
    object
}

/// A check whose answer is that the lease is still the caller's.
pub fn checked(lease: &RecordName, token: FencingToken, rest_ms: u64) -> Object {
    let mut object = Object::new();
    object.text("outcome", "mine").text("lease", lease.as_str());
    object.number("fencing_token", token.get()).number("rest_ms", rest_ms);
    object
}

/// A break.
pub fn broken(lease: &RecordName) -> Object {
    let mut object = Object::new();
    object.text("outcome", "broken").text("lease", lease.as_str());
    object
}

/// A wait at whose end the lease can be taken.
pub fn waited(lease: &RecordName, standing: &Standing, waited_ms: u64) -> Object {
    let mut object = Object::new();
    object.text("outcome", "free").text("lease", lease.as_str());
    object.text("lease_state", standing_word(standing)).number("waited_ms", waited_ms);
    object
}

/// A loss: who holds the lease now, if another agent does.
pub fn lost(lost: &LostTo) -> Object {
    let mut object = Object::new();
    object.text("outcome", "lost").text("lease", lost.lease.as_str());
    if let Some(by) = &lost.lost.by {
        object.text("holder", by.agent.as_str());
        object.number("holder_fencing_token", by.fencing_token.get());
    }
    let reason = match (lost.by_person(), lost.past) {
        (Some(_), _) => "broken",
        (None, Past::Never { .. } | Past::NoGrant) => "never_granted",
        (None, Past::Granted) if lost.lost.by.is_some() => "taken",
        (None, Past::Granted) => "gone",
    };
    object.text("reason", reason);
    if let Some(note) = lost.by_person() {
        for (key, of_note) in [("broken_by", "agent"), ("broken_at", "broken_at")] {
            note.text(of_note).iter().for_each(|text| {
                object.text(key, text);
            });
        }
        note.text("reason").iter().for_each(|text| {
            object.text("break_reason", text);
        });
    }
    object
}

/// All leases of a node, and the files that could not be read.
pub fn list(views: &[LeaseView], findings: &[Error], now: &Now) -> Object {
    let mut object = Object::new();
    object.list("leases", views.iter().map(|one| view(one, now).done()));
    finding::add_errors(&mut object, findings);
    object
}

fn add_observed(
    object: &mut Object,
    lease: &RecordName,
    observed: &Observed,
    fields: Option<&Fields<'_>>,
    judged: &[&str],
) {
    match observed {
        Observed::Ours(record, _, life) => {
            match fields {
                Some(fields) => object.fields_but(fields, judged),
                None => object.fields_but(&record.to_fields(), judged),
            };
            object.text("life", life.word());
        }
        Observed::Foreign { said, .. } => {
            object.text("lease", lease.as_str());
            said.agent.iter().for_each(|agent| {
                object.text("agent", agent);
            });
            said.pid.iter().for_each(|pid| {
                object.number("pid", *pid);
            });
            said.since_us.iter().for_each(|at| {
                object.text("timestamp", &format_utc(*at));
            });
            said.pr.iter().for_each(|pr| {
                object.number("pr", *pr);
            });
        }
        Observed::Damaged(damage, _) => {
            object.text("lease", lease.as_str()).text("damage", &damage.to_string());
        }
        Observed::Absent => {
            object.text("lease", lease.as_str());
        }
    }
}

/// Keys of judgements; a record cannot set them.
const JUDGED_KEYS: [&str; 8] =
    ["lease_state", "life", "rest_ms", "age_ms", "damage", "since", "until", "copy"];
/// The same for a refusal, which is an error as well.
const REFUSED_KEYS: [&str; 11] = [
    "lease_state",
    "life",
    "rest_ms",
    "other_holders",
    "damage",
    "since",
    "until",
    "error",
    "exit_status",
    "message",
    "hints",
];
/// Keys of the times that every lease has.
const TIME_KEYS: [&str; 2] = ["since", "until"];

/// Adds since when a lease is held and until when, as far as they are known.
fn add_times(object: &mut Object, times: (Option<i64>, Option<i64>)) {
    for (key, at_us) in [("since", times.0), ("until", times.1)] {
        at_us.iter().for_each(|at_us| {
            object.text(key, &format_utc(*at_us));
        });
    }
}

/// The times of a record that was just written, by the clock that wrote it.
fn own_times(record: &Record) -> (Option<i64>, Option<i64>) {
    (record.acquired_us, record.renewed.wall_us.map(|us| record.expires_us(us)))
}

/// A lease as JSON.
pub fn view(lease: &LeaseView, now: &Now) -> Object {
    let mut object = Object::new();
    add_view(&mut object, lease, None, now);
    object
}

/// What is known of a lease as the copy of another machine's record.
pub fn copied(copy: &CopyOf) -> Object {
    let mut object = Object::new();
    object.text("node", copy.node.as_str());
    for (key, number) in [("age_ms", copy.age_ms), ("heard_ms", copy.heard_ms)] {
        number.iter().for_each(|number| {
            object.number(key, *number);
        });
    }
    object.flag("verified", copy.verified).flag("silent", copy.silent);
    object
}

/// What `zeta lease show` answers: one lease, or all holders of a joint one.
pub fn shown(views: &[LeaseView], now: &Now) -> Object {
    match views {
        [one] if !is_counted(one) => view(one, now),
        views => {
            let mut object = Object::new();
            views.first().iter().for_each(|first| {
                object.text("lease", first.lease.as_str());
            });
            object.list("holders", views.iter().map(|one| view(one, now).done()));
            object
        }
    }
}

fn is_counted(view: &LeaseView) -> bool {
    matches!(&view.observed, Observed::Ours(record, ..) if Joint::of(record).is_some())
}

/// Adds a lease to an object; `fields` are those of its record, if the caller has parsed it.
pub fn add_view(object: &mut Object, view: &LeaseView, fields: Option<&Fields<'_>>, now: &Now) {
    object.text("lease_state", standing_word(&view.standing));
    add_observed(object, &view.lease, &view.observed, fields, &JUDGED_KEYS);
    add_times(object, times(&view.observed, now));
    if let Standing::Held(Held { rest_ms: Some(rest_ms), .. }) = view.standing {
        object.number("rest_ms", rest_ms);
    }
    if let Some(copy) = &view.copy {
        object.raw("copy", &copied(copy).done());
    }
    if let Observed::Ours(record, times, _) = &view.observed {
        let boot = judge_boot(&record.renewed, now);
        if let Age::Ms(age_ms) = judge_age(&record.renewed, boot, *times, now) {
            object.number("age_ms", age_ms);
        }
    }
}

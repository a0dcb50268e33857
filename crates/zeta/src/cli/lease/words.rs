//! What `zeta lease` says: every refusal names the holder, since when, until when, and what to do.

use std::ffi::OsString;

use zeta_core::evidence::{Age, Boot, ProcessState, judge_age, judge_boot};
use zeta_core::lease::{Cause, Held, HeldWhy, Observed, Policy, Record, Standing, judge};
use zeta_core::name::RecordName;
use zeta_core::record::{Fields, printable};
use zeta_core::time::{Now, format_duration, parse_utc};

use crate::output::Output;
use zeta_core::json::Object;
use zeta_core::time::moment;
use zeta_os::error::{Error, Kind};
use zeta_state::context::Context;
use zeta_state::lease::acquire::Refusal;
use zeta_state::lease::{LeaseView, LostTo};

/// "otto-cli (session 1f.., pid 77, uid 1000)".
pub fn holder(record: &Record) -> String {
    let mut parts = Vec::new();
    if let Some(session) = &record.session {
        parts.push(format!("session {}", session.get(..8).unwrap_or(session)));
    }
    if let Some(own) = record.processes.own {
        parts.push(format!("pid {}", own.pid));
    }
    if let Some(uid) = record.uid {
        parts.push(format!("uid {uid}"));
    }
    match parts.is_empty() {
        true => record.agent.to_string(),
        false => format!("{} ({})", record.agent, printable(&parts.join(", "))),
    }
}

/// The wall time that a boot time was, for people.
pub fn wall_of(boot_ns: u64, now: &Now) -> i64 {
    let apart_us = (boot_ns / 1000) as i64 - (now.reading.boot_ns / 1000) as i64;
    now.reading.wall_us.saturating_add(apart_us)
}

/// The boot times in a record can be compared with ours.
pub fn by_our_clock(record: &Record, now: &Now) -> bool {
    judge_boot(&record.renewed, now) == Boot::Same && record.renewed.time_ns == now.host.time_ns
}

fn since_until(record: &Record, now: &Now) -> String {
    match by_our_clock(record, now) {
        true => format!(
            "since {}, until {}",
            moment(wall_of(record.acquired_boot_ns, now), now.reading.wall_us),
            moment(wall_of(record.expires_boot_ns(), now), now.reading.wall_us)
        ),
        false => "by another clock than ours".to_owned(),
    }
}

fn who(observed: &Observed, now: &Now) -> String {
    match observed {
        Observed::Absent => "nobody".to_owned(),
        Observed::Ours(record, _, life) => {
            let purpose = match &record.purpose {
                Some(purpose) => format!(", for \"{}\"", printable(purpose)),
                None => String::new(),
            };
            let life = match life {
                ProcessState::Alive => ", its process is alive",
                ProcessState::Dead => ", its processes have ended",
                ProcessState::Unknown => "",
            };
            format!("{} {}{purpose}{life}", holder(record), since_until(record, now))
        }
        Observed::Foreign { who, .. } => {
            let who = who.as_deref().unwrap_or("somebody unnamed");
            format!("{}, in a record written by another program", printable(who))
        }
        Observed::Damaged(damage, _) => format!("a damaged record ({damage})"),
    }
}

/// What is said when waiting begins.
pub fn waiting(observed: &Observed, held: &Held) -> String {
    let who = match observed {
        Observed::Ours(record, ..) => holder(record),
        Observed::Foreign { .. } => "a program that is not zeta".to_owned(),
        Observed::Damaged(damage, _) => format!("a damaged record: {damage}"),
        Observed::Absent => "those before us".to_owned(),
    };
    let Some(rest) = held.rest_ms.map(format_duration) else { return format!("waiting for {who}") };
    let when = match (observed, held.why) {
        (Observed::Ours(record, _, ProcessState::Alive), HeldWhy::InTime) => {
            let after = match record.policy {
                Policy::Never => "its policy is 'never'".to_owned(),
                _ => format!("so {} of grace follow", format_duration(record.grace_ms)),
            };
            format!("its TTL ends in {rest} unless it is renewed; it is alive, {after}")
        }
        (Observed::Ours(..), HeldWhy::InGrace) => {
            format!("its grace ends in {rest} unless it is renewed")
        }
        (Observed::Ours(..), _) => format!("its TTL ends in {rest} unless it is renewed"),
        _ => format!("it counts as left behind in {rest}"),
    };
    format!("waiting for {who}; {when}")
}

/// What is said about a grant.
pub fn granted(record: &Record, cause: Option<Cause>, from: Option<&Record>) -> String {
    let until = record.renewed.wall_us.map(|us| zeta_core::time::format_utc(record.expires_us(us)));
    let until = until.as_deref().and_then(|text| text.split_once('.')).map_or("", |(t, _)| t);
    let how = match cause {
        None => " (granted to this attempt before)".to_owned(),
        Some(Cause::Free) => String::new(),
        Some(cause) => {
            let from = from.map(|r| format!(" {}", holder(r))).unwrap_or_default();
            match cause {
                Cause::HolderDead => format!(", taken over from{from}, whose processes ended"),
                Cause::Killed => {
                    format!(", taken over from{from}, which was overdue and was ended")
                }
                Cause::Expired => format!(", taken over from{from}, which let it expire"),
                Cause::Overdue => format!(
                    ", taken over from{from}, which is alive but overdue; it is fenced by its token"
                ),
                Cause::OtherBoot => format!(", left from an earlier boot by{from}"),
                Cause::ForeignExpired => ", left by another program".to_owned(),
                Cause::DamagedExpired => ", left as a damaged record".to_owned(),
                Cause::Free => String::new(),
            }
        }
    };
    format!("lease {} is yours until {until}Z{how}", record.lease)
}

/// A refusal as an error and as an object.
pub fn refused(lease: &RecordName, refusal: &Refusal, now: &Now) -> (Error, Object) {
    let kind = if refusal.limit_ms.is_some() { Kind::Busy } else { Kind::Refused };
    let waited = match refusal.limit_ms {
        Some(_) => format!(" (waited {})", format_duration(refusal.waited_ms)),
        None => String::new(),
    };
    let standing = judge(&refusal.observed, now);
    let error = match (&refusal.guarded, &standing) {
        (Some(busy), _) => Error { kind, ..busy.clone() },
        // Nobody's, and yet not ours: its time ran out in line.
        (None, Standing::Grantable(_)) => {
            let text = format!("lease {lease} is free, but others are ahead in line{waited}");
            Error::new(kind, text)
                .hint(format!("wait longer: zeta lease acquire {lease} --wait 1m"))
        }
        (None, _) => {
            let text = format!("lease {lease} is held by {}{waited}", who(&refusal.observed, now));
            let hints = next_steps(lease, &refusal.held, &refusal.observed);
            Error::new(kind, text).with_hints(hints)
        }
    };
    let state = match standing {
        Standing::Grantable(_) => standing_word(&standing),
        _ => held_word(refusal.held.why),
    };
    let mut object = Object::new();
    object.text("outcome", "held").text("lease_state", state);
    object.number("waited_ms", refusal.waited_ms);
    add_observed(&mut object, lease, &refusal.observed, None);
    if let Some(rest_ms) = refusal.held.rest_ms {
        object.number("rest_ms", rest_ms);
    }
    (error, object)
}

fn next_steps(lease: &RecordName, held: &Held, observed: &Observed) -> Vec<String> {
    let mut steps = Vec::new();
    match held.why {
        HeldWhy::InTime | HeldWhy::InGrace => {
            let rest = held.rest_ms.map_or("1m".to_owned(), |ms| format!("{}s", ms / 1000 + 1));
            steps.push(format!("wait in line: zeta lease acquire {lease} --wait {rest}"));
        }
        HeldWhy::OverdueForever => {
            steps.push("its policy is 'never': only its holder or a person ends it".to_owned());
        }
        HeldWhy::Foreign => steps.push(match held.rest_ms {
            Some(ms) => format!("it counts as left behind in {}", format_duration(ms)),
            None => "its file time lies in the future, so its age is not known".to_owned(),
        }),
        HeldWhy::Damaged => steps.push(match held.rest_ms {
            Some(ms) => format!("it counts as left behind in {}", format_duration(ms)),
            None => "its file time lies in the future, so its age is not known".to_owned(),
        }),
    }
    match observed {
        Observed::Ours(record, ..) => steps.push(format!(
            "if you know that it is abandoned: zeta lease break {lease} --expect {} --reason WHY",
            record.fencing_token
        )),
        Observed::Foreign { .. } | Observed::Damaged(..) => steps.push(format!(
            "if you know that it is abandoned: zeta lease break {lease} --damaged --reason WHY"
        )),
        Observed::Absent => {}
    }
    steps
}

fn held_word(why: HeldWhy) -> &'static str {
    match why {
        HeldWhy::InTime => "held",
        HeldWhy::InGrace => "in_grace",
        HeldWhy::OverdueForever => "overdue",
        HeldWhy::Foreign => "foreign",
        HeldWhy::Damaged => "damaged",
    }
}

/// The word for how a lease stands.
pub fn standing_word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Held(held) => held_word(held.why),
        Standing::MustKill(_) => "overdue",
        Standing::Grantable(cause) => cause.word(),
    }
}

fn add_observed(
    object: &mut Object,
    lease: &RecordName,
    observed: &Observed,
    fields: Option<&Fields<'_>>,
) {
    match observed {
        Observed::Ours(record, _, life) => {
            match fields {
                Some(fields) => object.fields_but(fields, &JUDGED_KEYS),
                None => object.fields_but(&record.to_fields(), &JUDGED_KEYS),
            };
            object.text("life", life.word());
        }
        Observed::Foreign { who, .. } => {
            object.text("lease", lease.as_str());
            object.text("agent", who.as_deref().unwrap_or("unknown"));
        }
        Observed::Damaged(damage, _) => {
            object.text("lease", lease.as_str()).text("damage", &damage.to_string());
        }
        Observed::Absent => {
            object.text("lease", lease.as_str());
        }
    }
}

/// Keys that say what was judged; a record cannot speak for them.
const JUDGED_KEYS: [&str; 5] = ["lease_state", "life", "rest_ms", "age_ms", "damage"];

/// A lease as JSON.
pub fn look_object(look: &LeaseView, now: &Now) -> Object {
    let mut object = Object::new();
    add_look(&mut object, look, None, now);
    object
}

/// A lease as JSON, in an object that is begun; `fields` are its record's, where they are at hand.
pub fn add_look(object: &mut Object, look: &LeaseView, fields: Option<&Fields<'_>>, now: &Now) {
    object.text("lease_state", standing_word(&look.standing));
    add_observed(object, &look.lease, &look.observed, fields);
    if let Standing::Held(Held { rest_ms: Some(rest_ms), .. }) = look.standing {
        object.number("rest_ms", rest_ms);
    }
    if let Observed::Ours(record, times, _) = &look.observed {
        let boot = judge_boot(&record.renewed, now);
        if let Age::Ms(age_ms) = judge_age(&record.renewed, boot, *times, now) {
            object.number("age_ms", age_ms);
        }
    }
}

/// A lease in a few lines.
pub fn look_text(look: &LeaseView, now: &Now) -> String {
    let mut lines = vec![format!("lease {}: {}", look.lease, standing_word(&look.standing))];
    lines.push(format!("  holder   {}", who(&look.observed, now)));
    if let Observed::Ours(record, _, life) = &look.observed {
        lines.push(format!("  token    {}", record.fencing_token));
        lines.push(format!(
            "  ttl      {}, policy {}",
            format_duration(record.ttl_ms),
            record.policy.word()
        ));
        lines.push(format!("  evidence process {}", life.word()));
        if let Some(pr) = record.pr {
            lines.push(format!("  pr       {pr}"));
        }
    }
    match &look.standing {
        Standing::Grantable(_) => {
            lines.push(format!("  next     free to take: zeta lease acquire {}", look.lease));
        }
        Standing::Held(held) => {
            for step in next_steps(&look.lease, held, &look.observed) {
                lines.push(format!("  next     {step}"));
            }
        }
        Standing::MustKill(_) => {
            lines.push("  next     the next acquire ends its processes (policy kill)".to_owned());
        }
    }
    lines.join("\n")
}

/// A lease in one line.
pub fn look_line(look: &LeaseView, now: &Now) -> String {
    format!(
        "{:<24} {:<12} {}",
        look.lease.as_str(),
        standing_word(&look.standing),
        who(&look.observed, now)
    )
}

/// Tells that a lease was lost; returns the exit status.
pub fn tell_lost(out: Output, lost: &LostTo, ctx: &Context) -> u8 {
    let (error, object) = lost_told(lost, ctx);
    out.error(&error, Some(object));
    error.kind.status()
}

/// The loss of a lease as an error and as an object.
pub fn lost_told(lost: &LostTo, ctx: &Context) -> (Error, Object) {
    let error = self::lost(lost, ctx);
    let mut object = Object::new();
    object.text("outcome", "lost").text("lease", lost.lease.as_str());
    if let Some(by) = &lost.lost.by {
        object.text("holder", by.agent.as_str());
        object.number("holder_fencing_token", by.fencing_token.get());
    }
    (error, object)
}

/// The loss of a lease as an error.
pub fn lost(lost: &LostTo, ctx: &Context) -> Error {
    let name = &lost.lease;
    let text = match (&lost.lost.by, &lost.broken) {
        (_, Some(note)) => {
            let say = |key| note.text(key).map_or(String::new(), |t| printable(&t).into_owned());
            let at = note.text("broken_at").and_then(|t| parse_utc(&t).ok());
            let at = at.map(|us| moment(us, ctx.now().reading.wall_us)).unwrap_or_default();
            format!(
                "lease {name}: your grant was broken by {} at {at}: \"{}\"",
                say("agent"),
                say("reason")
            )
        }
        (Some(by), None) => format!(
            "lease {name} is not yours any more: {} holds it with token {} {}",
            holder(by),
            by.fencing_token,
            since_until(by, &ctx.now())
        ),
        (None, None) => format!("lease {name} is not yours any more: {}", what_stands(lost, ctx)),
    };
    Error::new(Kind::Lost, text)
        .hint("stop now: what you do from here can collide with the new holder's work")
        .hint(format!("to go on, take it again: zeta lease acquire {name} --wait 10m"))
}

/// What stands in place of a grant that nobody of ours took.
fn what_stands(lost: &LostTo, ctx: &Context) -> String {
    let look = ctx.find().ok().flatten().and_then(|handle| handle.view(&lost.lease).ok().flatten());
    match look.map(|look| look.observed) {
        None | Some(Observed::Absent) => "its record is gone".to_owned(),
        Some(Observed::Damaged(damage, _)) => format!("a damaged record stands there ({damage})"),
        Some(Observed::Foreign { .. }) => "another program's record stands there".to_owned(),
        Some(Observed::Ours(by, ..)) => {
            format!("{} holds it with token {}", holder(&by), by.fencing_token)
        }
    }
}

/// A grant whose token could not be printed.
pub fn untold(record: &Record, error: &Error) -> Error {
    let Record { lease, fencing_token, .. } = record;
    let text = format!("{}; lease {lease} is yours, and the token is {fencing_token}", error.text);
    Error::new(Kind::Fault, text)
        .hint(format!("release it with: zeta lease release {lease} --token {fencing_token}"))
}

/// A break that named another grant than the one that stands.
pub fn other_grant(lost: &LostTo) -> Error {
    let text = match &lost.lost.by {
        Some(by) => format!(
            "lease {}: the grant that stands is {}'s with token {}, not the one that you named",
            lost.lease, by.agent, by.fencing_token
        ),
        None => format!("lease {}: what stands there is not the grant that you named", lost.lease),
    };
    Error::new(Kind::Refused, text).hint(format!("look again: zeta lease show {}", lost.lease))
}

/// A command for people, cut to one line.
pub fn command_line(command: &[OsString]) -> String {
    let words: Vec<String> =
        command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ").chars().take(200).collect()
}

//! Leases as text and as JSON, for every front end. Each refusal names the holder, since when,
//! until when, and what to do.

mod copied;
pub mod json;
mod lost;

use std::ffi::OsString;

use zeta_core::cluster::lease::Scope;
use zeta_core::evidence::{Boot, ProcessState, judge_boot};
use zeta_core::json::Object;
use zeta_core::lease::joint::{Joint, slots_of};
use zeta_core::lease::{
    Cause, DAMAGED_TTL_MS, FOREIGN_TTL_MS, FencingToken, Held, HeldWhy, Observed, Policy, Record,
    Said, Standing, judge,
};
use zeta_core::name::RecordName;
use zeta_core::record::printable;
use zeta_core::time::{Now, format_duration, moment, push_number};

pub use self::copied::copied;
use self::copied::is_of_node_alone;
pub use self::lost::{lost, lost_with_json, other_grant};
use super::LeaseView;
use super::acquire::Refusal;
use zeta_os::error::{Error, Kind};

/// Describes the holder: "otto-cli (session 1f.., pid 77, uid 1000)".
pub fn holder(record: &Record) -> String {
    let mut text = String::with_capacity(64);
    push_holder(&mut text, record);
    text
}

/// As [`holder`], appended to a text.
pub fn push_holder(text: &mut String, record: &Record) {
    text.push_str(record.agent.as_str());
    let mut start = " (";
    let mut part = |text: &mut String, word| {
        text.push_str(start);
        text.push_str(word);
        start = ", ";
    };
    if let Some(session) = &record.session {
        part(text, "session ");
        text.push_str(&printable(session.get(..8).unwrap_or(session)));
    }
    if let Some(scope) = Scope::of(record) {
        part(text, "on ");
        text.push_str(scope.node.as_str());
    }
    let pid = record.processes.own.map(|own| own.pid);
    for (word, number) in [("pid ", pid), ("uid ", record.uid)] {
        if let Some(number) = number {
            part(text, word);
            push_number(text, number.into());
        }
    }
    if start == ", " {
        text.push(')');
    }
}

/// Names the holder in a record of another program.
pub fn foreign_holder(said: &Said) -> String {
    said.who().unwrap_or_else(|| "an unnamed holder".to_owned())
}

/// Returns since when and until when a record counts, in microseconds since the Unix epoch, as far
/// as that is known. What comes after the TTL, as a grace, is not in it.
pub fn times(observed: &Observed, now: &Now) -> (Option<i64>, Option<i64>) {
    let after = |us: i64, ms: u64| us.saturating_add_unsigned(ms.saturating_mul(1000));
    match observed {
        Observed::Absent => (None, None),
        // The times in the record come first: each reading of the clocks differs by microseconds.
        Observed::Ours(record, ..) => {
            let wall_of = |boot_ns| has_same_clock(record, now).then(|| wall_of(boot_ns, now));
            let until = record.renewed.wall_us.map(|us| record.expires_us(us));
            (
                record.acquired_us.or_else(|| wall_of(record.acquired_boot_ns)),
                until.or_else(|| wall_of(record.expires_boot_ns())),
            )
        }
        Observed::Foreign { ttl_ms, said, times } => (
            Some(said.since_us.unwrap_or(times.mtime_us)),
            Some(after(times.mtime_us, ttl_ms.unwrap_or(FOREIGN_TTL_MS))),
        ),
        Observed::Damaged(_, times) => (None, Some(after(times.ctime_us, DAMAGED_TTL_MS))),
    }
}

/// Says when the grace of a holder ends that is alive and past its TTL.
fn grace(held: &Held) -> Option<String> {
    let rest_ms = held.rest_ms.filter(|_| held.why == HeldWhy::InGrace)?;
    Some(format!("free in {} (grace)", format_duration(rest_ms)))
}

/// Converts a boot time to a wall time, for people.
pub fn wall_of(boot_ns: u64, now: &Now) -> i64 {
    let apart_us = (boot_ns / 1000) as i64 - (now.reading.boot_ns / 1000) as i64;
    now.reading.wall_us.saturating_add(apart_us)
}

/// Returns whether the boot times in a record can be compared with those of this process.
pub fn has_same_clock(record: &Record, now: &Now) -> bool {
    judge_boot(&record.renewed, now) == Boot::Same && record.renewed.time_ns == now.host.time_ns
}

fn since_until(record: &Record, now: &Now) -> String {
    match has_same_clock(record, now) {
        true => format!(
            "since {}, until {}",
            moment(wall_of(record.acquired_boot_ns, now), now.reading.wall_us),
            moment(wall_of(record.expires_boot_ns(), now), now.reading.wall_us)
        ),
        false => elsewhere(record, now)
            .unwrap_or_else(|| "by the clock of another boot or container".to_owned()),
    }
}

/// The times of a lease of another node, by the wall clock there.
fn elsewhere(record: &Record, now: &Now) -> Option<String> {
    let scope = Scope::of(record)?;
    let (since, until) = (record.acquired_us?, record.expires_us(record.renewed.wall_us?));
    let here = now.reading.wall_us;
    let (since, until) = (moment(since, here), moment(until, here));
    Some(format!("since {since}, until {until} by the clock of {}", scope.node))
}

/// Describes the holder of a lease, since when, until when and what for.
pub fn who(observed: &Observed, now: &Now) -> String {
    match observed {
        Observed::Absent => "no process".to_owned(),
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
        Observed::Foreign { said, .. } => {
            let here = now.reading.wall_us;
            let since =
                said.since_us.map_or(String::new(), |at| format!(" since {}", moment(at, here)));
            let pr = said.pr.map_or(String::new(), |pr| format!(", pr {pr}"));
            let who = foreign_holder(said);
            format!("{}{since}{pr}, in a record written by another program", printable(&who))
        }
        Observed::Damaged(damage, _) => format!("a damaged record ({damage})"),
    }
}

/// Returns the message for the beginning of a wait.
pub fn waiting(observed: &Observed, held: &Held) -> String {
    let who = match observed {
        Observed::Ours(record, ..) => holder(record),
        Observed::Foreign { said, .. } => {
            format!("{}, a program that is not zeta", printable(&foreign_holder(said)))
        }
        Observed::Damaged(damage, _) => format!("a damaged record: {damage}"),
        Observed::Absent => "the processes ahead in the queue".to_owned(),
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

/// Returns the message about a grant.
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
                    format!(", taken over from{from}, which was overdue and has been killed")
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
    let place = slots_of(record).map_or(String::new(), |slots| format!(" (one of {slots} slots)"));
    format!("lease {}{place} is yours until {until}Z{how}", record.lease)
}

/// Makes a refusal as an error and as JSON.
pub fn refused(lease: &RecordName, refusal: &Refusal, now: &Now) -> (Error, Object) {
    let kind = if refusal.limit_ms.is_some() { Kind::Busy } else { Kind::Refused };
    let waited = match refusal.limit_ms {
        Some(_) => format!(" (waited {})", format_duration(refusal.waited_ms)),
        None => String::new(),
    };
    let who = |by: &str| {
        let others = match refusal.others.len() {
            0 => String::new(),
            1 => format!("; and {by}another holder"),
            others => format!("; and {by}{others} other holders"),
        };
        (who(&refusal.observed, now), others)
    };
    let error = match (&refusal.guarded, &refusal.held) {
        (Some(busy), _) => Error { kind, ..Error::clone(busy) },
        // The caller's time ran out in the queue.
        (None, None) => {
            let what = match judge(&refusal.observed, now) {
                Standing::Grantable(_) => "is free".to_owned(),
                _ => {
                    let (who, others) = who("");
                    format!("has room, beside {who}{others}")
                }
            };
            let text =
                format!("lease {lease} {what}, but other processes are ahead in the queue{waited}");
            let options = options(refusal);
            Error::new(kind, text)
                .hint(format!("wait longer: zeta lease acquire {lease}{options} --wait 1m"))
        }
        (None, Some(held)) => {
            let grace = grace(held).map_or(String::new(), |grace| format!("; {grace}"));
            let (who, others) = who("by ");
            let text = format!("lease {lease} is held by {who}{grace}{others}{waited}");
            let options = options(refusal);
            Error::new(kind, text).with_hints(next_steps(lease, held, &refusal.observed, &options))
        }
    };
    (error, json::refused(lease, refusal, now))
}

fn next_steps(lease: &RecordName, held: &Held, observed: &Observed, options: &str) -> Vec<String> {
    let mut steps = Vec::new();
    match held.why {
        HeldWhy::InTime | HeldWhy::InGrace => {
            let rest = held.rest_ms.map_or("1m".to_owned(), |ms| format!("{}s", ms / 1000 + 1));
            steps.push(format!(
                "wait in the queue: zeta lease acquire {lease}{options} --wait {rest}"
            ));
        }
        HeldWhy::OverdueForever => {
            steps.push("its policy is 'never': only its holder or a person can end it".to_owned());
        }
        HeldWhy::Foreign | HeldWhy::Damaged => steps.push(left_behind(held)),
    }
    match observed {
        Observed::Ours(record, ..) if Scope::of(record).is_some() => steps.push(format!(
            "if you know that it is abandoned, on its node: zeta lease break {lease} --expect {} \
             --reason WHY",
            record.fencing_token
        )),
        Observed::Ours(record, ..) => steps.push(format!(
            "if you know that it is abandoned: zeta lease break {lease} --expect {} --reason WHY",
            record.fencing_token
        )),
        Observed::Foreign { .. } | Observed::Damaged(..) => steps.push(break_damaged(lease)),
        Observed::Absent => {}
    }
    steps
}

/// Says when a record ends that no holder renews.
pub fn left_behind(held: &Held) -> String {
    match held.rest_ms {
        Some(ms) => format!("it counts as left behind in {}", format_duration(ms)),
        None => "its file time lies in the future, so its age is not known".to_owned(),
    }
}

/// Says how to end a record that has no token.
pub fn break_damaged(lease: &RecordName) -> String {
    format!("if you know that it is abandoned: zeta lease break {lease} --damaged --reason WHY")
}

/// The option of a lease of the cluster, in a hint.
const IN_CLUSTER: &str = " --scope cluster";

/// Returns the options with which the caller asked: for a place beside others, or in the cluster.
fn options(refusal: &Refusal) -> String {
    match refusal.in_cluster {
        true => IN_CLUSTER.to_owned(),
        false => slots_option(refusal.joint.as_ref()),
    }
}

fn slots_option(joint: Option<&Joint>) -> String {
    match joint {
        Some(Joint::Slots(slots)) => format!(" --slots {slots}"),
        _ => String::new(),
    }
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

/// Returns the word for the state of a lease.
pub fn standing_word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Held(held) => held_word(held.why),
        Standing::MustKill(_) => "overdue",
        Standing::Grantable(cause) => cause.word(),
    }
}

/// All holders of a lease as text, in several lines each.
pub fn views_text(views: &[LeaseView], now: &Now) -> String {
    views.iter().map(|view| view_text(view, now)).collect::<Vec<_>>().join("\n")
}

/// A lease as text, in several lines.
pub fn view_text(view: &LeaseView, now: &Now) -> String {
    let mut lines = vec![format!("lease {}: {}", view.lease, standing_word(&view.standing))];
    lines.push(format!("  holder   {}", who(&view.observed, now)));
    if let Observed::Ours(record, _, life) = &view.observed {
        lines.push(format!("  token    {}", record.fencing_token));
        lines.push(format!(
            "  ttl      {}, policy {}",
            format_duration(record.ttl_ms),
            record.policy.word()
        ));
        if view.copy.is_none() {
            lines.push(format!("  evidence process {}", life.word()));
        }
        if let Some(pr) = record.pr {
            lines.push(format!("  pr       {pr}"));
        }
        if let Some(Scope { node, epoch, .. }) = Scope::of(record) {
            lines.push(format!("  scope    cluster, by {node} in epoch {epoch}"));
        }
        if let Some(slots) = slots_of(record) {
            lines.push(format!("  slots    at most {slots} holders at once"));
        }
    }
    if let Observed::Foreign { times, .. } = &view.observed {
        let (changed, here) = (times.mtime_us, now.reading.wall_us);
        lines.push(format!("  evidence its file was changed {}", moment(changed, here)));
    }
    if let Some(copy) = &view.copy {
        lines.push(format!("  copy     {}", copied(copy)));
        lines.extend(copied::rest(&view.standing).map(|rest| format!("  left     {rest}")));
    }
    let options = match &view.observed {
        Observed::Ours(record, ..) if Scope::of(record).is_some() => IN_CLUSTER.to_owned(),
        Observed::Ours(record, ..) => slots_option(Joint::of(record).as_ref()),
        _ => String::new(),
    };
    match &view.standing {
        _ if is_of_node_alone(view) => {
            lines.push(
                "  next     it binds that machine alone, and only there it can change".into(),
            );
        }
        Standing::Grantable(_) => {
            lines.push(format!(
                "  next     free to take: zeta lease acquire {}{options}",
                view.lease
            ));
        }
        Standing::Held(held) => {
            lines.extend(grace(held).map(|grace| {
                format!("  grace    its TTL has run out; {grace}, unless it is renewed")
            }));
            for step in next_steps(&view.lease, held, &view.observed, &options) {
                lines.push(format!("  next     {step}"));
            }
        }
        Standing::MustKill(_) => {
            lines.push("  next     the next acquire kills its processes (policy kill)".to_owned());
        }
    }
    lines.join("\n")
}

/// Leases as text, a line for each.
pub fn list_text(views: &[LeaseView], now: &Now) -> String {
    let width = views.iter().map(|view| view.lease.as_str().len()).max().unwrap_or_default();
    let lines: Vec<String> = views.iter().map(|view| view_line(view, width, now)).collect();
    lines.join("\n")
}

fn view_line(view: &LeaseView, width: usize, now: &Now) -> String {
    let grace = match &view.standing {
        Standing::Held(held) => grace(held).map_or(String::new(), |grace| format!("; {grace}")),
        _ => String::new(),
    };
    let copy = view.copy.as_ref().map(|copy| format!("; a copy {}", copied(copy)));
    let copy = copy.unwrap_or_default();
    format!(
        "{:<width$}  {:<12} {}{grace}{copy}",
        view.lease.as_str(),
        standing_word(&view.standing),
        who(&view.observed, now)
    )
}

/// Returns the message about a renewal of an expired lease that no other process had taken.
pub fn renewed_late(lease: &RecordName, gap_ms: u64) -> String {
    let gap = format_duration(gap_ms);
    format!("lease {lease} had been expired for {gap}, and no other process took it meanwhile")
}

/// Returns the message that a lease of the cluster is renewed after that had failed for long.
pub fn renewed_again(lease: &RecordName) -> String {
    format!("lease {lease} is renewed in the cluster again")
}

/// Returns the answer of a check that the lease is the caller's for `rest_ms` more.
pub fn checked(rest_ms: u64) -> String {
    format!("yours for {} more", format_duration(rest_ms))
}

/// Returns the message about a break.
pub fn broken(lease: &RecordName) -> String {
    format!("lease {lease}: removed; the old token is refused from now on")
}

/// Makes the error for a break where there is no grant.
pub fn nothing_to_break(lease: &RecordName) -> Error {
    Error::new(Kind::NotFound, format!("lease {lease} is free: there is no grant to break"))
        .hint("to compare the name: zeta lease list")
}

/// Returns the answer of a wait that the lease can be taken.
pub fn waited(lease: &RecordName, standing: &Standing, waited_ms: u64) -> String {
    let how = match standing {
        Standing::Grantable(Cause::Free) => String::new(),
        standing => format!(" to take ({})", standing_word(standing).replace('_', " ")),
    };
    format!("lease {lease} is free{how}, after {}", format_duration(waited_ms))
}

/// Makes the error for a check when the TTL has run out, or is about to.
pub fn too_late(lease: &RecordName, token: FencingToken) -> Error {
    let text = format!("lease {lease}: its TTL has run out or is about to: stop, or renew first");
    Error::new(Kind::Lost, text).hint(format!("zeta lease renew {lease} --token {token}"))
}

/// Makes the error for a lease that was to be shown and is free.
pub fn free(lease: &RecordName) -> Error {
    Error::new(Kind::NotFound, format!("lease {lease} is free"))
        .hint(format!("take it: zeta lease acquire {lease}"))
}

/// Makes the error for a grant whose token could not be printed.
pub fn token_not_printed(record: &Record, error: &Error) -> Error {
    let Record { lease, fencing_token, .. } = record;
    let text = format!("{}; lease {lease} is yours, and the token is {fencing_token}", error.text);
    Error::new(Kind::Fault, text)
        .hint(format!("release it with: zeta lease release {lease} --token {fencing_token}"))
}

/// Formats a command for people, cut to one line.
pub fn command_line(command: &[OsString]) -> String {
    let words: Vec<String> =
        command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ").chars().take(200).collect()
}

//! The loss of a lease, as an error: which process has it now, and what to do.

use zeta_core::evidence::ProcessState;
use zeta_core::json::Object;
use zeta_core::lease::joint::slots_of;
use zeta_core::lease::{Observed, Past};
use zeta_core::record::printable;
use zeta_core::time::{moment, parse_utc};

use super::{holder, json, since_until};
use crate::context::Context;
use crate::lease::LostTo;
use zeta_os::error::{Error, Kind};

/// Makes the loss of a lease as an error and as JSON.
pub fn lost_with_json(lost: &LostTo, ctx: &Context) -> (Error, Object) {
    (self::lost(lost, ctx), json::lost(lost))
}

/// Makes the loss of a lease as an error.
pub fn lost(lost: &LostTo, ctx: &Context) -> Error {
    let name = &lost.lease;
    let text = match (&lost.lost.by, &lost.broken) {
        (by, Some(note)) if by.is_none() || lost.by_person().is_some() => {
            let say = |key| note.text(key).map_or(String::new(), |t| printable(&t).into_owned());
            let at = note.text("broken_at").and_then(|t| parse_utc(&t).ok());
            let at = at.map(|us| moment(us, ctx.now().reading.wall_us)).unwrap_or_default();
            let reason = say("reason");
            match lost.by_person() {
                None => format!("lease {name} is not yours any more since {at}: {reason}"),
                Some(_) => {
                    let by = say("agent");
                    format!("lease {name}: your grant was broken by {by} at {at}: \"{reason}\"")
                }
            }
        }
        (Some(record), _) => {
            let yours = match lost.past {
                Past::Granted => "is not yours any more",
                Past::Never { .. } | Past::NoGrant => "was never granted with this token",
            };
            let (by, token) = (format!("{} holds it", holder(record)), record.fencing_token);
            let times = since_until(record, &ctx.now());
            format!("lease {name} {yours}: {by} with token {token} {times}")
        }
        (None, _) => match lost.past {
            Past::Granted => {
                format!("lease {name} is not yours any more: {}", what_is_there(lost, ctx))
            }
            Past::Never { highest } => format!(
                "lease {name} was never granted with this token: its last grant had {highest}"
            ),
            Past::NoGrant => format!(
                "lease {name}: no grant of it is known here: there was none, or its records were \
                 removed"
            ),
        },
    };
    if lost.past != Past::Granted && lost.broken.is_none() {
        return Error::new(Kind::Lost, text)
            .hint(format!("compare the name and the token: zeta lease show {name}"))
            .hint(
                "if a grant was yours, stop: what you do can collide with the next holder's work",
            );
    }
    Error::new(Kind::Lost, text)
        .hint("stop now: what you do from here can collide with the new holder's work")
        .hint(format!(
            "to go on, take it again, with the options of before: zeta lease acquire {name} \
             --wait 10m"
        ))
}

/// Describes what is in place of a grant that was not taken over by another holder.
fn what_is_there(lost: &LostTo, ctx: &Context) -> String {
    let view = ctx.find().ok().flatten().and_then(|handle| handle.view(&lost.lease).ok().flatten());
    match view.map(|view| view.observed) {
        None | Some(Observed::Absent) => "its record is gone".to_owned(),
        Some(Observed::Damaged(damage, _)) => {
            format!("a damaged record is in its place ({damage})")
        }
        Some(Observed::Foreign { .. }) => "a record of another program is in its place".to_owned(),
        // Its other holders stand beside the caller, and not in its place.
        Some(Observed::Ours(by, ..)) if slots_of(&by).is_some() => "its record is gone".to_owned(),
        // Its own: another machine may have the lease by now, and no record here says which one.
        Some(Observed::Ours(by, _, life)) if lost.token == Some(by.fencing_token) => match life {
            ProcessState::Dead => "its processes have ended".to_owned(),
            _ => "it was not renewed before its time was over".to_owned(),
        },
        Some(Observed::Ours(by, ..)) => {
            format!("{} holds it with token {}", holder(&by), by.fencing_token)
        }
    }
}

/// Makes the refusal of a break whose token is not that of the present grant.
pub fn other_grant(lost: &LostTo) -> Error {
    let text = match &lost.lost.by {
        Some(by) => format!(
            "lease {}: the present grant is {}'s with token {}, not the one that you named",
            lost.lease, by.agent, by.fencing_token
        ),
        None => format!("lease {}: what stands there is not the grant that you named", lost.lease),
    };
    Error::new(Kind::Refused, text)
        .hint(format!("see what is there now: zeta lease show {}", lost.lease))
}

//! The entries about what a verb has seen and done.

use zeta_core::history::{Entry, Event};
use zeta_core::layout;
use zeta_core::lease::{Cause, Observed, Record, Standing, judge};
use zeta_core::name::RecordName;
use zeta_core::overview::LeaseKind;
use zeta_core::time::Now;

use crate::directory::guard::Section;
use zeta_os::host;

/// Makes the entry about a grant: one in place of what stood there is a takeover.
pub fn of_grant(section: &Section<'_>, record: &Record, cause: Cause, before: &Observed) -> Entry {
    let at_us = record.acquired_us.unwrap_or_default();
    let entry = |event| Entry::of(section.node().name.as_str(), event, record, at_us);
    match before {
        Observed::Absent => entry(Event::Acquired),
        Observed::Ours(from, ..) => entry(Event::TakenOver).from(from).because(cause.word()),
        _ => entry(Event::TakenOver).because(cause.word()),
    }
}

/// Makes the entry about the end of what was observed: the record of a lease, or of a joint one the
/// grant in `file`.
pub fn of_end(
    section: &Section<'_>,
    event: Event,
    lease: &RecordName,
    observed: &Observed,
    file: Option<&str>,
) -> Entry {
    let (node, at_us) = (section.node().name.as_str(), host::wall_us());
    match observed {
        Observed::Ours(record, ..) => Entry::of(node, event, record, at_us),
        _ => Entry {
            kind: if file.is_some() { LeaseKind::Slot } else { LeaseKind::Lease },
            fencing_token: file.and_then(layout::token_of_grant),
            ..Entry::new(node, event, lease.as_str(), at_us)
        },
    }
}

/// Returns why a grant that is removed counts no more.
pub fn cause_of(observed: &Observed, now: &Now) -> &'static str {
    match judge(observed, now) {
        Standing::Grantable(cause) => cause.word(),
        Standing::Held(_) | Standing::MustKill(_) => Cause::Overdue.word(),
    }
}

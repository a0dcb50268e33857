//! The bugs in decisions of `zeta-core`: who gets a lease and when, who is alive, and what a name
//! or a record may be. Its own tests must catch each; they are quick.

use super::bugs::{Bug, bug};

const DECIDE: &str = "crates/zeta-core/src/lease/decide.rs";
const NAME: &str = "crates/zeta-core/src/name.rs";
const PRESENCE: &str = "crates/zeta-core/src/presence.rs";
const RECORD: &str = "crates/zeta-core/src/record.rs";

const TESTS: &[&str] = &["-p", "zeta-core", "--lib"];

/// All bugs.
pub const BUGS: [Bug; 24] = [
    bug(
        "a dead holder is waited for",
        DECIDE,
        "    if life == ProcessState::Dead {
        return Standing::Grantable(Cause::HolderDead);
    }
",
        "",
        TESTS,
    ),
    bug(
        "a record of another boot is judged as one of this boot",
        DECIDE,
        "    if boot == Boot::Other {
        return Standing::Grantable(Cause::OtherBoot);
    }
",
        "",
        TESTS,
    ),
    bug(
        "an expired lease is held without a sign of its holder",
        DECIDE,
        "    if life == ProcessState::Unknown {
        return Standing::Grantable(Cause::Expired);
    }
",
        "",
        TESTS,
    ),
    bug(
        "an overdue holder keeps its lease",
        DECIDE,
        "Policy::Reclaim => Standing::Grantable(Cause::Overdue),",
        "Policy::Reclaim => held(HeldWhy::OverdueForever, None),",
        TESTS,
    ),
    bug(
        "the policy kill ends no process",
        DECIDE,
        "Policy::Kill => Standing::MustKill(record.processes),",
        "Policy::Kill => Standing::Grantable(Cause::Killed),",
        TESTS,
    ),
    bug(
        "the policy never is forgotten",
        DECIDE,
        "Policy::Never => held(HeldWhy::OverdueForever, None),",
        "Policy::Never => Standing::Grantable(Cause::Overdue),",
        TESTS,
    ),
    bug(
        "a foreign record never ages",
        DECIDE,
        "aged(age_of_foreign(*times, now), ttl_ms, Cause::ForeignExpired, HeldWhy::Foreign)",
        "aged(age_of_foreign(*times, now), ttl_ms << 20, Cause::ForeignExpired, HeldWhy::Foreign)",
        TESTS,
    ),
    bug(
        "a check has no margin",
        DECIDE,
        "let limit_ms = record.ttl_ms - check_margin_ms(record.ttl_ms);",
        "let limit_ms = record.ttl_ms;",
        TESTS,
    ),
    bug(
        "a check takes any token",
        DECIDE,
        "    if record.fencing_token != token || matches!(boot, Boot::Other | Boot::Elsewhere) {
        return Checked::Lost(Lost::to(observed));",
        "    if record.fencing_token > token || matches!(boot, Boot::Other | Boot::Elsewhere) {
        return Checked::Lost(Lost::to(observed));",
        TESTS,
    ),
    bug(
        "a renewal takes back what another caller was granted",
        DECIDE,
        "    if record.fencing_token != token || matches!(boot, Boot::Other | Boot::Elsewhere) {
        return Renewed::Lost(Lost::to(observed));",
        "    if record.fencing_token < token || matches!(boot, Boot::Other | Boot::Elsewhere) {
        return Renewed::Lost(Lost::to(observed));",
        TESTS,
    ),
    bug(
        "a release of the successor's lease",
        DECIDE,
        "Observed::Ours(record, ..) if record.fencing_token == token => Released::Remove,",
        "Observed::Ours(record, ..) if record.fencing_token >= token => Released::Remove,",
        TESTS,
    ),
    bug(
        "a release after a break is fine",
        DECIDE,
        "Observed::Absent if highest == token.get() && !broken => Released::Already,",
        "Observed::Absent if highest == token.get() || broken => Released::Already,",
        TESTS,
    ),
    bug(
        "a break removes a grant that nobody looked at",
        DECIDE,
        "(Observed::Ours(record, ..), Some(token)) if record.fencing_token == token => {",
        "(Observed::Ours(record, ..), Some(token)) if record.fencing_token >= token => {",
        TESTS,
    ),
    bug(
        "a repeated attempt is a new one",
        DECIDE,
        "        && record.lease_id == ask.lease_id
",
        "        && record.lease_id != ask.lease_id
",
        TESTS,
    ),
    bug(
        "a new grant keeps the keys of the old record",
        DECIDE,
        "Acquired::Grant(Box::new(granted(ask, token, now)), cause)",
        "Acquired::Grant(
            Box::new(match observed {
                Observed::Ours(old, ..) => {
                    Record { extra: old.extra.clone(), ..granted(ask, token, now) }
                }
                _ => granted(ask, token, now),
            }),
            cause,
        )",
        TESTS,
    ),
    bug(
        "a renewal drops the keys that it does not know",
        DECIDE,
        "    record.renew_seq = record.renew_seq.saturating_add(1);
",
        "    record.renew_seq = record.renew_seq.saturating_add(1);
    record.extra.clear();
",
        TESTS,
    ),
    bug(
        "a label may end in a dash",
        NAME,
        "
            && bytes.last().copied().is_some_and(is_lower_alnum);",
        ";",
        TESTS,
    ),
    bug(
        "the name of a lease may begin with a dot",
        NAME,
        "matches!(b, b'.' | b'_' | b'-'))
            && bytes.first().copied().is_some_and(is_lower_alnum)",
        "matches!(b, b'.' | b'_' | b'-'))",
        TESTS,
    ),
    bug(
        "a key has any length",
        RECORD,
        "bytes.len() <= 64
        &&",
        "bytes.len() <= 640
        &&",
        TESTS,
    ),
    bug(
        "a record without its last line is believed",
        RECORD,
        "text.strip_suffix(\"end: true\\n\").ok_or(Damage::NoEnd)?;",
        "text.strip_suffix(\"end: true\\n\").unwrap_or(text);",
        TESTS,
    ),
    bug(
        "a record of a later schema is read as one of this",
        RECORD,
        "Some(\"1\") => Ok(fields),",
        "Some(\"1\" | \"2\") => Ok(fields),",
        TESTS,
    ),
    bug(
        "an agent is late after one missed beat more",
        PRESENCE,
        "const LATE_BEATS: u64 = 2;",
        "const LATE_BEATS: u64 = 3;",
        TESTS,
    ),
    bug(
        "an agent is hung after one missed beat more",
        PRESENCE,
        "const SILENT_BEATS: u64 = 4;",
        "const SILENT_BEATS: u64 = 5;",
        TESTS,
    ),
    bug(
        "the time that a machine slept counts as missed beats",
        PRESENCE,
        "(awake_ns / NS_PER_MS).min(age_ms)",
        "(awake_ns / NS_PER_MS).max(age_ms)",
        TESTS,
    ),
];

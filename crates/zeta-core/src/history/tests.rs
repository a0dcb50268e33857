//! The lines of a log, what is read of torn and odd ones, and the spans of histories.

use proptest::prelude::*;

use super::*;
use crate::record::quote;

fn line(text: &str) -> Entry {
    let lines = read_lines(format!("{text}\n").as_bytes(), "n");
    assert_eq!((lines.entries.len(), lines.unread), (1, 0), "{text}");
    lines.entries.into_iter().next().unwrap()
}

/// A log in short: `SECOND EVENT LEASE KEYS`, where some keys are short, too.
fn log(text: &str) -> Vec<Entry> {
    let keys = [" a=", " agent=", " fa=", " from_agent=", " t=", " fencing_token="];
    let keys = [&keys[..], &[" ft=", " from_fencing_token="]].concat();
    let long = |text: &str, pair: &[&str]| text.replace(pair[0], pair[1]);
    let of = |text: &str| {
        let text = keys.chunks(2).fold(text.to_owned(), |text, pair| long(&text, pair));
        let (second, rest) = text.trim().split_once(' ').unwrap();
        line(&format!("2026-11-29T18:00:{second}.000000Z {rest}"))
    };
    text.trim().lines().map(of).collect()
}

/// Spans in short: `LEASE TOKEN AGENT FROM..UNTIL HOW`.
fn told(entries: &[Entry]) -> Vec<String> {
    let second = |at: Option<i64>| at.map_or(String::new(), |us| (us / 1_000_000 % 60).to_string());
    let tell = |span: &Span| {
        let grant = &span.grant;
        let token = grant.fencing_token.map_or(String::new(), |token| token.to_string());
        let agent = grant.agent.as_deref().unwrap_or("?");
        let (from, until) = (second(span.from_us), second(span.until_us));
        let ended = span.ended.map_or("lasts", Ended::word);
        let to = span.to_agent.iter().map(|to| format!(" to {to}"));
        let by = span.ended_by.iter().map(|by| format!(" by {by}"));
        let cause = span.ended_cause.iter().map(|cause| format!(" {cause}"));
        let more: String = to.chain(by).chain(cause).collect();
        format!("{} {token} {agent} {from}..{until} {ended}{more}", grant.lease)
    };
    spans(entries).iter().map(tell).collect()
}

#[test]
fn a_line_is_what_the_standard_says() {
    let entry = Entry {
        fencing_token: Some(8),
        agent: Some("vera".into()),
        ttl_ms: Some(600_000),
        purpose: Some("say \"hi\"\n".into()),
        ..Entry::new("n", Event::TakenOver, "deploy", 1_795_342_272_123_456)
    };
    let mut entry = entry.because("holder_dead");
    (entry.from_agent, entry.from_fencing_token) = (Some("otto".into()), Some(7));
    let text = "2026-11-22T10:11:12.123456Z taken_over deploy fencing_token=8 agent=\"vera\" \
                from_agent=\"otto\" from_fencing_token=7 cause=\"holder_dead\" ttl_ms=600000 \
                purpose=\"say \\\"hi\\\"\\n\"";
    assert_eq!(render(&entry), format!("{text}\n"));
    assert_eq!(line(text), entry);
    let claim = line("2026-11-22T10:11:12.123456Z released a fencing_token=8 item=\"B 1\"");
    assert_eq!((claim.kind, claim.subject.as_str()), (LeaseKind::Claim, "B 1"));
    let later = line("2026-11-22T10:11:12.123456Z released a new_key=\"x y\" other=1 agent=\"b\"");
    assert_eq!(later.agent.as_deref(), Some("b"));
}

#[test]
fn a_line_that_breaks_the_grammar_is_passed_over_and_counted() {
    for bad in [
        "",
        " ",
        "2026-11-22T10:11:12.123456Z",
        "2026-11-22T10:11:12.123456Z released",
        "2026-11-22T10:11:12.123456Z stolen a fencing_token=8",
        "2026-11-22T10:11:12.123456Z released ../a fencing_token=8",
        "2026-11-22T10:11:12.123456Z released a fencing_token=0",
        "2026-11-22T10:11:12.123456Z released a fencing_token=9007199254740992",
        "2026-11-22T10:11:12.123456Z released a fencing_token=\"8\"",
        "2026-11-22T10:11:12.123456Z released a agent=\"b",
        "2026-11-22T10:11:12.123456Z released a agent=\"B!\"",
        "2026-11-22T10:11:12.123456Z released a agent=\"b\"x",
        "2026-11-22T10:11:12.123456Z released a agent=\"b\" ",
        "2026-11-22T10:11:12.123456Z released a reason=\"\\ud800\"",
        "2026-11-22T10:11:12.123456Z released a Key=1",
        "2026-11-22T10:11:12.123456Z released a loose",
        "2026-11-22T10:11:12.123456Z acquired a agent=\"b\"",
        "2026-11-22T10:11:12.123456Z acquired a fencing_token=8",
        "2026-13-22T10:11:12.123456Z released a fencing_token=8",
    ] {
        let lines = read_lines(format!("{bad}\n").as_bytes(), "n");
        assert_eq!((lines.entries.len(), lines.unread), (0, 1), "{bad:?}");
        assert_eq!(lines.len, bad.len() + 1);
    }
    let long =
        format!("2026-11-22T10:11:12.123456Z released a reason={}\n", quote(&"x".repeat(17_000)));
    assert_eq!(read_lines(long.as_bytes(), "n").unread, 1);
}

#[test]
fn behind_a_torn_line_the_next_one_is_read() {
    let whole = "2026-11-22T10:11:12.123456Z released a fencing_token=8 agent=\"b\"\n";
    for cut in 0..whole.len() {
        let text = [&whole[..cut], whole, whole].concat();
        let lines = read_lines(text.as_bytes(), "n");
        let read: Vec<&str> = lines.entries.iter().map(|entry| entry.lease.as_str()).collect();
        assert_eq!((read, lines.unread), (vec!["a", "a"], usize::from(cut > 0)), "{text}");
        // What is being written is read later.
        let lines = read_lines([whole, &whole[..cut]].concat().as_bytes(), "n");
        assert_eq!((lines.entries.len(), lines.unread, lines.len), (1, 0, whole.len()));
    }
}

#[test]
fn grants_last_from_the_entry_of_their_beginning_to_that_of_their_end() {
    let entries = log(r#"
        01 acquired a t=1 a="otto"
        02 acquired b t=2 a="vera"
        03 released a t=1 a="otto"
        04 taken_over b t=4 a="otto" fa="vera" ft=2 cause="holder_dead"
        05 handed_over b t=5 a="lior" fa="otto" ft=4
        06 broken b t=5 a="lior" by="max" reason="stuck"
        07 acquired b t=7 a="vera"
        08 removed b t=7 a="vera" by="max" cause="expired"
        09 acquired b t=9 a="vera"
    "#);
    let wanted = [
        "a 1 otto 1..3 released",
        "b 2 vera 2..4 taken_over to otto holder_dead",
        "b 4 otto 4..5 handed_over to lior",
        "b 5 lior 5..6 broken by max",
        "b 7 vera 7..8 removed by max expired",
        "b 9 vera 9.. lasts",
    ];
    assert_eq!(told(&entries), wanted);
    let mut spans = spans(&entries);
    end_gone(&mut spans, |span| span.grant.lease != "b");
    let last = spans.last().unwrap();
    assert_eq!((last.ended, last.until_us), (Some(Ended::Unrecorded), None));
}

#[test]
fn a_log_that_begins_in_the_middle_says_what_it_knows() {
    let entries = log(r#"
        03 released a t=1 a="otto" item="B-1"
        04 taken_over b t=4 a="otto" fa="vera" ft=2 cause="expired"
        05 broken c by="max"
    "#);
    let wanted = [
        "a 1 otto ..3 released",
        "b 2 vera ..4 taken_over to otto expired",
        "b 4 otto 4.. lasts",
        "c  ? ..5 broken by max",
    ];
    assert_eq!(told(&entries), wanted);
    assert_eq!(spans(&entries)[0].grant.subject, "B-1");
}

#[test]
fn an_end_without_an_entry_is_closed_by_the_next_entry_of_the_lease() {
    let entries = log(r#"
        01 acquired a t=1 a="otto"
        02 acquired a t=2 a="vera"
        03 taken_over a t=9 a="lior" fa="sh" ft=5 cause="expired"
        04 released a t=12 a="max"
        05 acquired s t=20 a="otto" joint="slots"
        06 acquired s t=21 a="vera" joint="slots"
        07 acquired s t=22 a="lior"
        08 broken s by="max"
    "#);
    let wanted = [
        "a 1 otto 1..2 unrecorded",
        "a 2 vera 2..3 unrecorded",
        "a 5 sh ..3 taken_over to lior expired",
        "a 9 lior 3..4 unrecorded",
        "a 12 max ..4 released",
        "s 20 otto 5..7 unrecorded",
        "s 21 vera 6..7 unrecorded",
        "s 22 lior 7..8 broken by max",
    ];
    assert_eq!(told(&entries), wanted);
}

#[test]
fn grants_of_a_joint_lease_last_side_by_side() {
    let entries = log(r#"
        01 acquired s t=20 a="otto" joint="slots"
        02 acquired s t=21 a="vera" joint="slots"
        03 removed s t=20 a="otto" by="lior" cause="holder_dead" joint="slots"
        04 acquired s t=22 a="lior" joint="slots"
        05 handed_over s t=23 a="max" fa="vera" ft=21 joint="slots"
    "#);
    let wanted = [
        "s 20 otto 1..3 removed by lior holder_dead",
        "s 21 vera 2..5 handed_over to max",
        "s 22 lior 4.. lasts",
        "s 23 max 5.. lasts",
    ];
    assert_eq!(told(&entries), wanted);
    assert!(spans(&entries).iter().all(|span| span.grant.kind == LeaseKind::Slot));
}

#[test]
fn a_filter_takes_what_has_all_that_it_asks_for() {
    let entries = log(r#"
        01 acquired a t=1 a="otto"
        03 released a t=1 a="otto"
        04 acquired c t=2 a="vera" item="B-1"
        06 taken_over c t=4 a="otto" fa="vera" ft=2 cause="expired" item="B-1"
        07 broken c t=4 a="otto" by="max" item="B-1"
        08 acquired d t=9 a="lior"
    "#);
    let second = |second: i64| Some(entries[0].at_us + (second - 1) * 1_000_000);
    let filter = |since, lease: &str, agent: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Filter { since_us: since, lease: some(lease), agent: some(agent) }
    };
    let tokens = |filter: &Filter| {
        let spans = spans(&entries);
        let taken = spans.iter().filter(|span| filter.takes_span(span));
        taken.filter_map(|span| span.grant.fencing_token).collect::<Vec<_>>()
    };
    let count = |filter: &Filter| entries.iter().filter(|entry| filter.takes(entry)).count();
    for (filter, wanted, entries) in [
        (filter(None, "", ""), vec![1, 2, 4, 9], 6),
        (filter(second(3), "", ""), vec![1, 2, 4, 9], 5),
        (filter(second(7), "", ""), vec![4, 9], 2),
        (filter(second(60), "", ""), vec![9], 0),
        (filter(None, "B-1", ""), vec![2, 4], 3),
        (filter(None, "c", ""), vec![2, 4], 3),
        (filter(None, "", "vera"), vec![2], 2),
        (filter(None, "", "max"), vec![4], 1),
        (filter(second(7), "c", "otto"), vec![4], 1),
        (filter(None, "b", ""), vec![], 0),
    ] {
        assert_eq!((tokens(&filter), count(&filter)), (wanted, entries), "{filter:?}");
    }
}

#[test]
fn what_is_known_is_in_the_json() {
    let entries = log(r#"04 taken_over b t=4 a="otto" fa="vera" ft=2 cause="expired""#);
    let mut object = crate::json::Object::new();
    json::entry(&mut object, &entries[0]);
    let at = "\"2026-11-29T18:00:04.000000Z\"";
    let grant = "\"node\":\"n\",\"lease\":\"b\",\"kind\":\"lease\",\"subject\":\"b\"";
    let before = "\"from_agent\":\"vera\",\"from_fencing_token\":2,\"cause\":\"expired\"";
    let us = entries[0].at_us;
    let wanted = format!(
        "{{\"at\":{at},\"at_us\":{us},\"event\":\"taken_over\",{grant},\"fencing_token\":4,\
         \"agent\":\"otto\",{before}}}"
    );
    assert_eq!(object.done(), wanted);
    let mut object = crate::json::Object::new();
    json::span(&mut object, &spans(&entries)[0]);
    let wanted = format!(
        "{{{grant},\"fencing_token\":2,\"agent\":\"vera\",\"until\":{at},\"until_us\":{us},\
         \"ended\":\"taken_over\",\"to_agent\":\"otto\",\"ended_cause\":\"expired\"}}"
    );
    assert_eq!(object.done(), wanted);
}

fn some<T: std::fmt::Debug + Clone + 'static>(
    of: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    proptest::option::of(of).boxed()
}

prop_compose! {
    fn any_entry()(
        at_us in 0i64..253_402_207_200_000_000,
        event in proptest::sample::select(&Event::ALL[..]),
        kind in proptest::sample::select(vec![
            LeaseKind::Lease, LeaseKind::Claim, LeaseKind::Paths, LeaseKind::Slot,
        ]),
        lease in "[a-z0-9][a-z0-9._-]{0,30}",
        subject in any::<String>(),
        tokens in (1u64..1 << 53, some(1u64..1 << 53)),
        agents in ("[a-z0-9]{1,9}", some("[a-z0-9]{1,9}"), some("[a-z0-9]{1,9}")),
        texts in proptest::collection::vec(some(any::<String>()), 6),
        ttl_ms in some(any::<u64>()),
    ) -> Entry {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().flatten();
        Entry {
            kind,
            subject: match kind {
                LeaseKind::Lease | LeaseKind::Slot => lease.clone(),
                LeaseKind::Claim | LeaseKind::Paths => subject,
            },
            fencing_token: Some(tokens.0),
            from_fencing_token: tokens.1,
            agent: Some(agents.0),
            from_agent: agents.1,
            by: agents.2,
            cause: text(),
            reason: text(),
            branch: text(),
            worktree: text(),
            session: text(),
            purpose: text(),
            ttl_ms,
            ..Entry::new("n", event, &lease, at_us)
        }
    }
}

proptest! {
    #[test]
    fn an_entry_that_is_written_reads_back(
        entries in proptest::collection::vec(any_entry(), 0..5),
    ) {
        let text: String = entries.iter().map(render).collect();
        prop_assert_eq!(text.lines().count(), entries.len(), "{:?}", text);
        let lines = read_lines(text.as_bytes(), "n");
        prop_assert_eq!(lines.entries, entries);
        prop_assert_eq!((lines.unread, lines.len), (0, text.len()));
    }

    #[test]
    fn no_bytes_are_too_odd_to_read(bytes in any::<Vec<u8>>()) {
        let lines = read_lines(&bytes, "n");
        let ended = bytes.iter().filter(|byte| **byte == b'\n').count();
        prop_assert!(lines.entries.len() <= ended && lines.len <= bytes.len());
    }

    #[test]
    fn a_line_with_a_byte_changed_is_another_entry_or_none(
        entry in any_entry(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut text = render(&entry).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let lines = read_lines(&text, "n");
        prop_assert!(lines.entries.len() <= 2);
        spans(&lines.entries);
    }

    #[test]
    fn each_grant_has_one_span_whatever_the_log_says(
        entries in proptest::collection::vec((any_entry(), 1u64..5), 0..20),
    ) {
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(entry, token)| Entry { lease: "a".into(), fencing_token: Some(token), ..entry })
            .collect();
        let found = spans(&entries);
        let begun = entries.iter().filter(|entry| entry.event.begins()).count();
        prop_assert_eq!(found.iter().filter(|span| span.from_us.is_some()).count(), begun);
        prop_assert!(found.iter().all(|span| span.from_us.is_some() || span.ended.is_some()));
    }
}

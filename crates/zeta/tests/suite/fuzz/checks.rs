//! What must hold for any bytes that another user could have written: no panic, and what is
//! believed reads back as it was. The coverage-guided targets in `fuzz/` run these very functions.

use zeta_core::bus::broken::judge_file;
use zeta_core::bus::claim::ClaimMessage;
use zeta_core::bus::item::Item;
use zeta_core::bus::{BadEnvelope, Envelope, FileSeen, Header, is_id, text_of, topic};
use zeta_core::creds::bundle::Bundle;
use zeta_core::creds::frame::{Format, Frame, PAYLOAD_MAX, v2};
use zeta_core::creds::manifest::check_path;
use zeta_core::creds::{bake, passphrase, wifi};
use zeta_core::evidence::{FileTimes, ProcessState};
use zeta_core::history::{read_lines, render, spans};
use zeta_core::layout::{self, Kind, PERSONA_MAX, RECORD_MAX};
use zeta_core::lease::{
    AcquireRequest, Observed, Policy, Record, Said, decide_acquire, decide_break, decide_check,
    decide_release, decide_renew, judge,
};
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::{self, Beat, judge_foreign, judge_session_over};
use zeta_core::record::{Fields, Text, parse, printable, quote, unquote};
use zeta_core::time::{
    Host, Now, Reading, format_duration, format_utc, parse_duration, parse_ttl, parse_utc,
};

/// A record of any kind, and every decision that is made about one.
pub fn record(bytes: &[u8]) {
    for max in [RECORD_MAX, PERSONA_MAX] {
        match parse(bytes, max) {
            Ok(Text::Own(fields)) => own(&fields, bytes),
            Ok(Text::Foreign(fields)) => {
                let ttl = fields.text("ttl").and_then(|ttl| parse_duration("ttl", &ttl).ok());
                at_moments(bytes, |now, times| {
                    judge_foreign(times, ttl, now);
                    let said = Box::new(Said::from_fields(&fields));
                    assert!(said.who().is_none_or(|who| !who.is_empty()));
                    decided(&Observed::Foreign { ttl_ms: ttl, said, times }, now);
                });
            }
            Err(damage) => at_moments(bytes, |now, times| {
                assert!(!damage.to_string().is_empty());
                decided(&Observed::Damaged(damage.clone(), times), now);
            }),
        }
    }
}

/// A log of a node's history, and the spans that its entries say together.
pub fn history(bytes: &[u8]) {
    let lines = read_lines(bytes, "n");
    assert!(lines.len <= bytes.len());
    for entry in &lines.entries {
        let again = read_lines(render(entry).as_bytes(), "n");
        let [again] = again.entries.as_slice() else { panic!("{entry:?} is {again:?}") };
        assert_eq!((again.event, &again.lease), (entry.event, &entry.lease), "{entry:?}");
        assert_eq!(again.fencing_token, entry.fencing_token, "{entry:?}");
    }
    let spans = spans(&lines.entries);
    assert!(spans.len() <= 2 * lines.entries.len());
}

fn own(fields: &Fields<'_>, bytes: &[u8]) {
    let text = fields.render();
    let again = parse(text.as_bytes(), PERSONA_MAX + 64);
    let Ok(Text::Own(again)) = again else {
        panic!("not a record of the standard any more: {text:?}")
    };
    assert!(fields.iter().eq(again.iter()), "{text:?}");
    for (key, value) in fields.iter() {
        let _ = (fields.text(key), fields.number(key), unquote(value));
    }
    if let Some(lease) = fields.text("lease").and_then(|name| RecordName::new("lease", &name).ok())
        && let Ok(record) = Record::from_fields(fields, &lease)
    {
        let read = Record::from_fields(&record.to_fields(), &lease);
        assert_eq!(read.as_ref(), Ok(&record), "a rewrite says something else");
        at_moments(bytes, |now, times| {
            for life in [ProcessState::Alive, ProcessState::Dead, ProcessState::Unknown] {
                decided(&Observed::Ours(Box::new(record.clone()), times, life), now);
            }
        });
    }
    if let Ok(beat) = Beat::from_fields(fields) {
        at_moments(bytes, |now, times| {
            for life in [ProcessState::Alive, ProcessState::Dead, ProcessState::Unknown] {
                presence::judge(&beat, times, life, now);
                judge_session_over(fields, life, now);
            }
        });
    }
}

/// Makes every decision, for a caller that is not the holder and for the holder.
fn decided(observed: &Observed, now: &Now) {
    judge(observed, now);
    let Ok(lease) = RecordName::new("lease", "job") else { return };
    let Ok(agent) = Label::new("agent", "otto-cli") else { return };
    let ask = AcquireRequest {
        lease,
        lease_id: "id".to_owned(),
        agent,
        session: None,
        processes: Default::default(),
        pr: None,
        uid: 0,
        ttl_ms: 1000,
        grace_ms: None,
        policy: Policy::Reclaim,
        purpose: None,
        joint: None,
        in_cluster: false,
    };
    decide_acquire(observed, &ask, u64::MAX, false, now);
    decide_acquire(observed, &ask, 0, true, now);
    decide_break(observed, None);
    if let Observed::Ours(record, ..) = observed {
        let token = record.fencing_token;
        decide_renew(observed, token, None, now);
        decide_check(observed, token, now);
        decide_release(observed, token, 0, false);
        decide_break(observed, Some(token));
    }
}

/// Clocks at their ends and between, on this boot and on another.
fn at_moments(bytes: &[u8], mut look: impl FnMut(&Now, FileTimes)) {
    let mut number = [0u8; 8];
    bytes.iter().take(8).zip(&mut number).for_each(|(byte, place)| *place = *byte);
    let any = i64::from_le_bytes(number);
    let id = |text: &str| Some(text.to_owned());
    for (boot_id, machine_id, time_ns) in [("b", id("m"), Some(1)), ("c", None, None)] {
        let host = Host { boot_id: boot_id.to_owned(), machine_id, pid_ns: Some(1), time_ns };
        for wall_us in [i64::MIN, any, i64::MAX] {
            for boot_ns in [0, any.unsigned_abs(), u64::MAX] {
                let reading = Reading { boot_ns, awake_ns: boot_ns, wall_us };
                let times = FileTimes { mtime_us: any, ctime_us: wall_us.wrapping_neg() };
                look(&Now { reading, host: &host }, times);
            }
        }
    }
}

/// Everything that is given as a word: names, durations, times, quoted text.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(ms) = parse_duration("ttl", text) {
        let shown = format_duration(ms);
        assert!(!shown.is_empty());
    }
    let _ = parse_ttl(text);
    if let Ok(us) = parse_utc(text) {
        assert_eq!(parse_utc(&format_utc(us)), Ok(us), "{text:?}");
    }
    if let Ok(name) = RecordName::new("lease", text) {
        let file = layout::lease_file(&name);
        assert_eq!(layout::kind_of(&file), Kind::Lease(text));
        assert!(!file.contains('/') && !file.starts_with('.'), "{file:?}");
    }
    if let Ok(label) = Label::new("node", text) {
        assert!(label.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    }
    layout::kind_of(text);
    assert_eq!(unquote(&quote(text)).as_deref(), Some(text));
    assert!(!printable(text).chars().any(zeta_core::record::is_unprintable));
    let _ = unquote(text);
}

/// A message of the bus: what a list believes and what a reader believes are the same, and what is
/// written again says what was read.
pub fn envelope(bytes: &[u8]) {
    // The file is named after the id in it, or it is no message for that reason.
    let text = String::from_utf8_lossy(bytes);
    let id = text.split("\"id\":").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap_or("id");
    is_id(id);
    let text = text_of(bytes);
    let header = Header::of(&text, id);
    let read = Envelope::parse(bytes, id);
    let seen = FileSeen { mtime_us: 0, now_us: 0, is_imported: false };
    assert_eq!(judge_file(bytes, id, seen).0, read);
    let envelope = match (&header, read) {
        (_, Err(BadEnvelope::TooLong)) => return,
        (Err(one), Err(other)) => return assert_eq!(*one, other),
        // A payload that only the reader takes apart: numbers that nothing can hold.
        (Ok(_), Err(error)) => return assert!(matches!(error, BadEnvelope::NotMessage(_))),
        (Err(error), Ok(_)) => panic!("only the reader believes it: {error}"),
        (Ok(_), Ok(envelope)) => envelope,
    };
    let Ok(header) = header else { return };
    assert_eq!(header.topic, envelope.topic);
    assert_eq!((&*header.from, &*header.to), (&*envelope.from, &*envelope.to));
    for mtime_us in [0, 1_800_000_000_000_000, i64::MIN, i64::MAX] {
        for now_us in [0, 1_800_000_000_000_000, i64::MIN, i64::MAX] {
            let seen = FileSeen { mtime_us, now_us, is_imported: false };
            assert_eq!(header.when().sent_us(seen), envelope.when().sent_us(seen));
            assert_eq!(header.when().fate(seen), envelope.when().fate(seen));
            let _ = ClaimMessage::of(&envelope, seen).map(|notice| Item::new(&notice.item));
        }
    }
    if let Some(topic) = topic::known(&envelope.topic) {
        let _ = topic.check(&envelope.payload);
    }
    let written = envelope.render();
    match Envelope::parse(written.as_bytes(), id) {
        Ok(again) => assert_eq!(again.render(), written),
        // Blanks make it longer.
        Err(error) => assert_eq!(error, BadEnvelope::TooLong),
    }
}

/// A blob of credentials as it lies on a stick, and what may be in one.
pub fn creds(bytes: &[u8]) {
    match Frame::parse(bytes) {
        Ok(frame) => {
            assert_eq!(frame.render(), bytes, "it can be written in two ways");
            if let Frame::V2(v2::Frame { header, payload, .. }) = &frame {
                assert!((v2::LOG2_N_MIN..=v2::LOG2_N_MAX).contains(&header.log2_n));
                assert!(payload.len() <= PAYLOAD_MAX && payload.len().is_multiple_of(v2::BLOCK));
                assert_eq!(frame.format(), Format::Zcv2);
            }
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    if let Some(content) = v2::unpad(bytes) {
        assert_eq!(v2::pad(content).as_deref().map(Vec::as_slice), Some(bytes));
    }
    if let Ok(bundle) = Bundle::parse(bytes) {
        assert_eq!(Bundle::parse(&bundle.render()).as_ref(), Ok(&bundle));
    }
    let _ = passphrase::of_file(bytes);
    if let Ok(keyfile) = wifi::keyfile(bytes)
        && keyfile.starts_with("[connection]\nid=zeta-restored-wifi\n")
        && !bytes.starts_with(b"[")
    {
        let sections = keyfile.lines().filter(|line| line.starts_with('[')).count();
        assert!((4..=5).contains(&sections) && keyfile.len() <= 1024, "{}", keyfile.as_str());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = bake::parse(text);
    if check_path(text).is_ok() {
        assert!(!text.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")), "{text:?}");
    }
}

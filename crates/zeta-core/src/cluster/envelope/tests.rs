//! The envelope: what is signed is all that counts, and each refusal has its reason.

use proptest::prelude::*;
use sha2::{Digest, Sha512};

use super::*;

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

fn cluster() -> Id {
    CLUSTER.parse().unwrap()
}

fn subject() -> Subject {
    Subject::parse("zeta1.state.node-a.lock.deploy").unwrap()
}

/// A stand-in of a signature that depends on each byte.
fn sign(bytes: &[u8]) -> [u8; SIGNATURE_LEN] {
    Sha512::digest(bytes).into()
}

fn check(_: &Label, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Checked {
    if sign(bytes) == *signature { Checked::Good } else { Checked::Wrong }
}

fn sent(subject: &Subject, envelope: &Envelope, body: &[u8]) -> Vec<(String, String)> {
    let mut headers: Vec<_> = envelope.headers(subject).into_iter().collect();
    let signature = sign(&envelope.signed_bytes(&cluster(), subject, body));
    headers.push((SIGNATURE.to_owned(), signature_text(&signature)));
    headers
}

fn receive(
    subject: &Subject,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<(Envelope, Trust), Refusal> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    judge_received(&cluster(), subject, headers, body, check)
}

fn with<'h>(good: &[(&'h str, &'h str)], more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    [good, more].concat()
}

fn envelope() -> Envelope {
    Envelope::new("node-a".parse().unwrap(), 3, 17, None)
}

#[test]
fn the_signed_bytes_are_these() {
    let bytes = envelope().signed_bytes(&cluster(), &subject(), b"schema: 1\nend: true\n");
    let text = "zeta value 1\ncluster: 0123456789abcdef0123456789abcdef\n\
                subject: zeta1.state.node-a.lock.deploy\nZeta-Epoch: 3\nZeta-N: 17\nZeta-V: 0\n\n\
                schema: 1\nend: true\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

#[test]
fn a_signature_is_of_one_cluster_subject_counter_epoch_and_body() {
    let (subject, body) = (subject(), b"body".as_slice());
    let headers = sent(&subject, &envelope(), body);
    assert_eq!(receive(&subject, &headers, body), Ok((envelope(), Trust::Verified)));
    let forged = |subject: &str, headers: &[(String, String)], body: &[u8]| {
        let (_, trust) = receive(&Subject::parse(subject).unwrap(), headers, body).unwrap();
        assert_eq!(trust, Trust::Forged, "{subject} {headers:?}");
    };
    forged("zeta1.state.node-a.lock.deploy", &headers, b"Body");
    forged("zeta1.state.node-a.marker.deploy", &headers, body);
    forged("zeta1.state.node-b.lock.deploy", &headers, body);
    for (name, value) in [(EPOCH, "4"), (COUNTER, "18"), (VERSION, "1"), ("Zeta-New", "x")] {
        let mut changed: BTreeMap<String, String> = headers.iter().cloned().collect();
        changed.insert(name.to_owned(), value.to_owned());
        let changed: Vec<_> = changed.into_iter().collect();
        forged("zeta1.state.node-a.lock.deploy", &changed, body);
    }
    let other: Id = "ffffffffffffffffffffffffffffffff".parse().unwrap();
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let received = judge_received(&other, &subject, pairs, body, check).unwrap();
    assert_eq!(received.1, Trust::Forged, "a value of another cluster");
}

#[test]
fn a_record_that_is_gone_is_signed_too() {
    let gone = Envelope::new("node-a".parse().unwrap(), 3, 18, Some(Gone::Released));
    let mut headers = sent(&subject(), &gone, b"");
    assert_eq!(receive(&subject(), &headers, b""), Ok((gone, Trust::Verified)));
    for (name, value) in &mut headers {
        if name == GONE {
            *value = Gone::Removed.word().to_owned();
        }
    }
    assert_eq!(receive(&subject(), &headers, b"").unwrap().1, Trust::Forged);
}

#[test]
fn without_a_good_signature_a_value_is_shown_and_not_believed() {
    let unsigned: Vec<_> = envelope().headers(&subject()).into_iter().collect();
    let (read, trust) = receive(&subject(), &unsigned, b"body").unwrap();
    assert_eq!((read, trust), (envelope(), Trust::Unsigned));
    let headers = sent(&subject(), &envelope(), b"body");
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let no_key = |_: &Label, _: &[u8], _: &[u8; 64]| Checked::NoKey;
    let received = judge_received(&cluster(), &subject(), pairs, b"body", no_key);
    assert_eq!(received.unwrap().1, Trust::UnknownKey);
    let all = [Trust::Verified, Trust::Unsigned, Trust::UnknownKey, Trust::Forged];
    assert_eq!(all.map(Trust::is_verified), [true, false, false, false]);
    assert_eq!(all.map(Trust::word), ["verified", "unsigned", "unknown_key", "forged"]);
}

#[test]
fn a_hostile_value_is_refused_with_a_reason() {
    use Refusal::*;
    let long = "x".repeat(HEADER_MAX + 1);
    let long = [("Zeta-X", long.as_str())];
    let good: Vec<(&str, &str)> = vec![(VERSION, "0"), (EPOCH, "3"), (COUNTER, "17")];
    let many: Vec<String> = (0..=HEADERS_MAX).map(|at| format!("Zeta-X{at}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
    let too_large = vec![b'x'; RECORD_MAX + 1];
    let body = b"body".as_slice();
    for (headers, body, refusal) in [
        (good.clone(), too_large.as_slice(), TooLong(RECORD_MAX)),
        (many, body, TooManyHeaders),
        (with(&good, &[("Zeta-X", "a\nZeta-N: 99")]), body, BadHeader),
        (with(&good, &[("Zeta-X y", "1")]), body, BadHeader),
        (with(&good, &[("Zeta-", "1")]), body, BadHeader),
        (with(&good, &long), body, BadHeader),
        (with(&good, &[(COUNTER, "18")]), body, BadHeader),
        (vec![(VERSION, "0"), (EPOCH, "3")], body, BadValue(COUNTER)),
        (vec![(VERSION, "0"), (EPOCH, "03"), (COUNTER, "17")], body, BadValue(EPOCH)),
        (vec![(VERSION, "0"), (EPOCH, "3"), (COUNTER, "+17")], body, BadValue(COUNTER)),
        (vec![(EPOCH, "3"), (COUNTER, "17")], body, BadValue(VERSION)),
        (with(&good, &[(GONE, "lost")]), b"", BadValue(GONE)),
        (with(&good, &[(GONE, "removed")]), body, BadBody),
        (good.clone(), b"", BadBody),
        (with(&good, &[(NODE, "node-b")]), body, BadValue(NODE)),
        (with(&good, &[(SIGNATURE, "AAAA")]), body, BadValue(SIGNATURE)),
        (with(&good, &[(SIGNATURE, "?")]), body, BadValue(SIGNATURE)),
    ] {
        let found = judge_received(&cluster(), &subject(), headers.clone(), body, check);
        assert_eq!(found, Err(refusal), "{headers:?}");
    }
    let meta = judge_received(&cluster(), &Subject::Meta, good, body, check);
    assert_eq!(meta, Err(BadValue(NODE)), "nothing else says who wrote it");
}

#[test]
fn what_a_later_minor_version_adds_is_kept() {
    let mut later = envelope();
    later.extra.insert(VERSION.to_owned(), "7".to_owned());
    later.extra.insert("Zeta-Later".to_owned(), "x=1".to_owned());
    let mut headers = sent(&subject(), &later, b"body");
    headers.push(("Nats-Sequence".to_owned(), "not ours, and\nnot looked at".to_owned()));
    assert_eq!(receive(&subject(), &headers, b"body"), Ok((later, Trust::Verified)));
}

proptest! {
    #[test]
    fn envelopes_read_back(
        epoch: u64, counter: u64, meta: bool,
        extra in proptest::collection::btree_map("Zeta-X[A-Za-z0-9-]{0,9}", "[!-~]{1,20}", 0..8),
        body in proptest::collection::vec(any::<u8>(), 1..300),
    ) {
        let subject = if meta { Subject::Meta } else { subject() };
        let mut envelope = Envelope { epoch, counter, ..envelope() };
        envelope.extra.extend(extra);
        let headers = sent(&subject, &envelope, &body);
        prop_assert_eq!(receive(&subject, &headers, &body), Ok((envelope, Trust::Verified)));
    }

    #[test]
    fn no_bytes_of_a_peer_are_a_reason_to_panic(
        headers in proptest::collection::vec(("(Zeta-|Nats-)?[ -~]{0,12}", "\\PC{0,20}"), 0..40),
        body in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let _ = receive(&subject(), &headers, &body);
    }
}

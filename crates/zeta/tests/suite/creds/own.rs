//! Our own vectors, frozen: each bad one has a single defect and a declared outcome. And what no
//! list can hold: every flipped bit, every cut, every exchange of parts.
//!
//! `make.py` made the vectors, with the decoder's code and none of zeta's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeta_core::creds::frame::{BadFrame, Format, Frame, PAYLOAD_MAX, v2};
use zeta_creds::cipher::kdf::{Key, NoMemory, Work, stretch};
use zeta_creds::cipher::{
    KeyMaterial, Nonces, OpenError, Opened, SealError, open, open_with, seal, seal_with,
};

use super::decoder::{Decoder, line, word};
use super::vectors::{Stretcher, folder, load, unhex};

/// A vector of zeta's format.
pub struct Vector {
    /// The name of the vector, which begins with the outcome.
    pub name: String,
    /// The blob.
    pub blob: Vec<u8>,
    /// The binding that it is opened with.
    pub binding: String,
    /// The passphrase that it is opened with.
    pub passphrase: String,
    raw: Value,
}

/// Reads all vectors of zeta's format.
pub fn own_vectors() -> Vec<Vector> {
    let text = |raw: &Value, key: &str| raw[key].as_str().unwrap().to_owned();
    let vectors = load(&folder("own/vectors.json"));
    let vector = |raw: &Value| Vector {
        name: text(raw, "name"),
        blob: STANDARD.decode(text(raw, "blob")).unwrap(),
        binding: text(raw, "binding"),
        passphrase: text(raw, "passphrase"),
        raw: raw.clone(),
    };
    vectors.as_array().unwrap().iter().map(vector).collect()
}

#[test]
fn each_vector_of_ours_has_its_declared_outcome_and_the_decoder_agrees() {
    let (decoder, mut lines) = (Decoder::start("own/vectors.json"), Vec::new());
    let mut stretcher = Stretcher::default();
    let vectors = own_vectors();
    assert!(vectors.len() >= 120, "{}", vectors.len());
    for vector in vectors {
        let lock = KeyMaterial { binding: &vector.binding, passphrase: &vector.passphrase };
        let before = stretcher.calls;
        let opened = open_with(&mut |work| stretcher.stretch(work), &vector.blob, &lock);
        let outcome = vector.raw["outcome"].as_str().unwrap();
        assert_eq!(word(&opened), outcome, "{}", vector.name);
        lines.push(line("own", &vector.name, &opened));
        let without = matches!(outcome, "frame" | "bounds");
        assert_eq!(stretcher.calls - before, usize::from(!without), "{}", vector.name);
        let Ok(opened) = opened else { continue };
        let content = STANDARD.decode(vector.raw["content"].as_str().unwrap()).unwrap();
        assert_eq!(*opened.content, content, "{}", vector.name);
        assert_eq!(opened.generation, vector.raw["generation"].as_u64(), "{}", vector.name);

        let bytes = |key: &str| unhex(vector.raw[key].as_str().unwrap());
        let salt = bytes("salt").try_into().unwrap();
        let fresh = Nonces { salt, nonce: bytes("nonce").try_into().unwrap() };
        let cost = u8::try_from(vector.raw["log2_n"].as_u64().unwrap()).unwrap();
        let again = seal_with(
            &mut |work| stretcher.stretch(work),
            (Format::Zcv2, cost),
            &content,
            &lock,
            opened.generation.unwrap(),
            &fresh,
        );
        assert_eq!(again.unwrap(), vector.blob, "{}: sealed otherwise", vector.name);
    }
    decoder.agrees(&lines);
}

const LOCK: KeyMaterial =
    KeyMaterial { binding: "4F2A-91C7", passphrase: "correct horse battery staple" };
const CONTENT: &[u8] = br#"{"schemaVersion":1,"globalCreds":{},"personaCreds":{}}"#;

/// The real way of a blob, but for the cost: a hundredth of it, so that thousands can be opened.
struct Cheap(Stretcher);

impl Cheap {
    fn new() -> Cheap {
        Cheap(Stretcher::default())
    }

    fn stretch(&mut self, work: &Work) -> Result<Key, NoMemory> {
        self.0.stretch(&Work { log2_n: work.log2_n - 7, ..*work })
    }

    fn open(&mut self, blob: &[u8]) -> Result<Opened, OpenError> {
        open_with(&mut |work| self.stretch(work), blob, &LOCK)
    }

    fn seal(&mut self, format: Format, number: u8) -> Vec<u8> {
        let fresh = Nonces { salt: [number; 32], nonce: [number ^ 0x55; 12] };
        let generation = u64::from(number);
        let stretch = &mut |work: &Work| self.stretch(work);
        seal_with(stretch, (format, v2::LOG2_N_MIN), CONTENT, &LOCK, generation, &fresh).unwrap()
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut cheap = Cheap::new();
    for (format, expect) in [(Format::Zcv1, 132 * 8 - 32), (Format::Zcv2, (98 + 1024 + 16) * 8)] {
        let blob = cheap.seal(format, 1);
        assert!(cheap.open(&blob).is_ok());
        let mut refused = 0;
        for at in 0..blob.len() {
            for bit in 0..8 {
                let mut flipped = blob.clone();
                flipped[at] ^= 1 << bit;
                let opened = cheap.open(&flipped);
                if format == Format::Zcv1 && (4..8).contains(&at) {
                    // The original does not look at its reserved bytes, and so neither do we.
                    assert_eq!(opened.map(|opened| opened.content.to_vec()), Ok(CONTENT.to_vec()));
                    continue;
                }
                assert!(opened.is_err(), "{format:?}: bit {bit} of byte {at}");
                let payload = format == Format::Zcv2 && at >= 98;
                assert_eq!(opened == Err(OpenError::Damaged), payload, "byte {at}: {opened:?}");
                refused += 1;
            }
        }
        println!("{format:?}: {refused} of {expect} flipped bits refused");
        assert_eq!(refused, expect, "{format:?}");
    }
}

#[test]
fn every_cut_is_noticed_before_the_passphrase_is_stretched() {
    let mut cheap = Cheap::new();
    for format in [Format::Zcv1, Format::Zcv2] {
        let blob = cheap.seal(format, 1);
        let before = cheap.0.calls;
        for len in 0..blob.len() {
            let opened = cheap.open(&blob[..len]);
            assert!(matches!(opened, Err(OpenError::Frame(_))), "cut to {len}: {opened:?}");
        }
        println!("{format:?}: {0} of {0} cuts refused", blob.len());
        assert_eq!(cheap.0.calls, before);
    }
}

#[test]
fn parts_of_two_good_blobs_do_not_make_a_third() {
    let mut cheap = Cheap::new();
    type Part = (&'static str, std::ops::Range<usize>);
    let parts: [(Format, &[Part]); 2] = [
        (
            Format::Zcv1,
            &[("salt", 10..42), ("nonce", 44..56), ("tag", 58..74), ("payload", 78..132)],
        ),
        (
            Format::Zcv2,
            &[
                ("salt", 10..42),
                ("generation", 42..50),
                ("nonce", 50..62),
                ("MAC", 66..98),
                ("payload", 98..1122),
                ("tag", 1122..1138),
            ],
        ),
    ];
    for (format, parts) in parts {
        let (one, other) = (cheap.seal(format, 1), cheap.seal(format, 2));
        // Every choice of parts from one and from the other, but for all and for none.
        for choice in 1..(1_u32 << parts.len()) - 1 {
            let mut mixed = one.clone();
            let chosen = parts.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1);
            let mut names = Vec::new();
            for (_, (name, place)) in chosen {
                mixed[place.clone()].copy_from_slice(&other[place.clone()]);
                names.push(*name);
            }
            assert!(cheap.open(&mixed).is_err(), "{format:?}: {names:?} of another blob");
        }
    }
}

#[test]
fn what_would_not_be_opened_is_not_sealed() {
    let mut cheap = Cheap::new();
    let fresh = Nonces::draw().unwrap();
    for (format, most) in [(Format::Zcv1, PAYLOAD_MAX), (Format::Zcv2, v2::CONTENT_MAX)] {
        let mut seal = |content: &[u8]| {
            let stretch = &mut |work: &Work| cheap.stretch(work);
            seal_with(stretch, (format, v2::LOG2_N_MIN), content, &LOCK, 0, &fresh)
        };
        let content = vec![b'x'; most + 1];
        assert_eq!(seal(&content), Err(SealError::TooLong));
        let blob = seal(&content[..most]).unwrap();
        assert_eq!(cheap.open(&blob).unwrap().content.len(), most);
    }
}

/// The function that stretches for real, and no cap of a test: it must never be asked.
#[test]
fn no_blob_can_ask_for_more_than_the_bounds() {
    let mut cheap = Cheap::new();
    let blob = cheap.seal(Format::Zcv2, 1);
    for log2_n in (0..v2::LOG2_N_MIN).chain(v2::LOG2_N_MAX + 1..=255) {
        let mut costly = blob.clone();
        costly[7] = log2_n;
        let mut calls = 0;
        let opened = open_with(
            &mut |work| {
                calls += 1;
                stretch(work)
            },
            &costly,
            &LOCK,
        );
        let why = BadFrame::Bounds { what: "log2 of N", found: log2_n.into() };
        assert_eq!((opened, calls), (Err(OpenError::TooCostly(why)), 0));
    }
}

/// Nothing here is cheaper than in use.
#[test]
fn a_blob_is_sealed_at_the_usual_cost_and_opens() {
    for (format, generation) in [(Format::Zcv1, None), (Format::Zcv2, Some(7))] {
        let blob = seal(format, CONTENT, &LOCK, 7, &Nonces::draw().unwrap()).unwrap();
        if let Frame::V2(frame) = Frame::parse(&blob).unwrap() {
            assert_eq!(frame.header.log2_n, 17);
        }
        let opened = open(&blob, &LOCK).unwrap();
        assert_eq!((&opened.content[..], opened.generation), (CONTENT, generation));
        let other = KeyMaterial { binding: "4F2A-91C8", ..LOCK };
        assert_eq!(open(&blob, &other), Err(OpenError::NoMatch(format)));
    }
}

#[test]
fn two_draws_differ() {
    let (one, other) = (Nonces::draw().unwrap(), Nonces::draw().unwrap());
    assert!(one.salt != other.salt && one.nonce != other.nonce);
}

#[test]
fn no_error_and_no_debug_shows_a_secret() {
    let mut cheap = Cheap::new();
    let blob = cheap.seal(Format::Zcv2, 1);
    let opened = cheap.open(&blob).unwrap();
    let wrong = KeyMaterial { passphrase: "FAKE-PASSPHRASE", ..LOCK };
    let error = open_with(&mut |work| cheap.stretch(work), &blob, &wrong).unwrap_err();
    let shown = format!("{opened:?} {wrong:?} {error} {error:?}");
    for secret in ["schemaVersion", "FAKE-PASSPHRASE", "correct horse", "4F2A"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

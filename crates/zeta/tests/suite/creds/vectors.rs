//! Blobs that the original made, and what became of each when it opened them: up to the bundle.
//! What it then writes to disk is another test's matter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeta_core::creds::bundle::Bundle;
use zeta_core::creds::frame::{Format, Frame, v1};
use zeta_core::creds::passphrase;
use zeta_creds::cipher::kdf::{Key, NoMemory, Work, stretch};
use zeta_creds::cipher::{KeyMaterial, OpenError, Opened, open_with};

use super::decoder::{line, outcomes};

/// A folder of these tests.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/creds").join(name)
}

/// A file of JSON.
pub fn load(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// Bytes as two hex digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// And back.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The real stretching, remembered: many blobs here share passphrase and salt.
#[derive(Default)]
pub struct Stretcher {
    known: BTreeMap<(Vec<u8>, [u8; 32], u8), Key>,
    /// How often it was asked.
    pub calls: usize,
}

impl Stretcher {
    /// Stretches, or remembers.
    pub fn stretch(&mut self, work: &Work) -> Result<Key, NoMemory> {
        self.calls += 1;
        let asked = (work.passphrase.to_vec(), *work.salt, work.log2_n);
        if let Some(key) = self.known.get(&asked) {
            return Ok(key.clone());
        }
        let key = stretch(work)?;
        self.known.insert(asked, key.clone());
        Ok(key)
    }
}

/// The original's exit status for what we say.
fn status(opened: Result<Opened, OpenError>) -> (u64, Option<Bundle>) {
    match opened {
        Err(OpenError::Frame(_)) => (4, None),
        Err(OpenError::NoMatch(Format::Zcv1) | OpenError::Damaged) => (5, None),
        Err(other) => panic!("no answer of the original's: {other:?}"),
        Ok(opened) => {
            assert_eq!((opened.format, opened.generation), (Format::Zcv1, None));
            match Bundle::parse(&opened.content) {
                Err(_) => (6, None),
                Ok(bundle) => (0, Some(bundle)),
            }
        }
    }
}

/// One thing that was done with a blob of the original.
pub struct Case {
    /// The name of the blob.
    pub vector: String,
    /// The name of the case.
    pub name: String,
    /// The blob.
    pub blob: Vec<u8>,
    /// The binding that it was opened with.
    pub binding: String,
    /// The passphrase; none if what was given is none.
    pub passphrase: Option<String>,
    /// How the blob was made and is framed, and what came of it.
    about: Value,
    raw: Value,
}

/// All of them, in the order of the index.
pub fn original_cases() -> Vec<Case> {
    let dir = folder("vectors");
    let mut cases = Vec::new();
    for listed in load(&dir.join("index.json")).as_array().unwrap() {
        let vector = listed["name"].as_str().unwrap().to_owned();
        let about = load(&dir.join(format!("{vector}.json")));
        let blob = std::fs::read(dir.join(format!("{vector}.bin"))).unwrap();
        assert_eq!(listed["blob_len"], blob.len(), "{vector}");
        for raw in about["cases"].as_array().unwrap() {
            cases.push(Case {
                vector: vector.clone(),
                name: raw["case"].as_str().unwrap().to_owned(),
                blob: blob.clone(),
                binding: raw["usb_uuid"].as_str().unwrap().to_owned(),
                passphrase: passphrase_of(raw),
                about: about.clone(),
                raw: raw.clone(),
            });
        }
    }
    cases
}

fn passphrase_of(case: &Value) -> Option<String> {
    let decode = |text: &str| STANDARD.decode(text).unwrap();
    let given = match case["passphrase_file_base64"].as_str() {
        Some(file) => decode(file),
        None => decode(case["passphrase_utf8_base64"].as_str().unwrap()),
    };
    passphrase::of_file(&given).ok().map(str::to_owned)
}

/// Every file that the original wrote comes from the bundle.
fn check_files(bundle: &Bundle, case: &Value, context: &str) {
    let persona = case["persona"].as_str().and_then(|name| bundle.persona(name));
    let sections = [Some(&bundle.global), persona];
    let values: Vec<&[u8]> =
        sections.iter().flatten().flat_map(|s| s.iter()).map(|(_, s)| s.bytes()).collect();
    for content in case["expect"]["files"].as_object().unwrap().values() {
        let content = STANDARD.decode(content.as_str().unwrap()).unwrap();
        assert!(values.contains(&content.as_slice()), "{context}");
    }
}

/// What was baked by the command of the original is in the bundle, and nothing else.
fn check_baked(bundle: &Bundle, vector: &Value, context: &str) {
    let produced = &vector["produced"];
    let Some(baked) = produced["bake"].as_array() else { return };
    let persona = produced["persona"].as_str().and_then(|name| bundle.persona(name));
    let found: usize = bundle.global.len() + bundle.personas().map(|(_, s)| s.len()).sum::<usize>();
    let ids: BTreeMap<&str, &str> = baked
        .iter()
        .filter_map(|one| Some((one["id"].as_str()?, one["value_base64"].as_str()?)))
        .collect();
    assert_eq!(found, ids.len(), "{context}");
    for (id, value) in ids {
        let secret = bundle.global.get(id).or_else(|| persona?.get(id));
        let secret = secret.unwrap_or_else(|| panic!("{context}: {id} is missing"));
        assert_eq!(secret.bytes(), STANDARD.decode(value).unwrap(), "{context}: {id}");
    }
}

#[test]
fn the_blobs_of_the_original_open_as_they_did() {
    let mut lines = Vec::new();
    let (mut cases, mut opened) = (0, 0);
    let mut stretcher = Stretcher::default();
    for case in original_cases() {
        let context = format!("{}, {}", case.vector, case.name);
        check_frame(&case.blob, &case.about["frame"], &context);
        let expect = case.raw["expect"]["exit"].as_u64().unwrap();
        cases += 1;
        let Some(passphrase) = case.passphrase else {
            assert_eq!(expect, 2, "{context}");
            continue;
        };
        let lock = KeyMaterial { binding: &case.binding, passphrase: &passphrase };
        let before = stretcher.calls;
        let opened_now = open_with(&mut |work| stretcher.stretch(work), &case.blob, &lock);
        lines.push(line(&case.vector, &case.name, &opened_now));
        let (status, bundle) = status(opened_now);
        let refused = status == 4 || case.vector.starts_with("frame-");
        assert_eq!(stretcher.calls - before, usize::from(!refused), "{context}");
        // 7 is the manifest's word, and the bundle is good.
        assert_eq!(status, if expect == 7 { 0 } else { expect }, "{context}");
        if let Some(bundle) = bundle.filter(|_| expect == 0) {
            check_files(&bundle, &case.raw, &context);
            check_baked(&bundle, &case.about, &context);
            opened += 1;
        }
    }
    assert_eq!((cases, opened), (CASES, OPENED));
    assert_eq!(lines, outcomes());
}

const CASES: usize = 71;
const OPENED: usize = 32;

fn check_frame(blob: &[u8], expect: &Value, name: &str) {
    let frame = v1::Frame::parse(blob);
    let Some(salt) = expect["salt_hex"].as_str() else {
        assert!(frame.is_err(), "{name}: {expect}");
        return;
    };
    let frame = frame.unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(hex(frame.salt), salt, "{name}");
    assert_eq!(hex(frame.nonce), expect["iv_hex"].as_str().unwrap(), "{name}");
    assert_eq!(hex(frame.tag), expect["tag_hex"].as_str().unwrap(), "{name}");
    assert_eq!(expect["ciphertext_len"], frame.payload.len(), "{name}");
    assert_eq!(Frame::parse(blob).unwrap().render(), blob, "{name}");
}

#[test]
fn a_passphrase_is_stretched_as_by_the_original() {
    let keys = load(&folder("vectors").join("kdf.json"));
    for case in keys.as_array().unwrap() {
        let passphrase = STANDARD.decode(case["passphrase_utf8_base64"].as_str().unwrap()).unwrap();
        let salt = unhex(case["salt_hex"].as_str().unwrap()).try_into().unwrap();
        let work = Work { passphrase: &passphrase, salt: &salt, log2_n: 17 };
        let key = stretch(&work).unwrap();
        assert_eq!(hex(&key[..]), case["stretched_hex"].as_str().unwrap());
    }
    assert_eq!(keys.as_array().unwrap().len(), 4);
}

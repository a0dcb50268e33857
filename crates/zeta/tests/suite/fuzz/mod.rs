//! Random bytes at every parser that reads what another user could have written, on a stable
//! compiler and for a few seconds: `fuzz/` does the same by coverage, for as long as one likes.

mod checks;
mod notes;
mod sealed;

use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes that the grammar cares about.
const PIECES: [&[u8]; 30] = [
    b": ",
    b"\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"end: true\n",
    b"schema: 1\n",
    b"true",
    b"18446744073709551616",
    b"-1",
    b"9007199254740992",
    b"0",
    b"ttl: ",
    b"10m",
    b"1e3",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xe2\x80\xae",
    b"fencing_token: ",
    b"ttl_ms: ",
    b"renewed_boot_ns: ",
    b"T",
    b"{",
    b"[",
    b"}",
    b"\"topic\"",
    b"1e999",
    b"9999-12-31T23:59:59.999Z",
];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..random.usize(1..5) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            2 => {
                let piece = random.choice(PIECES).unwrap_or_default();
                bytes.splice(at..at, piece.iter().copied());
            }
            3 => {
                let end = random.usize(at..=bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let other = random.choice(others).cloned().unwrap_or_default();
                let from = random.usize(0..=other.len());
                bytes.splice(at..at, other[from..].iter().copied());
            }
            _ => bytes.insert(at, random.u8(..)),
        }
    }
}

fn fuzz(name: &str, check: fn(&[u8])) {
    let given = std::env::var("ZETA_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    let seconds = std::env::var("ZETA_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(5);
    println!("{name}: ZETA_FUZZ_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let corpus = corpus(name);
    corpus.iter().for_each(|bytes| check(bytes));
    let (started, mut runs) = (Instant::now(), 0u64);
    while started.elapsed() < Duration::from_secs(seconds) {
        let mut bytes = random.choice(&corpus).cloned().unwrap_or_default();
        mutate(&mut random, &mut bytes, &corpus);
        if let Err(panic) = std::panic::catch_unwind(|| check(&bytes)) {
            eprintln!("{name}, seed {seed}, run {runs}: {:?}", String::from_utf8_lossy(&bytes));
            std::panic::resume_unwind(panic);
        }
        runs += 1;
    }
    println!("{name}: {runs} runs in {seconds} s, no panic");
    assert!(runs > 100, "too few runs to mean anything: {runs}");
}

#[test]
fn records() {
    fuzz("record", checks::record);
}

#[test]
fn histories() {
    fuzz("history", checks::history);
}

#[test]
fn words() {
    fuzz("words", checks::words);
}

#[test]
fn envelopes() {
    fuzz("envelope", checks::envelope);
}

#[test]
fn notes_of_the_bus() {
    fuzz("notes", notes::notes);
}

#[test]
fn credentials() {
    fuzz("creds", checks::creds);
}

#[test]
fn sealed_credentials() {
    fuzz("creds", sealed::sealed);
}

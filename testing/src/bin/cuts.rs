//! The part of `cargo xtask cuts` that runs inside the virtual machine: saves a blob again and
//! again until the power is cut, or reports what is left of it after a cut.
//!
//! A blob here is a number and a padding that follows from it, so that a torn, mixed or freed blob
//! is detected. The checker is not the code under test: it reads with plain file calls.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use zeta_creds::blob;

/// The size of a blob in bytes: a little more than ten clusters.
const SIZE: usize = 41_000;
const HEAD: usize = 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["save", order, path, first] => save_for_ever(order, Path::new(path), first),
        ["check", path] => check(Path::new(path)),
        _ => Err("usage: cuts save ours|textbook FILE FIRST-NUMBER | cuts check FILE".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cuts: failed {error}");
            ExitCode::FAILURE
        }
    }
}

/// Saves numbers from `first` on; prints each one before the save and after it returned.
fn save_for_ever(order: &str, path: &Path, first: &str) -> Result<(), String> {
    let first: u64 = first.parse().map_err(|_| "the first number is none".to_owned())?;
    for number in first.. {
        let bytes = blob_of(number);
        say(&format!("cuts: begin {number}"))?;
        match order {
            "ours" => blob::save(path, &bytes, &|old| number_of(old).is_some())
                .map(|_| ())
                .map_err(|error| error.text)?,
            "textbook" => textbook(path, &bytes).map_err(|error| error.to_string())?,
            _ => return Err("no such order".to_owned()),
        }
        say(&format!("cuts: saved {number}"))?;
    }
    Ok(())
}

/// Prints a line that the host must have before the next step.
fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}

/// Saves with write, fsync and rename, as textbooks do. On FAT that loses the file.
fn textbook(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = path.with_extension("tmp");
    let mut file = File::create(&temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temp, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Prints the numbers in the file and in its backup; a dash for what is not a whole blob.
fn check(path: &Path) -> Result<(), String> {
    let word = |path: &Path| {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(1 << 22).read_to_end(&mut bytes));
        match (read, number_of(&bytes)) {
            (Ok(_), Some(number)) => number.to_string(),
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => "none".to_owned(),
            _ => "-".to_owned(),
        }
    };
    let backup = path.with_extension("bak");
    say(&format!("cuts: found current={} backup={}", word(path), word(&backup)))
}

fn blob_of(number: u64) -> Vec<u8> {
    let mut bytes = format!("{number:0HEAD$}").into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < SIZE {
        // xorshift: each number has a padding of its own.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(SIZE);
    bytes
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(bytes.get(..HEAD)?).ok()?.parse().ok()?;
    (blob_of(number) == bytes).then_some(number)
}

//! The decoder in Python knows the formats from their document alone. It must say of every vector
//! what we say, and find the same content.

use std::process::{Child, Command, Stdio};

use sha2::{Digest, Sha256};
use zeta_creds::cipher::{OpenError, Opened};

use super::vectors::{folder, hex};

/// The word of the vectors for an outcome.
pub fn word(opened: &Result<Opened, OpenError>) -> &'static str {
    match opened {
        Ok(_) => "opened",
        Err(OpenError::Frame(_)) => "frame",
        Err(OpenError::TooCostly(_)) => "bounds",
        Err(OpenError::NoMatch(_)) => "no_match",
        Err(OpenError::Damaged) => "damaged",
        Err(OpenError::NoMemory(why)) => panic!("{why}"),
    }
}

/// What the decoder says of some vectors; it works while we do.
pub struct Decoder(Child);

impl Decoder {
    /// Starts it on the folder of the original's vectors, or on our file.
    pub fn start(vectors: &str) -> Decoder {
        let mut command = Command::new("python3");
        command.arg("-B").args([folder("decoder.py"), folder(vectors)]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Decoder(child.unwrap_or_else(|error| panic!("python3, which this test rests on: {error}")))
    }

    /// Checks that the decoder printed the same lines in the same order.
    pub fn agrees(self, expected: &[String]) {
        let out = self.0.wait_with_output().unwrap();
        assert!(out.status.success(), "the decoder failed: {}", out.status);
        let decoded = String::from_utf8(out.stdout).unwrap();
        let decoded: Vec<&str> = decoded.lines().collect();
        for (expected, decoded) in expected.iter().zip(&decoded) {
            assert_eq!(expected, decoded);
        }
        assert_eq!(expected.len(), decoded.len());
    }
}

/// What is to be said of the original's vectors, line by line: frozen, so that neither side has to
/// wait for the other's stretching.
pub fn outcomes() -> Vec<String> {
    let text = std::fs::read_to_string(folder("own/original.tsv")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_decoder_says_of_the_original_s_vectors_what_we_say() {
    Decoder::start("vectors").agrees(&outcomes());
}

/// What we say of a vector, as the decoder writes it.
pub fn line(place: &str, name: &str, opened: &Result<Opened, OpenError>) -> String {
    let digest = opened.as_ref().map(|opened| hex(&Sha256::digest(&opened.content)));
    format!("{place}\t{name}\t{}\t{}", word(opened), digest.as_deref().unwrap_or("-"))
}

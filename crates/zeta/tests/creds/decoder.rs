//! The decoder in Python knows the formats from their document alone. It must say of every vector
//! what we say, and find the same content.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use sha2::{Digest, Sha256};
use zeta::adapters::cipher::{Lock, OpenError, Opened, open_with};

use crate::own::own_vectors;
use crate::vectors::{Stretcher, folder, hex, original_cases};

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

#[test]
fn a_decoder_that_shares_no_code_agrees_on_every_vector() {
    let mut command = Command::new("python3");
    command.arg("-B").arg(folder("decoder.py"));
    let decoder = command.arg(folder("vectors")).arg(folder("own/vectors.json")).output();
    let out = decoder.unwrap_or_else(|error| panic!("python3, which this test rests on: {error}"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let theirs = String::from_utf8(out.stdout).unwrap();
    let theirs: Vec<&str> = theirs.lines().collect();

    let original = original_cases().into_iter().filter_map(|case| {
        let lock = (case.binding, case.passphrase?);
        Some((case.vector, case.name, case.blob, lock))
    });
    let own = own_vectors().into_iter().map(|vector| {
        ("own".to_owned(), vector.name, vector.blob, (vector.binding, vector.passphrase))
    });
    let mut stretcher = Stretcher::default();
    let (mut ours, mut words) = (Vec::new(), BTreeMap::new());
    for (place, name, blob, (binding, passphrase)) in original.chain(own) {
        let lock = Lock { binding: &binding, passphrase: &passphrase };
        let opened = open_with(&mut |work| stretcher.stretch(work), &blob, &lock);
        let mut line = format!("{place}\t{name}\t{}\t", word(&opened));
        let digest = opened.as_ref().map(|opened| hex(&Sha256::digest(&opened.content)));
        write!(line, "{}", digest.as_deref().unwrap_or("-")).unwrap();
        *words.entry(word(&opened)).or_insert(0) += 1;
        ours.push(line);
    }
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(words.len() == 5 && words.values().all(|count| *count >= 15), "{words:?}");
}

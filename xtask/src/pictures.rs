//! `cargo xtask pictures`: the pictures in `docs/images`, made by the tests that look at the live
//! view and the page.

use std::time::SystemTime;

use anyhow::{Result, ensure};

use crate::run;

/// Makes all of them; true if the tests passed.
pub fn run() -> Result<bool> {
    let begun = SystemTime::now();
    let mut tests = run::cargo(&["test", "--package", "zeta", "--test", "suite", "look::"]);
    tests.env("ZETA_PICTURES", "1");
    if !run::succeeds(tests)? {
        return Ok(false);
    }
    let mut made = Vec::new();
    for entry in std::fs::read_dir(run::root().join("docs/images"))? {
        let entry = entry?;
        if entry.metadata()?.modified()? >= begun {
            made.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    made.sort();
    ensure!(!made.is_empty(), "no picture was made: a program is missing; see the lines SKIPPED");
    println!("made: {}; look at each of them", made.join(", "));
    Ok(true)
}

//! The attack table on this machine: each test writes one row, and this prints the rows.

use std::fs;

use anyhow::Result;

use crate::run;

/// `cargo xtask attacks`: runs the attacks and prints the rows; true if no attack succeeded.
pub fn run() -> Result<bool> {
    let rows = run::target_dir().join("attacks.log");
    fs::create_dir_all(run::target_dir())?;
    fs::write(&rows, "")?;
    let mut tests = run::cargo(&["test", "-p", "zeta", "--test", "attacks", "--"]);
    // One after the other, because some of them measure how long a call takes.
    tests.arg("--test-threads=1").env("ZETA_ATTACKS_LOG", &rows);
    let good = run::succeeds(tests)?;
    for name in ["symlinks", "hardlinks", "fifos", "regular"] {
        let value = fs::read_to_string(format!("/proc/sys/fs/protected_{name}"));
        println!("fs.protected_{name}={}", value.unwrap_or_default().trim());
    }
    let text = fs::read_to_string(&rows)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_by_key(|line| {
        let digits = line.chars().skip(1).take_while(char::is_ascii_digit).collect::<String>();
        (digits.parse::<u32>().unwrap_or(0), *line)
    });
    lines.iter().for_each(|line| println!("{line}"));
    println!(
        "attacks: {} rows, {}",
        lines.len(),
        if good { "all refused" } else { "NOT all refused" }
    );
    Ok(good)
}

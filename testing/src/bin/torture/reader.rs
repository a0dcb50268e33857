//! A process that reads all records all the time: each must be whole, and tokens must never shrink.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use zeta_core::layout::RECORD_MAX;
use zeta_core::record::{Text, parse};

use super::Outcomes;
use super::arena::{Arena, now_ns};
use super::story::Story;

/// Reads until the run is over; logs how many records it read, and each torn one.
pub fn read_all(arena: &Arena, number: &str) -> Outcomes<()> {
    let mut story = Story::open(&arena.dir, "readers")?;
    let mut highest: BTreeMap<String, u64> = BTreeMap::new();
    let mut reads = 0;
    let mut told_ns = now_ns();
    while !arena.over() {
        for path in arena.nodes().iter().flat_map(|nodes| records(nodes)) {
            let Ok(bytes) = fs::read(&path) else { continue };
            reads += 1;
            let shown = path.display().to_string();
            match token(&bytes) {
                Ok(token) => {
                    let before = highest.insert(shown.clone(), token).unwrap_or(0);
                    if token < before {
                        story.say(&format!("back {shown} {token} after {before}"))?;
                    }
                }
                Err(why) => {
                    let text = String::from_utf8_lossy(&bytes);
                    story.say(&format!("torn {shown} {why}: {text:?}"))?;
                }
            }
        }
        if now_ns() - told_ns > 1_000_000_000 {
            told_ns = now_ns();
            story.say(&format!("reads {number} {reads}"))?;
        }
        // The other processes need the processors, too.
        std::thread::sleep(Duration::from_millis(2));
    }
    story.say(&format!("reads {number} {reads}"))
}

/// Lists the records of all nodes that exist now.
fn records(nodes: &Path) -> Vec<std::path::PathBuf> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let nodes = entries(nodes).map(|node| node.path());
    let files = nodes.flat_map(|node| entries(&node).map(|file| file.path()).collect::<Vec<_>>());
    files.filter(|path| path.extension().is_some_and(|end| end == "lock")).collect()
}

/// Returns the token of a whole record.
fn token(bytes: &[u8]) -> Result<u64, String> {
    if !bytes.ends_with(b"\nend: true\n") {
        return Err("no last line".to_owned());
    }
    match parse(bytes, RECORD_MAX) {
        Ok(Text::Own(fields)) => fields.number("fencing_token").ok_or("no token".to_owned()),
        Ok(Text::Foreign(_)) => Err("foreign".to_owned()),
        Err(damage) => Err(damage.to_string()),
    }
}

//! An outsider at the bus: it removes, cuts and exchanges parts of the index, and plants files that
//! are no messages.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::arena::Arena;
use super::item::FOREIGN;

const PARTS: [&str; 3] = ["state", "names", "pack"];
/// The prefix of planted files.
const PLANTED: &str = "planted-";
/// The age at which what is left of ended processes is removed: longer than any claim lasts.
const OLD: Duration = Duration::from_secs(3);

/// Files that are no messages, or messages about something else.
const ODD: [&[u8]; 9] = [
    b"",
    b"{\"topic\": \"cl",
    b"not JSON at all",
    b"[1, 2]",
    b"{\"topic\": 5, \"from\": null}",
    b"{\"topic\": \"note\", \"payload\": \"\\ud83c\\udc00\\ud83c\"}",
    b"{\"topic\": \"claim\", \"payload\": { \"action\": \"claim\", \"itemId\": \"other\\ud83c\" }",
    b"{\"topic\": \"claim\", \"payload\": { \"action\": \"claim\", \"itemId\": 7 } }",
    b"\xff\xfe\x00",
];

/// Copies of the parts of the index that were made before.
#[derive(Debug, Default)]
pub struct Spoiler {
    older: Vec<(&'static str, Vec<u8>)>,
}

impl Spoiler {
    /// Does one thing; returns what.
    pub fn spoil(&mut self, arena: &Arena, dice: &mut fastrand::Rng) -> &'static str {
        let bus = arena.bus();
        let index = bus.join(".zeta/index");
        let part = dice.choice(PARTS).unwrap_or("state");
        let path = index.join(part);
        match dice.u32(..12) {
            0..2 => {
                let _ = fs::remove_file(path);
                "part of the index, removed"
            }
            2 => {
                let _ = fs::remove_dir_all(index);
                "index, removed"
            }
            3 => {
                let cut = fs::File::options().write(true).open(path);
                let _ = cut.and_then(|file| file.set_len(file.metadata()?.len() / 2));
                "part of the index, cut"
            }
            4 => {
                let zeros = fs::metadata(&path).map(|meta| vec![0; meta.len() as usize]);
                let _ = zeros.and_then(|zeros| fs::write(&path, zeros));
                "part of the index, zeros"
            }
            5..7 => {
                if let Ok(bytes) = fs::read(path) {
                    self.older.truncate(15);
                    self.older.insert(0, (part, bytes));
                }
                "copy of a part of the index"
            }
            7..9 => {
                if let Some((part, bytes)) = dice.choice(&self.older) {
                    let _ = fs::write(index.join(part), bytes);
                }
                "part of the index, older"
            }
            9 => {
                sweep(&bus);
                "old files of the bus"
            }
            _ => {
                let name = format!("{PLANTED}{:08x}.json", dice.u32(..));
                let _ = fs::write(bus.join(name), dice.choice(ODD).unwrap_or_default());
                "odd file"
            }
        }
    }
}

/// Removes what ended processes left, the oldest first: a claim goes before its release.
fn sweep(bus: &Path) {
    let now = SystemTime::now();
    let mut old: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(bus).into_iter().flatten().flatten() {
        let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let limit = if name.starts_with(FOREIGN) { OLD } else { OLD * 2 };
        let age = now.duration_since(modified).unwrap_or_default();
        if name.ends_with(".json") && (age > limit || name.starts_with(PLANTED)) {
            old.push((modified, entry.path()));
        }
    }
    old.sort();
    old.iter().for_each(|(_, path)| _ = fs::remove_file(path));
}

//! Removals by an outsider: the record of one lease, the file with its token, its guard, or the
//! directory of its node or tree.

use std::fs;
use std::path::Path;

use super::arena::{Arena, Lease, WILD_NODE};

/// Removes something; returns what.
pub fn rob(arena: &Arena, lease: Lease, dice: &mut fastrand::Rng) -> &'static str {
    let state = arena.state(Some(lease));
    let node = state.join("nodes").join(WILD_NODE);
    let file = format!("{}.lock", lease.name());
    let (record, guard) = (node.join(&file), node.join(".guard").join(&file));
    // A removal is not repeated: the file that made it fail may be a new one.
    match dice.u32(..14) {
        0..3 => {
            let _ = fs::remove_file(&record);
            "record"
        }
        3..5 => {
            let _ = fs::remove_file(guard.join("fencing_token"));
            "fencing_token"
        }
        5..7 => {
            let _ = fs::remove_dir_all(&guard);
            "guard"
        }
        7 => {
            aside(arena, &guard, dice);
            "guard, moved"
        }
        8 => {
            let _ = fs::remove_dir_all(guard.join("queue"));
            "queue"
        }
        9 => {
            let _ = fs::remove_file(&record);
            let _ = fs::remove_dir_all(&guard);
            "record and guard"
        }
        10 => {
            let _ = fs::remove_dir_all(&node);
            "node"
        }
        11 => {
            aside(arena, &node, dice);
            "node, moved"
        }
        12 => {
            let _ = fs::remove_dir_all(&state);
            "tree"
        }
        _ => {
            aside(arena, &state, dice);
            "tree, moved"
        }
    }
}

/// Moves a whole directory out of the tree and removes it there.
fn aside(arena: &Arena, what: &Path, dice: &mut fastrand::Rng) {
    let away = arena.dir.join(format!("away-{:016x}", dice.u64(..)));
    if fs::rename(what, &away).is_ok() {
        let _ = fs::remove_dir_all(&away);
    }
}

//! All processes of a piece of work, where no control group holds them: those below this process,
//! and those that were started with a certain variable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::process::{
    Listed, describe, identify, kill, other_processes, parent, proc_is_own, reap_ended,
    with_environment,
};

/// The pause between two looks at what has not ended.
const PAUSE: Duration = Duration::from_millis(3);

/// Kills all processes below this one, and all that were started with `line` (`KEY=value`) in
/// their environment, until none is left. Returns those that have not ended within `limit`.
///
/// This process must have adopted its orphans, and no other code of it may wait for a child.
pub fn end_all(line: &str, limit: Duration) -> Vec<Listed> {
    end(Some(line), limit)
}

/// Kills all processes below this one, and no others, as [`end_all`] does.
pub fn end_below(limit: Duration) -> Vec<Listed> {
    end(None, limit)
}

fn end(line: Option<&str>, limit: Duration) -> Vec<Listed> {
    let until = Instant::now() + limit;
    loop {
        reap_ended();
        let mut found = below();
        let known: BTreeSet<u32> = found.iter().map(|listed| listed.process.pid).collect();
        let me = std::process::id();
        let marked = line.map(with_environment).unwrap_or_default().into_iter();
        found.extend(
            marked.filter(|one| one.process.pid != me && !known.contains(&one.process.pid)),
        );
        if found.is_empty() || Instant::now() >= until {
            return found;
        }
        for listed in &found {
            // One that has ended meanwhile is not there.
            let _ = kill(&listed.process);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The processes below this one that have not ended.
fn below() -> Vec<Listed> {
    if !proc_is_own() {
        return Vec::new();
    }
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in other_processes() {
        if let Some(above) = parent(pid) {
            children.entry(above).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![std::process::id()];
    while let Some(above) = next.pop() {
        for pid in children.remove(&above).unwrap_or_default() {
            next.push(pid);
            let process = identify(pid);
            // The number may be that of another process by now.
            let Some((name, state)) = describe(pid).filter(|_| parent(pid) == Some(above)) else {
                continue;
            };
            found.push(Listed { process, name, state });
        }
    }
    found.retain(|listed| !matches!(listed.state, 'Z' | 'X'));
    found
}

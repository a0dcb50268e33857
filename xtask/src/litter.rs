//! What a run of the tests leaves in the directories for temporary files: nothing, or a failure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the names of our temporary files begin with.
const OURS: [&str; 2] = ["zeta-", "xtask-"];
/// The directories that stay: those of the agents on this machine.
const STAY: [&str; 2] = ["zeta-bus", "zeta-cluster-state"];

/// What lay there before a run.
pub struct Before(BTreeSet<PathBuf>);

/// Looks before a run.
pub fn look() -> Before {
    Before(ours())
}

impl Before {
    /// What a run left. What belongs to a process that lives is of another run.
    pub fn left(&self) -> Vec<PathBuf> {
        let is_in_use = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let mut numbers = name.split(['-', '.']).filter(|part| part.parse::<u32>().is_ok());
            numbers.any(|pid| Path::new("/proc").join(pid).exists())
        };
        ours().difference(&self.0).filter(|path| !is_in_use(path)).cloned().collect()
    }
}

fn ours() -> BTreeSet<PathBuf> {
    let dirs = BTreeSet::from([PathBuf::from("/tmp"), std::env::temp_dir()]);
    let entries = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let named = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        OURS.iter().any(|prefix| name.starts_with(prefix)) && !STAY.contains(&&*name)
    });
    named.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_leaves_is_named_and_what_another_run_uses_is_not() {
        let before = look();
        let dir = |name: &str| std::env::temp_dir().join(format!("xtask-{name}"));
        let (used, other) = (dir(&format!("used-{}", std::process::id())), dir("left-abc"));
        for path in [&used, &other] {
            std::fs::create_dir(path).unwrap();
        }
        let left = before.left();
        for path in [&used, &other] {
            std::fs::remove_dir(path).unwrap();
        }
        assert!(left.contains(&other) && !left.contains(&used), "{left:?}");
    }
}

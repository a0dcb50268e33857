//! The directory that a shell is in, as far as its text shows it.

use super::word::Word;

/// What prints the top of the worktree: a change into it stays in the worktree.
const TOP: &str = "$(git rev-parse --show-toplevel)";

/// A directory: those that were changed into, in order, from the one at the beginning or from an
/// absolute one; `None` if it is not known.
type Dirs = Option<Vec<String>>;

/// The directories that a shell remembers.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    now: Dirs,
    before: Dirs,
    pushed: Vec<Dirs>,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory { now: Some(Vec::new()), before: None, pushed: Vec::new() }
    }
}

impl Directory {
    /// Changes the directory as `cd`, `pushd` or `popd` does.
    pub(super) fn change(&mut self, command: &str, args: &[Word]) {
        let mut plain =
            args.iter().filter(|word| word.written == "-" || !word.written.starts_with('-'));
        let target = plain.next();
        let next = match (command, target) {
            ("popd", None) => match self.pushed.pop() {
                Some(dirs) => dirs,
                None => return,
            },
            ("popd", Some(_)) => None,
            ("pushd", None) => {
                let Some(top) = self.pushed.pop() else { return };
                self.pushed.push(self.now.clone());
                top
            }
            ("pushd", Some(word)) => {
                self.pushed.push(self.now.clone());
                if word.written.starts_with('+') { None } else { self.behind([word]) }
            }
            (_, None) => Some(vec!["~".to_owned()]),
            (_, Some(word)) if word.written == "-" => self.before.clone(),
            (_, Some(word)) => self.behind([word]),
        };
        self.before = std::mem::replace(&mut self.now, next);
    }

    /// Returns the directory behind changes into others.
    pub(super) fn behind<'w>(&self, words: impl IntoIterator<Item = &'w Word>) -> Dirs {
        let mut dirs = self.now.clone();
        for word in words {
            if word.written == TOP {
                continue;
            }
            let is_whole = word.written.starts_with(['/', '~']);
            match &mut dirs {
                _ if !word.known => dirs = None,
                Some(known) if !is_whole => known.push(word.written.clone()),
                _ if is_whole => dirs = Some(vec![word.written.clone()]),
                _ => {}
            }
        }
        dirs
    }
}

//! Shell text, read as far as needed to find the calls of git that commit and push.
//!
//! This is no shell: what a call in a script or an alias does is not found, and goes through. What
//! stops such a push is a fenced push on the other side.

mod directory;
mod git;
mod prefix;
mod word;

use self::directory::Directory;
use self::git::Act;
use self::word::{Step, Word};

/// Most bytes of a text that are read.
const BYTES_MAX: usize = 64 * 1024;
/// Most texts of a shell inside of each other.
const TEXTS_MAX: usize = 5;

/// What a call does with a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `git commit`.
    Commit,
    /// `git push`, or `gh pr create`.
    Push,
}

/// A call of git in a shell text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCall {
    /// What it does.
    pub verb: Verb,
    /// The directories that it changes into, in order; an absolute one replaces those before it.
    pub dirs: Vec<String>,
    /// The branches that it names; one `*` in a name stands for any text.
    pub branches: Vec<String>,
    /// Whether it is about the branch that is checked out.
    pub current: bool,
}

/// Finds the calls of git in a text.
pub fn git_calls(text: &str) -> Vec<GitCall> {
    let mut end = text.len().min(BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut shell = Shell::default();
    shell.read(text.get(..end).unwrap_or_default(), 0);
    shell.found
}

/// What is known of a shell that runs a text.
#[derive(Default)]
struct Shell {
    here: Directory,
    /// The directories of the shells around it.
    outer: Vec<Directory>,
    /// The branches that were checked out, with the directory: [`Act::CheckOut`].
    checked_out: Vec<(Vec<String>, Option<String>, bool)>,
    found: Vec<GitCall>,
}

impl Shell {
    fn read(&mut self, text: &str, texts: usize) {
        if texts > TEXTS_MAX {
            return;
        }
        for step in word::steps(text) {
            match step {
                Step::Command(words) => self.command(&words, texts),
                Step::Open => self.outer.push(self.here.clone()),
                Step::Close => self.here = self.outer.pop().unwrap_or_default(),
            }
        }
    }

    fn command(&mut self, words: &[Word], texts: usize) {
        let (words, gets_more) = prefix::command(words);
        let [program, args @ ..] = words else { return };
        match prefix::name(program) {
            command @ ("cd" | "pushd" | "popd") => self.here.change(command, args),
            "eval" => {
                let args: Vec<&str> = args.iter().map(|word| word.written.as_str()).collect();
                self.read(&args.join(" "), texts + 1);
            }
            "sh" | "bash" | "dash" | "zsh" | "ksh" => {
                if let Some(text) = given_text(args) {
                    let here = self.here.clone();
                    self.read(text, texts + 1);
                    self.here = here;
                }
            }
            "git" if gets_more => {
                let more = Word { written: "$@".to_owned(), known: false };
                let args: Vec<Word> = args.iter().cloned().chain([more]).collect();
                self.act(git::git(&args));
            }
            "git" => self.act(git::git(args)),
            "gh" => self.act(git::gh(args).map(|act| (act, Vec::new()))),
            _ => {}
        }
    }

    fn act(&mut self, found: Option<(Act, Vec<Word>)>) {
        // A directory in a variable is not known, and nothing is guessed about it.
        let Some((act, dirs)) = found.and_then(|(act, dirs)| Some((act, self.here.behind(&dirs)?)))
        else {
            return;
        };
        let (verb, mut branches, mut current) = match act {
            Act::CheckOut { branch, is_sure } => {
                return self.checked_out.push((dirs, branch, is_sure));
            }
            Act::Commit => (Verb::Commit, Vec::new(), true),
            Act::Push(branches, current) => (Verb::Push, branches, current),
        };
        let last = self.checked_out.iter().rev().find(|(of, ..)| dirs.starts_with(of));
        if let Some((_, branch, is_sure)) = last.filter(|_| current) {
            branches.extend(branch.clone());
            current = !is_sure;
        }
        self.found.push(GitCall { verb, dirs, branches, current });
    }
}

/// Returns the text that a shell is given with `-c`.
fn given_text(args: &[Word]) -> Option<&str> {
    let mut asks = false;
    let mut args = args.iter().map(|word| word.written.as_str());
    while let Some(word) = args.next() {
        let Some(letters) = word.strip_prefix(['-', '+']) else { return asks.then_some(word) };
        let is_long = letters.starts_with('-');
        asks |= !is_long && letters.contains('c');
        if !is_long && letters.contains(['o', 'O']) {
            args.next();
        }
    }
    None
}

#[cfg(test)]
mod tests;

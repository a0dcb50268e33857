//! The arguments of git, and of GitHub's program.

use super::word::Word;

/// Stands for any text in the name of a branch, as in a ref of git.
const ANY: &str = "*";

/// What a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// It commits.
    Commit,
    /// It pushes these branches, and whether also the one that is checked out.
    Push(Vec<String>, bool),
    /// It checks out a branch.
    CheckOut {
        /// Its name, if that is known.
        branch: Option<String>,
        /// Whether it is a branch; it may be a file.
        is_sure: bool,
    },
}

/// Reads a call of git: what it does, and the directories that it changes into.
pub(super) fn git(args: &[Word]) -> Option<(Act, Vec<Word>)> {
    let mut dirs = Vec::new();
    let mut args = args.iter();
    let verb = loop {
        let word = args.next()?;
        match word.written.as_str() {
            "-C" | "--git-dir" => dirs.push(args.next()?.clone()),
            "-c" | "--work-tree" | "--namespace" => {
                args.next()?;
            }
            option if option.starts_with('-') => {
                if let Some(dir) = option.strip_prefix("--git-dir=") {
                    dirs.push(Word { written: dir.to_owned(), known: word.known });
                }
            }
            verb => break verb,
        }
    };
    let args = args.as_slice();
    let has = |options: &[&str]| args.iter().any(|word| options.contains(&word.written.as_str()));
    let act = match verb {
        _ if has(&["--dry-run", "--help", "-h"]) => return None,
        "commit" => Act::Commit,
        // Of a commit, -n leaves out the checks before it.
        "push" if !has(&["-n"]) => pushed(args),
        "checkout" | "switch" => checked_out(args, verb == "switch")?,
        _ => return None,
    };
    Some((act, dirs))
}

fn pushed(args: &[Word]) -> Act {
    let mut plain = Vec::new();
    let mut words = args.iter();
    let mut tags = false;
    while let Some(word) = words.next() {
        match word.written.as_str() {
            "--all" | "--branches" | "--mirror" => return Act::Push(vec![ANY.to_owned()], false),
            "--tags" => tags = true,
            "-o"
            | "--push-option"
            | "--repo"
            | "--receive-pack"
            | "--exec"
            | "--recurse-submodules" => {
                words.next();
            }
            "tag" if !plain.is_empty() => {
                words.next();
                tags = true;
            }
            option if option.starts_with('-') => {}
            _ => plain.push(word),
        }
    }
    let (mut branches, mut current) = (Vec::new(), false);
    let refs = plain.get(1..).unwrap_or_default();
    for name in refs {
        match target(name) {
            Target::Current => current = true,
            Target::Branch(branch) => branches.push(branch),
            Target::Other => {}
        }
    }
    Act::Push(branches, current || refs.is_empty() && !tags)
}

/// Where a ref of a push goes.
enum Target {
    Current,
    Branch(String),
    Other,
}

fn target(name: &Word) -> Target {
    let text = name.written.trim_start_matches('+');
    let target = text.rsplit_once(':').map_or(text, |(_, target)| target);
    // A branch in a variable is mostly the one that is checked out.
    if !name.known && target.contains(['$', '`', '(', ')', '{', '}', '?', '[', '"']) {
        return Target::Current;
    }
    let branch = target.strip_prefix("refs/heads/").or_else(|| target.strip_prefix("heads/"));
    match branch.unwrap_or(target) {
        "HEAD" | "@" => Target::Current,
        "" | "refs/*" => Target::Branch(ANY.to_owned()),
        other if other.starts_with("refs/") || text.starts_with('^') => Target::Other,
        branch => Target::Branch(branch.to_owned()),
    }
}

/// Reads what `git checkout` and `git switch` check out; `None` if that is no branch.
fn checked_out(args: &[Word], is_switch: bool) -> Option<Act> {
    const MAKES: [&str; 7] = ["-b", "-B", "-c", "-C", "--orphan", "--create", "--force-create"];
    let known = |word: &Word| word.known.then(|| word.written.clone());
    if let Some(at) = args.iter().position(|word| MAKES.contains(&word.written.as_str())) {
        return Some(Act::CheckOut { branch: known(args.get(at + 1)?), is_sure: true });
    }
    if args.iter().any(|word| word.written == "--") {
        return None;
    }
    let mut plain = args.iter().filter(|word| !word.written.starts_with('-'));
    let (branch, None) = (plain.next()?, plain.next()) else { return None };
    Some(Act::CheckOut { branch: known(branch), is_sure: is_switch })
}

/// Reads a call of GitHub's program that makes a pull request.
pub(super) fn gh(args: &[Word]) -> Option<Act> {
    let mut plain = Vec::new();
    let mut head = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.written.as_str() {
            "-R" | "--repo" | "-t" | "--title" | "-b" | "--body" => {
                words.next();
            }
            "-H" | "--head" => head = words.next().map(|word| (word, word.written.as_str())),
            "--dry-run" | "--help" => return None,
            text => match text.strip_prefix("--head=") {
                Some(branch) => head = Some((word, branch)),
                None => plain.push(text),
            },
        }
    }
    let (["pr", "create", ..] | ["pr", "new", ..]) = plain.as_slice() else { return None };
    Some(match head {
        // It may name the owner of a fork.
        Some((word, branch)) if word.known => {
            let branch = branch.rsplit_once(':').map_or(branch, |(_, branch)| branch);
            Act::Push(vec![branch.to_owned()], false)
        }
        _ => Act::Push(Vec::new(), true),
    })
}

//! No text of zeta proposes a command that changes, moves or removes what is not zeta's own, in a
//! shell's words or in a person's: an agent does what it reads, and zeta cannot know who else uses
//! a directory.
//!
//! `place::hints` in the suite runs what the texts propose.

use super::{Finding, Page};

/// Programs that change files of their arguments. `kill` is not one of them.
const CHANGING: [&str; 14] = [
    "chgrp", "chmod", "chown", "dd", "ln", "mv", "rm", "rmdir", "setfacl", "shred", "tee",
    "truncate", "umount", "unlink",
];

/// The same in words.
const WORDS: [&str; 9] = [
    "delete it",
    "delete them",
    "move it away",
    "move the",
    "move them away",
    "remove it",
    "remove the",
    "remove them",
    "rename it",
];

/// Texts that propose such a change, by file and beginning, and why what it changes is zeta's.
const OF_ZETA: [(&str, &str, &str); 9] = [
    (
        "crates/zeta-bus/src/directory/legacy_lock.rs",
        "if no call is claiming this item: rm {}",
        "a plain file with a pid under a name that zeta and the original give in the bus",
    ),
    (
        "crates/zeta-bus/src/directory/delivery_log.rs",
        "to deliver everything again: rm {}",
        "a log that zeta writes below its own directory of the bus",
    ),
    (
        "crates/zeta-creds/src/passphrase.rs",
        "remove it by hand: a person who reads it",
        "a passphrase that was staged for zeta to use once and remove",
    ),
    (
        "crates/zeta-state/src/directory/tree.rs",
        "write one line with the name, or remove the file",
        "the file of the node's name in a tree of zeta",
    ),
    (
        "crates/zeta/src/cli/claim.rs",
        "Branch and worktree stay. To move the claim",
        "a claim, by a verb of zeta",
    ),
    (
        "crates/zeta/src/cli/node.rs",
        "Register this machine in a cluster's repository, or remove it",
        "the registration of this machine, by a verb of zeta",
    ),
    (
        "crates/zeta-state/src/directory/refusal.rs",
        "if only you use it: chmod 700 {}",
        "a directory of the caller's that has nothing in it but what zeta makes",
    ),
    (
        "crates/zeta-state/src/upkeep/doctor/system.rs",
        "if it is yours and older than an hour: rm -r it",
        "a tree that zeta began to make, under a name that only zeta gives",
    ),
    (
        "crates/zeta-state/src/upkeep/doctor/tree.rs",
        "its owner or root: chgrp {gid} and chmod {wanted:04o} on it",
        "a directory of zeta's inside a group's tree",
    ),
];

pub(super) fn check(page: &Page, findings: &mut Vec<Finding>) {
    let of_program = page.path.starts_with("crates/") && page.path.contains("/src/");
    if !of_program || page.name() == "tests.rs" {
        return;
    }
    let code = page.text.split("#[cfg(test)]").next().unwrap_or_default();
    for (line, text) in literals(code) {
        let known =
            |(path, start, _): &(&str, &str, &str)| page.path == *path && text.starts_with(start);
        if let Some(program) = proposed(&text)
            && !OF_ZETA.iter().any(known)
        {
            let what = format!(
                "a text proposes '{program}': name what works, or write into {} why what it \
                 changes is zeta's own",
                file!()
            );
            findings.push(Finding::new(page, line, what));
        }
    }
}

/// The changing program that a text proposes: its name with arguments behind it, as in a command.
fn proposed(text: &str) -> Option<&'static str> {
    let starts_word = |at: usize| {
        let before = text.get(..at).unwrap_or_default().chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric())
    };
    let in_words = WORDS.into_iter().find(|words| {
        text.match_indices(words).any(|(at, _)| {
            let after = text.get(at + words.len()..).unwrap_or_default();
            starts_word(at) && !after.starts_with(char::is_alphanumeric)
        })
    });
    in_words.or_else(|| program(text))
}

fn program(text: &str) -> Option<&'static str> {
    CHANGING.into_iter().find(|program| {
        text.match_indices(program).any(|(at, _)| {
            let before = text.get(..at).unwrap_or_default().chars().next_back();
            let after = text.get(at + program.len()..).unwrap_or_default();
            let starts = before.is_none_or(|c| !c.is_alphanumeric() && !"-_./".contains(c));
            starts && after.starts_with(" ") && is_argument(after.trim_start())
        })
    })
}

/// What follows the name of a program in a command: an option, a path, a mode, a blank to fill in.
fn is_argument(text: &str) -> bool {
    text.starts_with(['-', '/', '{', '"', '\'', '$', '~', '.']) || {
        let word = text.split([' ', ',', ';']).next().unwrap_or_default();
        let is_mode = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
        let has_sign = word.len() < 8 && word.contains(['+', '=', '-']);
        (!word.is_empty() && is_mode(word)) || has_sign || word.contains(['/', '{'])
    }
}

/// The string literals of a file, with the line on which each begins; a backslash at the end of a
/// line joins it with the next.
fn literals(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut text: Option<(usize, String)> = None;
    let mut line = 1;
    let mut chars = code.chars().peekable();
    let mut comment = false;
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        comment = comment && c != '\n';
        match (&mut text, c) {
            (Some((_, text)), '\\') => match chars.next() {
                Some('\n') => {
                    line += 1;
                    while chars.next_if(|c| *c == ' ').is_some() {}
                }
                Some(escaped) => text.push(escaped),
                None => {}
            },
            (Some(_), '"') => found.extend(text.take()),
            (Some((_, text)), c) => text.push(c),
            (None, '/') if chars.peek() == Some(&'/') => comment = true,
            // The quote of a character.
            (None, '\'') if chars.peek() == Some(&'"') => {
                chars.next();
            }
            (None, '"') if !comment => text = Some((line, String::new())),
            (None, _) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_changes_files_is_found_in_a_text_and_prose_is_not() {
        for (text, program) in [
            ("run: chmod go-w {}", Some("chmod")),
            ("look at it: mv {shown} {shown}.refused", Some("mv")),
            ("find out who made it, then move it away", Some("move it away")),
            ("as root, remove the anchor", Some("remove the")),
            ("it was moved away; what removes its files", None),
            ("if it is yours: rm -r it", Some("rm")),
            ("run 'chmod 600 {named}'", Some("chmod")),
            ("setfacl -b -k on it", Some("setfacl")),
            ("as root: chmod +t /tmp", Some("chmod")),
            ("nothing of it: no chmod, no chown", None),
            ("give --rm to it", None),
            ("the arm and the form of it", None),
            ("a tee or a mv of somebody", None),
        ] {
            assert_eq!(proposed(text), program, "{text}");
        }
    }

    #[test]
    fn literals_are_read_whole() {
        let code = "let a = \"one \\\n    two\"; // \"no\"\nlet b = '\"'; f(\"th\\\"ree\");";
        let found = literals(code);
        assert_eq!(found, [(1, "one two".to_owned()), (3, "th\"ree".to_owned())]);
    }
}

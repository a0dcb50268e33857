//! Words in front of a command that run it: those of the shell itself, and programs.

use super::word::{Word, is_reserved};

/// Programs that run the command behind them, their options that take an argument of their own, and
/// how many words come before the command.
const PROGRAMS: [(&str, &str, usize); 16] = [
    ("builtin", "", 0),
    ("chronic", "", 0),
    ("command", "", 0),
    ("doas", "-u -C", 0),
    ("env", "-u -C --unset --chdir", 0),
    ("exec", "-a", 0),
    ("flock", "-w -E --timeout --conflict-exit-code", 1),
    ("ionice", "-c -n --class --classdata", 0),
    ("nice", "-n --adjustment", 0),
    ("nohup", "", 0),
    ("setsid", "", 0),
    ("stdbuf", "-i -o -e --input --output --error", 0),
    ("sudo", "-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir", 0),
    ("time", "-f -o --format --output", 0),
    ("timeout", "-k -s --kill-after --signal", 1),
    (XARGS, "-n -I -P -L -d -E -a -s --max-args --max-procs --delimiter --arg-file", 0),
];
/// The program that adds arguments from elsewhere.
const XARGS: &str = "xargs";

/// The name of a program, without its directory.
pub(super) fn name(program: &Word) -> &str {
    program.written.rsplit('/').next().unwrap_or_default()
}

/// Returns the words of the command that others run, and whether it gets more arguments, which are
/// not known.
pub(super) fn command(mut words: &[Word]) -> (&[Word], bool) {
    let mut gets_more = false;
    while let [first, rest @ ..] = words {
        let name = name(first);
        let program = PROGRAMS.iter().find(|(known, ..)| *known == name);
        words = match program {
            _ if first.written == "function" => rest.get(1..).unwrap_or_default(),
            Some((_, options, before)) => behind(rest, options, *before),
            _ if is_reserved(name) || is_assignment(&first.written) => rest,
            // Its own wrappers: `zeta run -- COMMAND`.
            _ if name == "zeta" => match rest.iter().position(|word| word.written == "--") {
                Some(at) => rest.get(at + 1..).unwrap_or_default(),
                None => break,
            },
            _ => break,
        };
        gets_more |= name == XARGS;
    }
    (words, gets_more)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.strip_suffix('+').unwrap_or(name);
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// Returns the words behind the options and the first words of a program.
fn behind<'w>(mut words: &'w [Word], options: &str, before: usize) -> &'w [Word] {
    while let [word, rest @ ..] = words {
        if !word.written.starts_with('-') {
            break;
        }
        words = match takes_next(options, &word.written) {
            true => rest.get(1..).unwrap_or_default(),
            false => rest,
        };
        if word.written == "--" {
            break;
        }
    }
    words.get(before..).unwrap_or_default()
}

/// Returns whether the argument of an option is the next word: `-k 5`, and not `-k5`.
fn takes_next(options: &str, word: &str) -> bool {
    let takes = |option: &str| options.split(' ').any(|known| known == option);
    if word.starts_with("--") {
        return takes(word);
    }
    let letters = word.strip_prefix('-').unwrap_or_default();
    let first = letters.find(|c| takes(&format!("-{c}")));
    first.is_some_and(|at| at + 1 == letters.len())
}

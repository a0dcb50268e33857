//! Completions in the real shells: bash, fish and zsh ask the built program.

use std::process::Command;

use crate::support::{Sandbox, find, run, skip, test_name};

/// A sandbox with a lease, a claim, a marker and an agent to complete, and the script of a shell.
struct Place {
    sandbox: Sandbox,
}

impl Place {
    fn new(shell: &str) -> Place {
        let sandbox = Sandbox::new();
        sandbox.acquire(&["deploy"]);
        sandbox.ok(&["marker", "set", "frozen"]);
        sandbox.ok(&["heartbeat", "--as", "otto-cli"]);
        let mut claim = sandbox.cmd(&["claim", "acquire", "--item", "fix it", "--from", "rex"]);
        let claimed = run(claim.env("ZETA_BUS_DIR", sandbox.dir.join("bus")));
        assert_eq!(claimed.status, 0, "{claimed:?}");
        let script = sandbox.ok(&["completions", shell]);
        std::fs::write(sandbox.dir.join("script"), script + "\n").unwrap();
        std::fs::create_dir(sandbox.dir.join("empty")).unwrap();
        std::fs::write(sandbox.dir.join("empty/a-file"), "").unwrap();
        Place { sandbox }
    }

    /// A shell with the built program in its path, in a directory with one file.
    fn shell(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.sandbox.other(program, args);
        let built = std::path::Path::new(env!("CARGO_BIN_EXE_zeta")).parent().unwrap();
        let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("HOME", self.sandbox.dir.join("empty"));
        command.env("SCRIPT", self.sandbox.dir.join("script"));
        command.current_dir(self.sandbox.dir.join("empty"));
        command
    }
}

/// Command lines, and what each of them may become. The answer of a shell is its words.
const LINES: [(&str, &[&str]); 9] = [
    ("zeta lease acq", &["acquire"]),
    ("zeta lease show d", &["deploy"]),
    ("zeta lease acquire x --policy ", &["kill", "never", "reclaim"]),
    ("zeta lease acquire x --policy=re", &["reclaim"]),
    ("zeta marker clear ", &["frozen"]),
    ("zeta persona get ", &["otto-cli"]),
    ("zeta completions f", &["fish"]),
    ("zeta bus publish --topic review", &["review-request"]),
    // What zeta does not know may be a file.
    ("zeta init --state-dir ", &["a-file"]),
];

/// A line whose answer has a blank, which bash must quote.
const ITEM: (&str, &[&str]) = ("zeta claim check --item ", &["fix it"]);

#[track_caller]
fn judge(shell: &str, line: &str, shown: &str, wanted: &[&str]) {
    let words: Vec<&str> = shown.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(words, wanted, "{shell}: {line:?}");
}

#[test]
fn bash_completes_what_exists() {
    let place = Place::new("bash");
    // What bash does with a line before it calls the function: `=` is a word of its own.
    let script = r#"
        source "$SCRIPT"
        line=${1//=/ = }; read -ra COMP_WORDS <<< "$line"
        [[ $line == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _zeta
        [[ ${#COMPREPLY[@]} = 0 ]] &&
            mapfile -t COMPREPLY < <(compgen -o default "${COMP_WORDS[-1]}")
        printf '%s\n' "${COMPREPLY[@]}""#;
    let quoted: (&str, &[&str]) = (ITEM.0, &["fix\\ it"]);
    for (line, wanted) in LINES.iter().chain(&[quoted]) {
        let out = run(&mut place.shell("bash", &["--norc", "-c", script, "bash", line]));
        judge("bash", line, &out.out, wanted);
    }
    let registered = "source \"$SCRIPT\"; complete -p zeta";
    let out = run(&mut place.shell("bash", &["--norc", "-c", registered]));
    assert!(out.out.contains("-F _zeta zeta"), "{out:?}");
}

#[test]
fn fish_completes_what_exists() {
    if find("fish").is_none() {
        return skip(test_name!(), "no fish");
    }
    let place = Place::new("fish");
    for (line, wanted) in LINES.iter().chain(&[ITEM]) {
        let script = "source $SCRIPT; complete -C $argv[1]";
        let out = run(&mut place.shell("fish", &["--no-config", "-c", script, line]));
        // A word, and its meaning after a tab; a value after `=` comes as the whole word.
        let words = out.out.lines().map(|line| line.split('\t').next().unwrap());
        let words: Vec<&str> = words.map(|word| word.trim_start_matches("--policy=")).collect();
        judge("fish", line, &words.join("\n"), wanted);
    }
}

#[test]
fn zsh_completes_what_exists() {
    if find("zsh").is_none() {
        return skip(test_name!(), "no zsh");
    }
    let place = Place::new("zsh");
    // The function as zsh calls it; the two functions of zsh that show its answer print it.
    let script = r#"
        compdef() { }
        _describe() { print -rl -- "${(@P)${@[-1]}%%:*}" }
        _files() { print -rl -- * }
        source "$SCRIPT"
        words=("${(@z)1}"); [[ $1 == *' ' ]] && words+=(""); CURRENT=$#words
        _zeta"#;
    for (line, wanted) in LINES.iter().chain(&[ITEM]) {
        let out = run(&mut place.shell("zsh", &["-f", "-c", script, "zsh", line]));
        let words: Vec<&str> =
            out.out.lines().map(|word| word.trim_start_matches("--policy=")).collect();
        judge("zsh", line, &words.join("\n"), wanted);
        assert_eq!(out.err, "", "{line}");
    }
    let terminal = r#"
        autoload -Uz compinit; compinit -u -d "$HOME/.dump"
        source "$SCRIPT"; print ${_comps[zeta]}"#;
    let out = run(&mut place.shell("zsh", &["-f", "-c", terminal]));
    assert_eq!(out.out.trim(), "_zeta", "{out:?}");
}

//! The reader of shell text against a real bash: which calls of git it makes, and where.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use zeta_core::hook::shell_text::{Verb, git_calls};

use crate::support::{LIMIT, Sandbox, finish, skip, test_name};

/// Texts that are put together, beside each part alone.
const COMPOSED: usize = 150;

/// Pushes as an agent writes them.
const PUSHES: &[&str] = &[
    "git push",
    "git push -u origin main 2>&1",
    "git push origin HEAD:main>/dev/null",
    "git push --force-with-lease origin +here:refs/heads/main",
    "git push origin \"$BRANCH\"",
    "git push origin \"$(git branch --show-current)\"",
    "git push origin `git branch --show-current`",
    "git -C a push origin 'main'",
    "\\git --no-pager -c x.y=z push \\\n  origin main",
    "gi\"t\" $'push' origin HEAD",
];

/// Programs that run a command.
const PROGRAMS: &[&str] = &[
    "",
    "timeout 60 ",
    "timeout -k 5 --signal TERM 60s ",
    "env -u NOTHING A=b ",
    "/usr/bin/env ",
    "nice -n 5 ",
    "nohup ",
    "stdbuf -oL ",
    "setsid -w ",
];

/// Words in front of a command.
const BEFORE: &[&str] = &[
    "",
    "time ",
    "time -p ",
    "! ",
    "command ",
    "A=1 B=\"x y\" ",
    "2>/dev/null ",
    "<<< \"$X\" ",
    "if false; then :; else echo x; fi; ",
    "if true && ! false; then echo; fi && ",
    "cd a && ",
];

/// Texts around any other; `@` stands for it.
const AROUND: &[&str] = &[
    "if\n@\nthen :; fi",
    "if true; then @\nfi",
    "if false; then :; elif true; then @\nelse :; fi",
    "{ @\n}",
    "( @\n)",
    "((1 << 2)); @",
    "((@\n) )",
    "for i in 1; do @\ndone",
    "for ((i = 0; i < 1; i++)); do @\ndone",
    "while\n@\ndo break; done",
    "until\n@\ndo break; done",
    "push() { @\n}; push",
    "function push { @\n}; push",
    "case x in (y) :;; x | z) @\n;; esac",
    "out=$(@\n)",
    "echo \"$(@\n)\"",
    "echo \"${NOTHING:-$( @\n)}\" '${' \"it's\"",
    "cat < <(@\n)",
    "( @\n) 2>&1 | cat",
    "( @\n) & wait",
    "cd a && @",
    "cd a; cd - >/dev/null; @",
    "cd a && ls & @",
    "cd a &&\n{ :; } & @",
    "cd a || if cd a; then cd ..; fi & @",
    "cd a; @\ncd ..",
    "(cd a && ls); @",
    "pushd a >/dev/null; @\npopd >/dev/null",
    "pushd a >&2; popd &>log; @",
    "echo 'a; git push' # git push\n@",
    "cat <<EOF >/dev/null\nit's (\ngit push\nEOF\n@",
    "cat <<-'E O'\n\tit's $(\n\tE O\n@",
    "git commit -m \"$(cat <<'EOF'\nIt's (one) \"quote\" ` more\nEOF\n)\" && @",
    "x=${y:-'}'} z=$'it\\'s' w=\"${y:-'}'}\"; @",
    "QUOTED bash -c ",
    "QUOTED eval ",
    "QUOTED timeout 9 bash -ec ",
    "BACKTICKS",
];

/// Puts a text into another.
fn around(form: &str, text: &str) -> String {
    match form.strip_prefix("QUOTED ") {
        Some(shell) => format!("{shell}'{}'", text.replace('\'', "'\\''")),
        None if form == "BACKTICKS" => {
            format!("x=`{}`", text.replace('\\', "\\\\").replace('`', "\\`"))
        }
        None => form.replace('@', text),
    }
}

/// Returns whether a here-document comes to stand inside of a substitution. There bash 5.2 loses
/// the `;` of the line behind it: `<(cat <<E`, `E`, `cd a; ls)` runs `cd a ls`.
fn is_misread(forms: &[&str]) -> bool {
    let document = forms.iter().position(|form| form.contains("EOF") || form.contains("E O"));
    document.is_some_and(|at| {
        let mut outer = forms.iter().skip(at + 1);
        outer.any(|form| form.contains("$(@") || form.contains("$( @") || form.contains("<(@"))
    })
}

/// Every part alone, and some put together. The push behind shows where a text leaves the shell.
fn texts(runner: &mut TestRunner) -> Vec<String> {
    let one = |parts: &[&'static str]| proptest::sample::select(parts.to_vec());
    let simple = (one(BEFORE), one(PROGRAMS), one(PUSHES))
        .prop_map(|(before, program, push)| format!("{before}{program}{push}"));
    let composed = (simple, proptest::collection::vec(one(AROUND), 1..4))
        .prop_filter("bash misreads it", |(_, forms)| !is_misread(forms))
        .prop_map(|(text, forms)| forms.iter().fold(text, |text, form| around(form, &text)));
    let mut texts: Vec<String> = PUSHES.iter().map(|push| (*push).to_owned()).collect();
    texts.extend(
        PROGRAMS.iter().chain(BEFORE).map(|before| format!("{before}git push origin main")),
    );
    for push in PUSHES {
        texts.extend(AROUND.iter().map(|form| around(form, push)));
    }
    texts.extend((0..COMPOSED).map(|_| composed.new_tree(runner).unwrap().current()));
    texts.into_iter().map(|text| format!("{text}\ngit push origin after")).collect()
}

/// What bash runs: a line for each push, with the number of the text, the directory and the ref.
const GIT: &str = r#"#!/bin/sh
at=$PWD
while :; do
    case $1 in
        -C) at=$at/$2; shift 2;;
        -c) shift 2;;
        -*) shift;;
        *) break;;
    esac
done
[ "$1" = branch ] && { echo here; exit; }
[ "$1" = push ] || exit 0
for ref do
    case $ref in -*) ;; *) last=$ref;; esac
done
echo "$NUMBER $at $last" >> "$BASE/../pushes"
"#;

/// Runs each text in a bash of its own, and returns its pushes: the directory and the branch.
fn pushes_of_bash(sandbox: &Sandbox, texts: &[String]) -> Vec<BTreeSet<(PathBuf, String)>> {
    let base = sandbox.dir.join("base");
    std::fs::create_dir_all(base.join("a/a/a/a/a/a/a/a/a/a")).unwrap();
    std::fs::create_dir(sandbox.dir.join("bin")).unwrap();
    let git = sandbox.dir.join("bin/git");
    std::fs::write(&git, GIT).unwrap();
    std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = "n=0; while IFS= read -r -d '' text; do \
        NUMBER=$n timeout 20 bash -c \"$text\" </dev/null >/dev/null 2>&1; n=$((n + 1)); done";
    let path = std::env::var("PATH").unwrap_or_default();
    let input = sandbox.dir.join("texts");
    std::fs::write(&input, texts.join("\0") + "\0").unwrap();
    let started = Instant::now();
    let child = Command::new("bash")
        .args(["-c", script])
        .current_dir(&base)
        .env("PATH", format!("{}:{path}", sandbox.dir.join("bin").display()))
        .env("BASE", &base)
        .env("BRANCH", "here")
        .stdin(std::fs::File::open(input).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = finish(child, started, LIMIT * 3);
    assert_eq!(out.status, 0, "{out:?}");
    let mut pushes = vec![BTreeSet::new(); texts.len()];
    for line in std::fs::read_to_string(sandbox.dir.join("pushes")).unwrap().lines() {
        let mut parts = line.split(' ');
        let mut part = || parts.next().unwrap();
        let (number, at, name): (usize, _, _) = (part().parse().unwrap(), part(), part());
        let name = name.rsplit(':').next().unwrap().trim_start_matches("refs/heads/");
        let name = if ["push", "HEAD", "here"].contains(&name) { "here" } else { name };
        pushes[number].insert((Path::new(at).canonicalize().unwrap(), name.to_owned()));
    }
    pushes
}

fn pushes_found(base: &Path, text: &str) -> BTreeSet<(PathBuf, String)> {
    let mut found = BTreeSet::new();
    for call in git_calls(text).into_iter().filter(|call| call.verb == Verb::Push) {
        let dir = call.dirs.iter().fold(base.to_path_buf(), |dir, next| dir.join(next));
        let dir = dir.canonicalize().unwrap_or(dir);
        let current = call.current.then(|| "here".to_owned());
        found.extend(call.branches.into_iter().chain(current).map(|name| (dir.clone(), name)));
    }
    found
}

/// The texts are the same in each run, because bash has faults of its own: another seed is for
/// looking at what differs, `ZETA_SHELL_SEED=7 cargo nextest run …`.
#[test]
fn every_push_that_bash_makes_is_found_where_it_makes_it() {
    if Command::new("bash").arg("-c").arg(":").status().is_err() {
        return skip(test_name!(), "needs bash");
    }
    let sandbox = Sandbox::new();
    let seed: u64 =
        std::env::var("ZETA_SHELL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("ZETA_SHELL_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let texts = texts(&mut TestRunner::new_with_rng(Config::default(), rng));
    let base = sandbox.dir.join("base");
    let made = pushes_of_bash(&sandbox, &texts);
    let base = base.canonicalize().unwrap();
    let mut wrong = Vec::new();
    // Some texts mean nothing: `$(((ls) ) )` is no arithmetic, and `time ! time` no command.
    let run = texts.iter().zip(&made).filter(|(_, made)| !made.is_empty());
    assert!(run.clone().count() * 10 > texts.len() * 9, "bash runs too few of the texts");
    for (text, made) in run {
        let found = pushes_found(&base, text);
        if found != *made {
            wrong.push(format!("{text}\n  bash: {made:?}\n  found: {found:?}"));
        }
    }
    let count = texts.len();
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n---\n"));
}

//! The shell agent of `docs/STANDARD.md`, taken from the page as it stands, against `zeta`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::oracle::judge_file;
use crate::support::{LIMIT, Out, Sandbox, can, run, skip, test_name, until, wait};

const PAGE: &str = include_str!("../../../../../docs/STANDARD.md");

/// Writes the page's one shell block to a file, once: another test may be reading it.
fn recipe(sandbox: &Sandbox) -> PathBuf {
    let (_, rest) = PAGE.split_once("```sh\n").expect("a shell block");
    let (block, rest) = rest.split_once("```\n").expect("its end");
    assert!(!rest.contains("```sh"), "the recipe stands in one block");
    let path = sandbox.dir.join("zeta.sh");
    if !path.exists() {
        std::fs::write(&path, block).unwrap();
    }
    path
}

fn shell(sandbox: &Sandbox, script: &str) -> Command {
    let mut command = sandbox.other("dash", &["-c"]);
    command.arg(format!(". {}; set -u; {script}", recipe(sandbox).display()));
    command
}

fn dash(sandbox: &Sandbox, script: &str) -> Out {
    run(&mut shell(sandbox, script))
}

fn missing(test: &str) -> bool {
    let missing = !can("dash", &["-c", ":"]) || !can("flock", &["--version"]);
    if missing {
        skip(test, "needs dash and flock(1)");
    }
    missing
}

/// Lets a zeta and a shell agent take turns; each prints what it read.
#[test]
fn records_are_understood_both_ways() {
    if missing(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new();
    // The shell makes the tree; zeta finds it in order.
    let out = dash(&sandbox, "zeta_acquire job 60000 otto-sh attempt-1 'a \"b\" \\ c'");
    assert_eq!(out.status, 0, "{out:?}");
    let first: u64 = out.out.trim().parse().unwrap();
    let look: serde_json::Value =
        serde_json::from_str(&sandbox.ok(&["lease", "show", "job", "--json"])).unwrap();
    assert_eq!(look["agent"], "otto-sh");
    assert_eq!(look["fencing_token"], first);
    assert_eq!(look["purpose"], "a \"b\" \\ c");
    assert_eq!(look["lease_state"], "held");
    let age = look["age_ms"].as_u64().unwrap();
    assert!(age < 60_000, "{look}");
    let out = sandbox.refused(&["lease", "acquire", "job"], 3);
    assert!(out.err.contains("otto-sh"), "{out:?}");
    let again = ["lease", "acquire", "job", "--as", "otto-sh", "--lease-id", "attempt-1"];
    assert_eq!(sandbox.ok(&again), first.to_string());
    sandbox.ok(&["lease", "check", "job", "--token", &first.to_string()]);
    sandbox.ok(&["lease", "renew", "job", "--token", &first.to_string()]);
    assert_eq!(dash(&sandbox, &format!("zeta_check job {first}")).status, 0);
    assert_eq!(dash(&sandbox, &format!("zeta_renew job {first}")).status, 0);
    sandbox.ok(&["lease", "release", "job", "--token", &first.to_string()]);
    // Released before, and not acquired since: the release succeeds for any caller.
    assert_eq!(dash(&sandbox, &format!("zeta_release job {first}")).status, 0);
    // zeta holds it; the shell is refused, reads it, and may act for it by its token.
    let second = sandbox.acquire(&["job", "--purpose", "über \u{202e}\"q\""]);
    assert!(second > first);
    let out = dash(&sandbox, "zeta_acquire job 60000");
    assert!(out.status == 3 && out.err.contains(&second.to_string()), "{out:?}");
    for verb in ["renew", "release", "check"] {
        let out = dash(&sandbox, &format!("zeta_{verb} job {first}"));
        assert!(out.status == 5 && out.err.contains("not yours"), "{verb}: {out:?}");
    }
    let before: serde_json::Value =
        serde_json::from_str(&sandbox.ok(&["lease", "show", "job", "--json"])).unwrap();
    assert_eq!(dash(&sandbox, &format!("zeta_renew job {second}")).status, 0);
    let after: serde_json::Value =
        serde_json::from_str(&sandbox.ok(&["lease", "show", "job", "--json"])).unwrap();
    assert_eq!(before["purpose"], after["purpose"]);
    assert_eq!(after["renew_seq"], 1);
    assert_eq!(dash(&sandbox, &format!("zeta_release job {second}")).status, 0);
    sandbox.refused(&["lease", "show", "job"], 4);
}

#[test]
fn a_shell_agent_takes_over_only_what_is_over() {
    if missing(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new();
    let third = sandbox.acquire(&["job", "--ttl", "500ms", "--grace", "700ms"]);
    assert_eq!(dash(&sandbox, "zeta_acquire job 60000").status, 3);
    let started = Instant::now();
    let taken = until(LIMIT, || dash(&sandbox, "zeta_acquire job 60000").status == 0);
    assert!(taken && started.elapsed() > Duration::from_millis(700), "{:?}", started.elapsed());
    for verb in ["renew", "release", "check"] {
        sandbox.refused(&["lease", verb, "job", "--token", &third.to_string()], 5);
    }
    for policy in ["never", "kill"] {
        sandbox.acquire(&[policy, "--ttl", "100ms", "--grace", "0", "--policy", policy]);
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(dash(&sandbox, &format!("zeta_acquire {policy} 60000")).status, 3);
    }
    // A damaged, a foreign and a strange thing: not taken, not touched, no hang.
    for (lease, text, status) in [
        ("torn", "schema: 1\nkind: \"lease\"\nlea", 3),
        ("twice", "schema: 1\nschema: 1\nend: true\n", 3),
        ("foreign", "pid: 7\n", 3),
    ] {
        std::fs::write(sandbox.lock(lease), text).unwrap();
        assert_eq!(
            dash(&sandbox, &format!("zeta_acquire {lease} 60000")).status,
            status,
            "{lease}"
        );
        assert_eq!(std::fs::read_to_string(sandbox.lock(lease)).unwrap(), text);
    }
    assert!(can("mkfifo", &[sandbox.lock("fifo").to_str().unwrap()]));
    let out = dash(&sandbox, "zeta_acquire fifo 60000");
    assert!(out.status == 7 && out.took < Duration::from_secs(5), "{out:?}");
    // And zeta takes over from a shell agent that died, if that agent named its process.
    assert_eq!(dash(&sandbox, "ZETA_PID=$$ zeta_acquire dead 600000").status, 0);
    assert!(sandbox.ok(&["lease", "acquire", "dead", "--json"]).contains("\"holder_dead\""));
}

#[test]
fn personas_are_understood_both_ways() {
    if missing(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new();
    assert_eq!(dash(&sandbox, "zeta_persona otto-sh working 'fix \"it\"'").status, 0);
    sandbox.ok(&["persona", "set", "otto-sh", "branch=main", "--as", "otto-sh"]);
    assert_eq!(dash(&sandbox, "zeta_persona otto-sh waiting").status, 0);
    let seen: serde_json::Value =
        serde_json::from_str(&sandbox.ok(&["persona", "get", "otto-sh", "--json"])).unwrap();
    assert_eq!(seen["status"], "waiting", "{seen}");
    assert_eq!(seen["branch"], "main", "{seen}");
    assert_eq!(seen["beat_seq"], 3, "{seen}");
    let line = std::fs::read_to_string(sandbox.node().join("last-seen.iso")).unwrap();
    assert!(line.len() == 28 && line.ends_with("Z\n"), "{line:?}");
}

#[test]
fn wrong_calls_of_the_recipe_are_refused() {
    if missing(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new();
    for call in [
        "zeta_acquire ../x 60000",
        "zeta_acquire X 60000",
        "zeta_acquire x 0",
        "zeta_acquire x ten",
        "zeta_acquire x 60000 Otto",
        "zeta_renew x twelve",
        "zeta_persona a_b working",
        "zeta_persona a \"$(printf 'a\\nb')\"",
    ] {
        assert_eq!(dash(&sandbox, call).status, 2, "{call}");
    }
    assert!(!sandbox.state.exists());
    std::fs::create_dir(&sandbox.state).unwrap();
    std::fs::set_permissions(&sandbox.state, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    assert_eq!(dash(&sandbox, "zeta_acquire x 60000").status, 7);
    assert_eq!(std::fs::read_dir(&sandbox.state).unwrap().count(), 0);
}

/// Shell agents and `zeta` processes work under one lease; the log is the judge.
#[test]
fn shell_and_zeta_exclude_each_other() {
    if missing(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new();
    let log = sandbox.dir.join("log");
    let stop = sandbox.dir.join("stop");
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let say = format!("say() {{ printf '%s %s - %s\\n' $1 $2 $$ >>{}; }}", log.display());
    let turn = |take: &str, give: &str| {
        let body = format!("t=$({take}) || continue; say enter $t; say leave $t; {give} || exit 9");
        format!("{say}; while ! [ -e {} ]; do {body}; done; exit 0", stop.display())
    };
    // The shell agent does not queue: each side must leave the lease lying now and then.
    let by_shell =
        turn("sleep 0.05; zeta_acquire shared 600000 2>/dev/null", "zeta_release shared $t");
    let by_zeta = turn(
        &format!("sleep 0.1; {zeta} lease acquire shared --wait 5s -q"),
        &format!("{zeta} lease release shared --token $t"),
    );
    let mut crowd: Vec<Child> = Vec::new();
    for script in [&by_shell, &by_zeta, &by_shell, &by_zeta] {
        crowd.push(shell(&sandbox, script).stdout(Stdio::null()).spawn().unwrap());
    }
    let names: Vec<String> = crowd.iter().map(|child| format!(" {}", child.id())).collect();
    let grants = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let count = |name: &String| {
            text.lines().filter(|l| l.starts_with("enter") && l.ends_with(name)).count()
        };
        (count(&names[0]) + count(&names[2]), count(&names[1]) + count(&names[3]))
    };
    until(Duration::from_secs(20), || {
        std::thread::sleep(Duration::from_millis(50));
        let (shell, zeta) = grants();
        shell >= 60 && zeta >= 60
    });
    std::fs::write(&stop, "").unwrap();
    for mut child in crowd {
        assert_eq!(wait(&mut child, LIMIT), 0, "a release was refused");
    }
    let verdict = judge_file(&log, &BTreeSet::new());
    assert_eq!(verdict.violations, Vec::<String>::new());
    let (shell, zeta) = grants();
    eprintln!("{shell} grants to the shell, {zeta} to zeta, 0 violations");
    assert!(shell >= 10 && zeta >= 10, "too little happened: shell {shell}, zeta {zeta}");
}

#[test]
fn a_yaml_reader_reads_the_same() {
    // Another Python on the path may not see the package that the system's has.
    let pythons = ["python3", "/usr/bin/python3"];
    let Some(python) = pythons.into_iter().find(|python| can(python, &["-c", "import yaml"]))
    else {
        return skip(test_name!(), "needs python3 with yaml");
    };
    let sandbox = Sandbox::new();
    let odd = "no: 1e3 # 12:30 \u{85}\u{2028}\u{feff}\u{1f600} \"q\" \\ 'x' \t{a: b}";
    sandbox.acquire(&["job", "--purpose", odd, "--pr", "77"]);
    sandbox.ok(&["marker", "set", "fact", "a=no", "b=0x10", "c=2026-01-01", "d=", "e=~"]);
    let script = "import json,sys,yaml\n\
        print(json.dumps([yaml.safe_load(open(p, newline='')) for p in sys.argv[1:]]))";
    let mut python = sandbox.other(python, &["-c", script]);
    python.arg(sandbox.lock("job")).arg(sandbox.node().join("fact.marker"));
    let out = run(&mut python);
    assert_eq!(out.status, 0, "{out:?}");
    let read: serde_json::Value = serde_json::from_str(&out.out).unwrap();
    let [lease, marker] = [&read[0], &read[1]];
    assert_eq!(lease["purpose"], odd);
    assert_eq!(lease["pr"], 77);
    assert_eq!(lease["end"], true);
    assert!(lease["fencing_token"].is_u64() && lease["acquired_at"].is_string());
    for (key, value) in [("a", "no"), ("b", "0x10"), ("c", "2026-01-01"), ("d", ""), ("e", "~")] {
        assert_eq!(marker[key], value);
    }
}

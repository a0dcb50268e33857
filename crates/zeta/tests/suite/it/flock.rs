//! `lease exec` where scripts have `flock(1)` today: same flags, same statuses, plus the token.

use std::time::Duration;

use crate::support::{Sandbox, run};

fn exec(sandbox: &Sandbox, args: &[&str], script: &str) -> crate::support::Out {
    let all: Vec<&str> = ["lease", "exec", "job"].iter().chain(args).copied().collect();
    run(sandbox.cmd(&all).args(["--", "sh", "-c", script]))
}

#[test]
fn the_status_is_the_command_s() {
    let sandbox = Sandbox::new();
    for (script, status) in
        [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
    {
        assert_eq!(exec(&sandbox, &[], script).status, status, "{script}");
        assert_eq!(sandbox.zeta(&["lease", "show", "job"]).status, 4, "it was not given back");
    }
    for (command, status) in [("/nonexistent", 127), ("/etc/passwd", 126)] {
        let out = sandbox.refused(&["lease", "exec", "job", "--", command], status);
        assert!(out.err.contains(command), "{out:?}");
        assert_eq!(sandbox.zeta(&["lease", "show", "job"]).status, 4, "it was not given back");
    }
}

#[test]
fn the_command_knows_its_grant() {
    let sandbox = Sandbox::new();
    let script = "echo $ZETA_LEASE; echo $ZETA_NODE; echo $ZETA_STATE_DIR; \
                  grep -c \"^fencing_token: $ZETA_FENCING_TOKEN$\" \
                  $ZETA_STATE_DIR/nodes/$ZETA_NODE/job.lock";
    let out = exec(&sandbox, &["--as", "otto-cli"], script);
    let node = sandbox.node();
    let node = node.file_name().unwrap().to_str().unwrap();
    assert_eq!(out.out, format!("job\n{node}\n{}\n1\n", sandbox.state.display()), "{out:?}");
}

#[test]
fn conflicts_end_as_flock_s_do() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["job"]);
    let effect = sandbox.dir.join("effect");
    let script = format!("touch {}", effect.display());
    for (args, status) in [
        (vec!["-n"], 3),
        (vec!["--nonblock"], 3),
        (vec!["--nb"], 3),
        (vec!["-n", "-E", "0"], 0),
        (vec!["-n", "-E", "99"], 99),
        (vec!["-w", "0.2"], 6),
        (vec!["--timeout", "0.2"], 6),
        (vec!["-w", "0"], 6),
        (vec!["-w", "0.2", "-E", "75"], 75),
        (vec!["-w", "0.2", "--conflict-exit-code", "75"], 75),
    ] {
        let out = exec(&sandbox, &args, &script);
        assert_eq!(out.status, status, "{args:?}: {out:?}");
        assert!(out.took < Duration::from_secs(5), "{args:?}: {out:?}");
        assert!(!effect.exists(), "{args:?} ran its command");
    }
}

#[test]
fn commands_run_one_after_the_other() {
    let sandbox = Sandbox::new();
    let log = sandbox.dir.join("log");
    let script = format!("echo in >>{0}; sleep 0.05; echo out >>{0}", log.display());
    let calls: Vec<_> = (0..8)
        .map(|_| sandbox.cmd(&["lease", "exec", "job", "-q", "--", "sh", "-c", &script]).spawn())
        .collect();
    for call in calls {
        assert_eq!(crate::support::wait(&mut call.unwrap(), crate::support::LIMIT), 0);
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "in\nout\n".repeat(8));
}

#[test]
fn stdin_stdout_and_stderr_are_the_command_s() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.other("sh", &["-c"]);
    let zeta = env!("CARGO_BIN_EXE_zeta");
    command.arg(format!("echo hello | {zeta} lease exec job -- sh -c 'cat; echo oops >&2'"));
    let out = run(&mut command);
    assert_eq!((out.out.as_str(), out.err.as_str()), ("hello\n", "oops\n"), "{out:?}");
}

#[test]
fn a_fenced_command_is_bounded_and_cannot_wait_for_itself() {
    let sandbox = Sandbox::new();
    let limits = ["--fenced", "--fence-timeout", "500ms"];
    let out = exec(&sandbox, &limits, "sleep 30");
    assert!(out.status == 1 && out.took < Duration::from_secs(8), "{out:?}");
    assert!(out.err.contains("ran longer than"), "{out:?}");
    let inner = format!("{} lease renew job", env!("CARGO_BIN_EXE_zeta"));
    let out = exec(&sandbox, &["--fenced"], &inner);
    assert!(out.status == 6 && out.took < Duration::from_secs(3), "{out:?}");
    // A grandchild that stays behind does not keep the guard.
    let out = exec(&sandbox, &["--fenced"], "sleep 15 >/dev/null 2>&1 & exit 0");
    assert!(out.status == 0 && out.took < Duration::from_secs(10), "{out:?}");
    let out = sandbox.zeta(&["lease", "acquire", "job"]);
    assert!(out.status == 0 && out.took < Duration::from_secs(4), "{out:?}");
}

#[test]
fn nobody_waits_behind_a_guard_longer_than_asked() {
    let sandbox = Sandbox::new();
    let ready = sandbox.dir.join("ready");
    let script = format!("touch {}; sleep 4", ready.display());
    let mut fenced = sandbox.cmd(&["lease", "exec", "job", "--fenced", "--", "sh", "-c", &script]);
    let mut fenced = fenced.spawn().unwrap();
    assert!(crate::support::until(crate::support::LIMIT, || ready.exists()));
    let out = exec(&sandbox, &["-w", "0.3", "-E", "75"], "true");
    assert!(out.status == 75 && out.took < Duration::from_secs(3), "{out:?}");
    assert_eq!(crate::support::wait(&mut fenced, crate::support::LIMIT), 0);
}

//! What a wrapper makes of the command that it starts, and of its stdout.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use serde_json::Value;

use crate::support::{Sandbox, is_root, run};

#[test]
fn a_script_that_names_no_shell_runs_with_sh() {
    let sandbox = Sandbox::new();
    let script = sandbox.dir.join("tool");
    std::fs::write(&script, "echo \"$1-$ZETA_LEASE\"\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", sandbox.dir.display());
    for name in ["tool", script.to_str().unwrap()] {
        let mut command = sandbox.cmd(&["lease", "exec", "job", "--", name, "a b"]);
        let out = run(command.env("PATH", &path));
        assert_eq!((out.status, out.out.as_str()), (0, "a b-job\n"), "{name}: {out:?}");
    }
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o644)).unwrap();
    let out = sandbox.zeta(&["lease", "exec", "job", "--", script.to_str().unwrap()]);
    assert_eq!(out.status, 126, "{out:?}");
    assert_eq!(sandbox.zeta(&["lease", "exec", "job", "--", "no-such-tool"]).status, 127);
}

/// Such a `PATH` has a user who kept that of root.
#[test]
fn a_closed_directory_in_path_does_not_change_the_status_of_a_command_that_is_not_there() {
    let sandbox = Sandbox::new();
    let place = sandbox.dir.join("place");
    let closed = place.join("closed");
    std::fs::create_dir_all(&closed).unwrap();
    std::fs::write(place.join("no-program"), "").unwrap();
    for (dir, mode) in [(&*sandbox.dir, 0o755), (&place, 0o1777), (&closed, 0o000)] {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
    }
    let path = format!("{}:{}:/usr/bin:/bin", closed.display(), place.display());
    for (name, status) in [("no-such-tool", 127), ("no-program", 126)] {
        let mut command = sandbox.cmd(&["lease", "exec", "job", "--", name]);
        command.env("PATH", &path).env("HOME", &place).env("ZETA_STATE_DIR", place.join("tree"));
        if is_root() {
            command.uid(65533);
        }
        let out = run(&mut command);
        assert_eq!(out.status, status, "{out:?}");
    }
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
}

/// Stdout is the command's, so errors of the wrapper stand on stderr, as objects with `--json`.
#[test]
fn a_wrapper_writes_nothing_into_its_command_s_stdout() {
    let sandbox = Sandbox::new();
    let fenced = ["lease", "exec", "job", "--json", "--fenced", "--fence-timeout", "300ms"];
    let out = run(sandbox.cmd(&fenced).args(["--", "sh", "-c", "echo data; sleep 30"]));
    assert_eq!((out.status, out.out.as_str()), (1, "data\n"), "{out:?}");
    let object: Value = serde_json::from_str(&out.err).unwrap();
    assert_eq!(object["error"], "fault");
    for verb in [&["run", "--as", "a"][..], &["lease", "exec", "job"]] {
        let args = [verb, &["--json", "--", "no-such-tool"]].concat();
        let out = sandbox.zeta(&args);
        assert_eq!((out.status, out.out.as_str()), (127, ""), "{out:?}");
        let object: Value = serde_json::from_str(&out.err).unwrap();
        assert_eq!(object["exit_status"], 127, "{out:?}");
    }
}

#[test]
fn a_command_needs_no_dashes_before_it() {
    let sandbox = Sandbox::new();
    for words in [
        "run --as a sh -c",
        "run --as a -- sh -c",
        "lease exec job sh -c",
        "lease exec job -n -- sh -c",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = sandbox.cmd(&words);
        let out = run(command.args([r#"echo "$0|$*""#, "--json", "--", "-n", "--as"]));
        assert_eq!((out.status, out.out.as_str()), (0, "--json|-- -n --as\n"), "{out:?}");
    }
    // An unknown option before the command is no word of the command.
    for words in [&["run", "--bet", "1s", "true"][..], &["lease", "exec", "job", "--wiat", "true"]]
    {
        sandbox.refused(words, 2);
    }
    sandbox.refused(&["lease", "exec", "./deploy.sh"], 2);
    let out = sandbox.refused(&["run", "claude-1", "--", "claude"], 127);
    assert!(out.err.contains("zeta run --as claude-1 -- ..."), "{out:?}");
}

#[test]
fn the_token_of_the_environment_is_of_its_own_lease_alone() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["bb"]);
    let check = format!("exec {} lease check $0", env!("CARGO_BIN_EXE_zeta"));
    let call =
        |name| run(sandbox.cmd(&["lease", "exec", "aa", "--", "sh", "-c", &check]).arg(name));
    assert_eq!(call("aa").status, 0);
    let out = call("bb");
    assert_eq!(out.status, 2, "{out:?}");
    assert!(out.err.contains("of lease \"aa\"") && !out.err.contains("stop now"), "{out:?}");
}

#[test]
fn a_command_inherits_no_descriptor_of_the_state_directory() {
    let sandbox = Sandbox::new();
    // The second time the token file is there, and is opened.
    for _ in 0..2 {
        let mut exec = sandbox.cmd(&["lease", "exec", "job", "--", "ls", "-l", "/proc/self/fd"]);
        let out = run(&mut exec);
        assert!(out.status == 0 && out.out.contains("/proc/"), "{out:?}");
        assert!(!out.out.contains(sandbox.state.to_str().unwrap()), "{out:?}");
    }
}

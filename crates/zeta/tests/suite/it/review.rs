//! What a hostile review found and what was mended: each test holds one of those doors shut.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{LIMIT, Out, Sandbox, can, finish, run, signal, skip, test_name, until, wait};

/// What scripts use: `$Z` is zeta, `$D` the sandbox; a script and its test tell each other by files
/// there when to go on. `for_file` gives up by itself: no script outlives its test for long.
const PRELUDE: &str = r#"
for_file() {
    i=0
    until [ -e "$D/$1" ] || [ $i -ge 400 ]; do sleep .05; i=$((i + 1)); done
}
"#;

/// A call of zeta with a script as its command.
fn scripted(sandbox: &Sandbox, args: &[&str], script: &str) -> Command {
    let mut command = sandbox.cmd(args);
    command.args(["--", "sh", "-c", &format!("{PRELUDE}{script}")]);
    command.env("Z", env!("CARGO_BIN_EXE_zeta")).env("D", &sandbox.dir);
    command
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Out {
    finish(child, Instant::now(), LIMIT)
}

/// Says something to a script.
fn say(sandbox: &Sandbox, file: &str) {
    std::fs::write(sandbox.dir.join(file), "").unwrap();
}

/// Waits until a script said something.
fn heard(sandbox: &Sandbox, file: &str) {
    assert!(
        until(LIMIT, || sandbox.dir.join(file).exists()),
        "the script did not come to '{file}'"
    );
}

fn text(sandbox: &Sandbox, file: &str) -> String {
    std::fs::read_to_string(sandbox.dir.join(file)).unwrap_or_default()
}

fn persona(sandbox: &Sandbox, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(sandbox.node().join("persona-a.state")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
    line.map(str::to_owned)
}

fn locked(sandbox: &Sandbox, lease: &str) -> bool {
    !can("flock", &["-n", sandbox.guard(lease).to_str().unwrap(), "true"])
}

/// Stops a keeper at a moment when it is not just renewing: that would keep everybody out.
fn stop_outside_guard(sandbox: &Sandbox, pid: u32) {
    let stat = format!("/proc/{pid}/stat");
    let stopped = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "));
    let outside = until(LIMIT, || {
        signal(pid, Signal::STOP);
        if until(LIMIT / 4, stopped) && !locked(sandbox, "lk") {
            return true;
        }
        signal(pid, Signal::CONT);
        std::thread::sleep(Duration::from_millis(20));
        false
    });
    assert!(outside, "it is inside the guard whenever it is looked at");
}

/// Reports whether strace can inject a delay here; prints a line if not.
fn strace_or_skip(test: &str) -> bool {
    let can =
        can("strace", &["-qq", "-o", "/dev/null", "-e", "inject=getpid:delay_enter=1", "true"]);
    if !can {
        skip(test, "needs strace, and the right to trace");
    }
    can
}

/// A call of zeta in which strace delays the entry of system calls.
fn delayed(sandbox: &Sandbox, inject: &str, args: &[&str]) -> Command {
    let mut command = sandbox.other("strace", &["-qq", "-o"]);
    command.arg(sandbox.dir.join("strace"));
    command.args(["-e", &format!("inject={inject}"), env!("CARGO_BIN_EXE_zeta")]).args(args);
    command
}

#[test]
fn a_grant_to_a_waiter_whose_session_has_ended_is_not_born_free() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["lk", "--as", "b", "--ttl", "10m"]).to_string();
    let script = r#"("$Z" lease acquire lk --ttl 10m --wait 20s; echo $? >"$D/late.new"
        mv "$D/late.new" "$D/late") >/dev/null 2>&1 &
        for_file go"#;
    let wrapper = spawn(&mut scripted(&sandbox, &["--as", "a", "run"], script));
    let queue = || sandbox.guard("lk").join("queue");
    assert!(until(LIMIT, || std::fs::read_dir(queue()).is_ok_and(|dir| dir.count() > 0)));
    say(&sandbox, "go");
    assert_eq!(end(wrapper).status, 0);
    sandbox.ok(&["--as", "b", "lease", "release", "lk", "--token", &token]);
    heard(&sandbox, "late");
    assert_eq!(text(&sandbox, "late"), "0\n");
    sandbox.refused(&["--as", "c", "lease", "acquire", "lk"], 3);
}

#[test]
fn a_grant_to_a_session_that_has_ended_is_not_born_free() {
    let sandbox = Sandbox::new();
    let late = r#"(for_file go; "$Z" lease acquire lk --ttl 10m; echo $? >"$D/late.new"
        mv "$D/late.new" "$D/late") >/dev/null 2>&1 &
        exit 0"#;
    let out = run(&mut scripted(&sandbox, &["--as", "a", "run"], late));
    assert_eq!(out.status, 0, "{out:?}");
    say(&sandbox, "go");
    heard(&sandbox, "late");
    // To refuse the late call would be as good; to grant it and leave it free would not.
    assert_eq!(text(&sandbox, "late"), "0\n");
    sandbox.refused(&["--as", "b", "lease", "acquire", "lk"], 3);
}

#[test]
fn the_end_of_a_run_leaves_alone_what_an_exec_of_its_session_holds() {
    let sandbox = Sandbox::new();
    let script = r#""$Z" lease exec lk -- sh -c "echo >$D/inside; $W for_file stop" \
        >/dev/null 2>&1 &
        for_file inside; sleep .3"#;
    let mut command = scripted(&sandbox, &["--as", "a", "run"], script);
    let out = run(command.env("W", PRELUDE));
    assert_eq!(out.status, 0, "{out:?}");
    heard(&sandbox, "inside");
    sandbox.refused(&["--as", "b", "lease", "acquire", "lk"], 3);
    say(&sandbox, "stop");
    let acquire = ["--as", "b", "lease", "acquire", "lk"];
    assert!(
        until(LIMIT, || sandbox.zeta(&acquire).status == 0),
        "its own keeper did not release it"
    );
}

#[test]
fn nobody_gives_a_lease_back_and_is_killed_for_it_then() {
    if !strace_or_skip(test_name!()) {
        return;
    }
    for verb in ["release", "renew"] {
        let sandbox = Sandbox::new();
        let script = format!(
            r#"T=$("$Z" lease acquire lk --ttl 300ms --grace 300ms --policy kill)
            echo >"$D/ready"; for_file go
            "$Z" lease {verb} lk --token $T; echo "{verb}=$?" >>"$D/said"
            sleep 3; echo survived >>"$D/said""#
        );
        let mut holder = scripted(&sandbox, &["--as", "a", "run", "--max-hold", "1ms"], &script);
        let mut holder = holder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        heard(&sandbox, "ready");
        let show = ["lease", "show", "lk", "--json"];
        assert!(until(LIMIT, || sandbox.zeta(&show).out.contains("\"lease_state\":\"overdue\"")));
        let inject = "pidfd_send_signal:delay_enter=1500000:when=1";
        let acquire = ["--as", "b", "lease", "acquire", "lk", "--wait", "10s", "--json"];
        let taker = spawn(&mut delayed(&sandbox, inject, &acquire));
        // It is about to kill: either inside the guard, or seen by strace on its way.
        let about =
            || locked(&sandbox, "lk") || text(&sandbox, "strace").contains("pidfd_send_signal");
        assert!(until(LIMIT, about), "no process was to be killed");
        std::thread::sleep(Duration::from_millis(200));
        say(&sandbox, "go");
        let status = wait(&mut holder, LIMIT);
        let taken = end(taker);
        let said = text(&sandbox, "said");
        let survived = said.contains("survived") && status == 0;
        assert!(survived || !said.contains("=0"), "{verb}: {status}, {said:?}, {taken:?}");
        // It asked while the other one was about to kill it, so it has to be killed; what it asked
        // for may still be done afterwards, by a process that is not waited for any more.
        assert!(status == 137 && said.is_empty(), "{verb}: {status}, {said:?}, {taken:?}");
        assert_eq!(taken.status, 0, "{taken:?}");
    }
}

#[test]
fn a_release_in_a_removed_guard_leaves_the_successor_s_record() {
    if !strace_or_skip(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["lk", "--as", "a", "--ttl", "300ms"]).to_string();
    let inject = "renameat,renameat2,unlinkat:delay_enter=2500000:when=1";
    let release = ["--as", "a", "lease", "release", "lk", "--token", &token];
    let release = spawn(&mut delayed(&sandbox, inject, &release));
    assert!(until(LIMIT, || locked(&sandbox, "lk")), "the release is not inside the guard");
    std::thread::sleep(Duration::from_millis(300));
    std::fs::remove_dir_all(sandbox.guard("lk")).unwrap();
    let next = sandbox.acquire(&["lk", "--as", "b", "--ttl", "10m", "--wait", "10s"]).to_string();
    let out = end(release);
    assert_eq!(out.status, 7, "{out:?}");
    sandbox.ok(&["--as", "b", "lease", "check", "lk", "--token", &next]);
}

#[test]
fn an_occupied_persona_guard_costs_the_session_neither_leases_nor_signals() {
    let sandbox = Sandbox::new();
    let script = r#"sleep 30 & S=$!
        trap 'kill $S; echo >"$D/term"; exit 9' TERM
        "$Z" lease acquire lk --ttl 1s && echo >"$D/ready"
        wait"#;
    let wrapper = spawn(&mut scripted(&sandbox, &["--as", "a", "run", "--beat", "200ms"], script));
    heard(&sandbox, "ready");
    let guard = sandbox.node().join(".guard/persona-a.state");
    let mut inside = sandbox.other("flock", &["--no-fork", "-x"]);
    let mut inside = inside.arg(&guard).args(["sleep", "20"]).spawn().unwrap();
    assert!(until(LIMIT, || !can("flock", &["-n", guard.to_str().unwrap(), "true"])));
    std::thread::sleep(Duration::from_millis(3500));
    sandbox.refused(&["--as", "b", "lease", "acquire", "lk"], 3);
    signal(wrapper.id(), Signal::TERM);
    let passed = until(Duration::from_secs(2), || sandbox.dir.join("term").exists());
    let occupied = inside.try_wait().unwrap().is_none();
    let out = end(wrapper);
    inside.kill().unwrap();
    inside.wait().unwrap();
    assert!(passed && occupied, "the signal stayed with the wrapper: {out:?}");
    assert_eq!(out.status, 9, "{out:?}");
}

#[test]
fn a_break_and_a_takeover_under_a_run_end_it_and_name_the_breaker() {
    let sandbox = Sandbox::new();
    let script = r#""$Z" lease acquire lk --ttl 10m >"$D/token"; echo >"$D/ready"; exec sleep 30"#;
    let args = ["--as", "a", "run", "--on-lost", "term", "--beat", "1s"];
    let wrapper = spawn(&mut scripted(&sandbox, &args, script));
    heard(&sandbox, "ready");
    // The wrapper keeps what it has seen; that it renewed is no event that could be waited for.
    std::thread::sleep(Duration::from_millis(1500));
    let token = text(&sandbox, "token");
    let reason = ["--expect", token.trim(), "--reason", "it hangs since noon"];
    sandbox.ok(&[&["--as", "boss", "lease", "break", "lk"][..], &reason].concat());
    sandbox.acquire(&["lk", "--as", "b", "--ttl", "10m"]);
    let out = end(wrapper);
    assert_eq!(out.status, 5, "{out:?}");
    assert!(out.err.contains("boss") && out.err.contains("it hangs since noon"), "{out:?}");
    sandbox.refused(&["--as", "c", "lease", "acquire", "lk"], 3);
}

#[test]
fn a_lease_that_was_given_back_behind_a_stopped_wrapper_is_not_lost() {
    let sandbox = Sandbox::new();
    // A wrapper that is stopped inside the guard would keep its own agent out: stopped again, then.
    let script = r#"stop() {
            for n in $(seq 50); do
                kill -STOP $PPID; sleep .05
                flock -n "$ZETA_STATE_DIR/nodes/$ZETA_NODE/.guard/lk.lock" true && return
                kill -CONT $PPID; sleep .02
            done
        }
        T=$("$Z" lease acquire lk --ttl 400ms)
        sleep .3; stop; sleep .7
        "$Z" lease release lk --token $T; echo released=$?
        kill -CONT $PPID; sleep .7; exit 7"#;
    let args = ["--as", "a", "run", "--on-lost", "term", "--beat", "200ms"];
    let out = run(&mut scripted(&sandbox, &args, script));
    assert!(out.out.contains("released=0"), "{out:?}");
    assert_eq!(out.status, 7, "{out:?}");
    for word in ["not yours", "broken", "lost"] {
        assert!(!out.err.contains(word), "{out:?}");
    }
}

#[test]
fn a_lease_exec_that_was_replaced_tells_the_loss_when_it_wakes_up() {
    for (on_lost, status) in [("warn", 0), ("term", 5)] {
        let sandbox = Sandbox::new();
        let limits = ["--ttl", "400ms", "--grace", "100ms", "--on-lost", on_lost];
        let args = [&["--as", "a", "lease", "exec", "lk"][..], &limits].concat();
        let mut command = scripted(&sandbox, &args, "echo >$D/ready; for_file stop");
        let errors = std::fs::File::create(sandbox.dir.join("errors")).unwrap();
        let mut wrapper = command.stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        heard(&sandbox, "ready");
        stop_outside_guard(&sandbox, wrapper.id());
        sandbox.acquire(&["lk", "--as", "b", "--ttl", "10m", "--wait", "15s"]);
        signal(wrapper.id(), Signal::CONT);
        // While the command runs, not after it.
        let reported = until(LIMIT / 2, || text(&sandbox, "errors").contains("not yours any more"));
        if on_lost == "warn" {
            say(&sandbox, "stop");
        }
        let ended = wait(&mut wrapper, LIMIT / 2);
        let errors = text(&sandbox, "errors");
        assert!(reported && errors.contains("b ("), "{on_lost}: {errors}");
        assert_eq!(ended, status, "{on_lost}: {errors}");
        sandbox.refused(&["--as", "c", "lease", "acquire", "lk"], 3);
    }
}

#[test]
fn a_last_seen_line_that_is_a_link_does_not_stop_the_agent_s_beats() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat"]);
    let target = sandbox.dir.join("target");
    std::fs::write(&target, "precious\n").unwrap();
    let line = sandbox.node().join("last-seen.iso");
    let _ = std::fs::remove_file(&line);
    std::os::unix::fs::symlink(&target, &line).unwrap();
    let script = "echo >$D/ready; for_file stop";
    let wrapper = spawn(&mut scripted(&sandbox, &["--as", "a", "run", "--beat", "100ms"], script));
    heard(&sandbox, "ready");
    let seq = || persona(&sandbox, "beat_seq").and_then(|seq| seq.parse::<u64>().ok());
    let beaten = until(LIMIT / 2, || seq().is_some_and(|seq| seq >= 5));
    say(&sandbox, "stop");
    let out = end(wrapper);
    assert!(beaten, "beat_seq is {:?}: {out:?}", seq());
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(text(&sandbox, "target"), "precious\n");
    assert!(line.is_symlink());
}

#[test]
fn a_persona_that_was_cleared_under_its_run_comes_back_with_its_processes() {
    let sandbox = Sandbox::new();
    let script = r#"echo >"$D/ready"; for_file go
        "$Z" lease acquire lk --ttl 10m && echo >"$D/taken"; for_file stop"#;
    let wrapper = spawn(&mut scripted(&sandbox, &["--as", "a", "run", "--beat", "200ms"], script));
    let pid = wrapper.id().to_string();
    heard(&sandbox, "ready");
    let session = persona(&sandbox, "session");
    sandbox.ok(&["--as", "a", "persona", "clear", "a"]);
    assert!(until(LIMIT / 2, || persona(&sandbox, "pid").is_some()), "it did not come back whole");
    assert_eq!(persona(&sandbox, "pid"), Some(pid.clone()));
    assert_eq!(persona(&sandbox, "session"), session);
    say(&sandbox, "go");
    heard(&sandbox, "taken");
    let record = std::fs::read_to_string(sandbox.lock("lk")).unwrap();
    say(&sandbox, "stop");
    let out = end(wrapper);
    assert!(record.contains(&format!("\npid: {pid}\n")), "{record}");
    assert_eq!(out.status, 0, "{out:?}");
}

/// A terminal with a shell in it, which types when it is asked and prints all that it saw.
const TERMINAL: &str = r#"
import os, pty, select, signal, sys, time
zeta = sys.argv[1]
script = zeta + """ lease exec lk --fenced --fence-timeout 5s -- \
    sh -c 'echo ask; read x; echo got $x'
echo status=$?; echo then; read y; echo again $y"""
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", script])
seen, end = b"", time.time() + 12
types = [(b"ask\r\n", b"hello\n"), (b"then\r\n", b"more\n")]
while time.time() < end:
    if not select.select([fd], [], [], 0.1)[0]:
        continue
    try:
        read = os.read(fd, 4096)
    except OSError:
        break
    if not read:
        break
    seen += read
    if types and types[0][0] in seen:
        if len(types) == 1:
            print("front", os.tcgetpgrp(fd) == pid)
        os.write(fd, types.pop(0)[1])
else:
    os.kill(pid, signal.SIGKILL)
print(seen.decode(errors="replace"))
"#;

#[test]
fn a_fenced_command_reads_from_the_terminal_and_gives_it_back() {
    if !can("python3", &["-c", "import pty"]) {
        return skip(test_name!(), "needs python3");
    }
    let sandbox = Sandbox::new();
    let out = run(&mut sandbox.other("python3", &["-c", TERMINAL, env!("CARGO_BIN_EXE_zeta")]));
    for words in ["got hello", "status=0", "front True", "again more"] {
        assert!(out.out.contains(words), "no '{words}': {out:?}");
    }
}

#[test]
fn a_command_inside_two_guards_waits_for_neither() {
    let sandbox = Sandbox::new();
    let script = r#""$Z" lease exec inner --fenced -- sh -c '
        echo "$ZETA_FENCED"; date +%s%3N
        "$Z" lease renew outer --token $T; echo status=$?
        "$Z" lease renew inner; echo status=$?
        date +%s%3N'"#;
    let script = format!("export T=$ZETA_FENCING_TOKEN; {script}");
    let out = run(&mut scripted(&sandbox, &["lease", "exec", "outer", "--fenced"], &script));
    assert_eq!(out.status, 0, "{out:?}");
    let lines: Vec<&str> = out.out.lines().collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("outer,inner", "status=6", "status=6"), "{out:?}");
    let took_ms = lines[4].parse::<u64>().unwrap() - lines[1].parse::<u64>().unwrap();
    // A process that waits for a guard gives up after 5 s.
    assert!(took_ms < 2500, "two answers after {took_ms} ms: {out:?}");
    assert!(out.err.contains("inside its guard"), "{out:?}");
}

#[test]
fn a_lease_exec_without_a_named_agent_names_none() {
    let sandbox = Sandbox::new();
    let script = "echo ${ZETA_AGENT-nobody}";
    let out = run(&mut scripted(&sandbox, &["lease", "exec", "lk"], script));
    assert_eq!((out.status, out.out.as_str()), (0, "nobody\n"), "{out:?}");
    let out = run(&mut scripted(&sandbox, &["--as", "otto-cli", "lease", "exec", "lk"], script));
    assert_eq!((out.status, out.out.as_str()), (0, "otto-cli\n"), "{out:?}");
    let script = "echo ${ZETA_AGENT-nobody}";
    let out = run(&mut scripted(&sandbox, &["lease", "exec", "lk", "--fenced"], script));
    assert_eq!((out.status, out.out.as_str()), (0, "nobody\n"), "{out:?}");
}

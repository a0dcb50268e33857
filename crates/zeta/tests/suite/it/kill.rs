//! SIGKILL and SIGSTOP at any moment: nothing is blocked, no live holder loses its lease, and no
//! two processes hold one lease.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::oracle::judge_file;
use super::worker::{Job, log, start};
use crate::support::{
    Sandbox, append, finish, one_is_faster, signal, until, wait, with_usual_signals,
};

const SOON: Duration = Duration::from_secs(10);

/// A `lease exec` holder whose command writes its pid and then sleeps.
pub fn holder(sandbox: &Sandbox, args: &[&str]) -> (Child, u32) {
    let ready = sandbox.dir.join("ready");
    let _ = std::fs::remove_file(&ready);
    let all: Vec<&str> = ["lease", "exec", "job"].iter().chain(args).copied().collect();
    let mut command = sandbox.cmd(&all);
    // Renamed into place, so that a reader sees the whole file.
    let script = "echo $$ >$0.new; mv $0.new $0; exec sleep 60";
    command.args(["--", "sh", "-c", script]).arg(&ready).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    assert!(until(SOON, || ready.exists()), "the holder did not start");
    let pid = std::fs::read_to_string(&ready).unwrap().trim().parse().unwrap();
    (child, pid)
}

/// Ends a wrapper and its command, both started by this test. The wrapper first: it would release
/// when its command ends.
pub fn end(mut wrapper: Child, command: u32) {
    let _ = wrapper.kill();
    let _ = wrapper.wait();
    signal(command, Signal::KILL);
}

fn waiting(sandbox: &Sandbox) -> bool {
    std::fs::read_dir(sandbox.guard("job").join("queue")).is_ok_and(|dir| dir.count() > 0)
}

#[test]
fn a_waiter_takes_over_from_a_killed_holder_within_100_ms() {
    let sandbox = Sandbox::new();
    one_is_faster(Duration::from_millis(100), || {
        let (wrapper, command) = holder(&sandbox, &["--ttl", "5m"]);
        let mut waiter = sandbox.cmd(&["lease", "acquire", "job", "--wait", "20s", "--json"]);
        let waiter = waiter.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        assert!(until(SOON, || waiting(&sandbox)), "the waiter did not queue");
        std::thread::sleep(Duration::from_millis(30));
        let killed = Instant::now();
        end(wrapper, command);
        let out = finish(waiter, killed, SOON);
        assert_eq!(out.status, 0, "{out:?}");
        assert!(out.out.contains("\"cause\":\"holder_dead\""), "{out:?}");
        let token = out.out.split("\"fencing_token\":").nth(1).unwrap();
        let token = token.split(',').next().unwrap();
        sandbox.ok(&["lease", "release", "job", "--token", token]);
        out.took
    });
}

#[test]
fn a_killed_wrapper_s_lease_is_held_until_its_command_ends() {
    let sandbox = Sandbox::new();
    let (mut wrapper, command) = holder(&sandbox, &["--ttl", "5m"]);
    wrapper.kill().unwrap();
    wrapper.wait().unwrap();
    let out = sandbox.refused(&["lease", "acquire", "job"], 3);
    assert!(out.err.contains("alive"), "{out:?}");
    signal(command, Signal::KILL);
    let taken = until(SOON, || sandbox.zeta(&["lease", "acquire", "job"]).status == 0);
    assert!(taken, "the lease of two dead processes is still held");
}

#[test]
fn random_kills_leave_nothing_wedged() {
    let sandbox = Sandbox::new();
    let mut killed = BTreeSet::new();
    let mut crowd: Vec<Child> = (0..4).map(|_| start(&sandbox, Job::Forever)).collect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_micros(10_000 + seed % 60_000));
        let victim = (seed >> 20) as usize % crowd.len();
        killed.insert(crowd[victim].id().to_string());
        crowd[victim].kill().unwrap();
        crowd[victim].wait().unwrap();
        crowd[victim] = start(&sandbox, Job::Forever);
    }
    for mut worker in crowd {
        killed.insert(worker.id().to_string());
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let verdict = judge_file(&log(&sandbox), &killed);
    eprintln!(
        "{} grants, {} kills, {} inside",
        verdict.grants,
        killed.len(),
        verdict.killed_inside
    );
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert!(verdict.grants > 100, "too little happened to prove anything: {verdict:?}");
    let out = sandbox.zeta(&["lease", "acquire", "shared"]);
    assert!(out.status == 0 && out.took < Duration::from_secs(3), "wedged: {out:?}");
    let temps = std::fs::read_dir(sandbox.guard("shared")).unwrap();
    let temps = temps.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("tmp"));
    assert_eq!(temps.count(), 0, "orphans are swept by the next one");
}

#[test]
fn a_command_that_is_killed_at_any_moment_leaves_nothing_wedged() {
    let sandbox = Sandbox::new();
    let mut last = sandbox.acquire(&["job"]);
    sandbox.ok(&["lease", "release", "job", "--token", &last.to_string()]);
    for round in 0..60 {
        let mut command = sandbox.cmd(&["lease", "exec", "job", "-n", "--", "true"]);
        let mut call = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(200 * round));
        let _ = call.kill();
        call.wait().unwrap();
        // A child at its gate ends by itself as soon as its wrapper is gone.
        let out = sandbox.zeta(&["lease", "acquire", "job", "--wait", "5s"]);
        assert_eq!(out.status, 0, "round {round}: {out:?}");
        let token: u64 = out.out.trim().parse().unwrap();
        assert!(token > last, "round {round}: token {token} after {last}");
        last = token;
        sandbox.ok(&["lease", "release", "job", "--token", &token.to_string()]);
    }
}

#[test]
fn a_stopped_holder_is_replaced_after_ttl_and_grace_and_learns_it() {
    let sandbox = Sandbox::new();
    let (wrapper, command) = holder(&sandbox, &["--ttl", "400ms", "--grace", "400ms"]);
    let text = std::fs::read_to_string(sandbox.lock("job")).unwrap();
    let old = text.split("fencing_token: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    signal(wrapper.id(), Signal::STOP);
    let stopped = Instant::now();
    let new = sandbox.acquire(&["job", "--wait", "15s", "--ttl", "5m"]);
    // It renewed every 100 ms until it was stopped, so at most that much is gone of TTL + grace.
    assert!(stopped.elapsed() >= Duration::from_millis(650), "robbed: {:?}", stopped.elapsed());
    assert!(new > old.parse().unwrap());
    signal(wrapper.id(), Signal::CONT);
    for verb in ["renew", "release", "check"] {
        let out = sandbox.refused(&["lease", verb, "job", "--token", &old], 5);
        assert!(out.err.contains("not yours any more"), "{out:?}");
    }
    let effect = sandbox.dir.join("effect");
    let mut fenced = sandbox.cmd(&["lease", "exec", "job", "--fenced", "--token", &old]);
    fenced.args(["--", "touch"]).arg(&effect);
    assert_eq!(crate::support::run(&mut fenced).status, 5);
    assert!(!effect.exists(), "the late side effect happened");
    sandbox.ok(&["lease", "check", "job", "--token", &new.to_string()]);
    end(wrapper, command);
}

#[test]
fn a_slow_holder_that_lives_is_not_robbed_before_ttl_and_grace() {
    let sandbox = Sandbox::new();
    let (wrapper, command) = holder(&sandbox, &["--ttl", "600ms", "--grace", "60s"]);
    signal(wrapper.id(), Signal::STOP);
    let out = sandbox.refused(&["lease", "acquire", "job", "--wait", "2s"], 6);
    assert!(out.took >= Duration::from_secs(2) && out.took < Duration::from_secs(8), "{out:?}");
    assert!(sandbox.ok(&["lease", "show", "job", "--json"]).contains("\"in_grace\""));
    signal(wrapper.id(), Signal::CONT);
    let renewed =
        until(SOON, || sandbox.ok(&["lease", "show", "job", "--json"]).contains("\"held\""));
    assert!(renewed, "it woke up and did not renew");
    end(wrapper, command);
}

#[test]
fn policies_for_a_holder_that_lives_and_is_overdue() {
    let sandbox = Sandbox::new();
    let limits = ["--ttl", "200ms", "--grace", "200ms", "--policy"];
    let (wrapper, command) = holder(&sandbox, &[&limits[..], &["never"]].concat());
    signal(wrapper.id(), Signal::STOP);
    sandbox.refused(&["lease", "acquire", "job", "--wait", "1500ms"], 6);
    end(wrapper, command);
    let (wrapper, command) = holder(&sandbox, &[&limits[..], &["kill"]].concat());
    signal(wrapper.id(), Signal::STOP);
    let out = sandbox.ok(&["lease", "acquire", "job", "--wait", "10s", "--json"]);
    assert!(out.contains("\"cause\":\"killed\""), "{out}");
    assert!(!Path::new(&format!("/proc/{command}/cmdline")).exists() || !runs(command));
    end(wrapper, command);
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

#[test]
fn orphaned_temps_are_swept() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let orphan = sandbox.guard("job").join(".tmp-0123456789abcdef");
    std::fs::write(&orphan, "half a rec").unwrap();
    sandbox.ok(&["lease", "renew", "job", "--token", &token]);
    assert!(!orphan.exists());
}

#[test]
fn a_waiter_that_is_interrupted_goes_away_at_once() {
    for number in [Signal::INT, Signal::TERM] {
        // Anew for each, because the ticket of one that was interrupted may stay.
        let sandbox = Sandbox::new();
        sandbox.acquire(&["job"]);
        let mut command = sandbox.cmd(&["lease", "exec", "job", "--", "touch"]);
        command.arg(sandbox.dir.join("effect")).stderr(Stdio::null());
        let mut waiter = with_usual_signals(&mut command).spawn().unwrap();
        assert!(until(SOON, || waiting(&sandbox)), "it did not queue");
        signal(waiter.id(), number);
        let status = wait(&mut waiter, SOON);
        assert_eq!(status, 128 + number.as_raw(), "Ctrl-C did not end a waiting lease exec");
        assert!(!sandbox.dir.join("effect").exists());
    }
}

#[test]
fn a_fenced_command_keeps_everybody_out_and_its_waiters_wait() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job", "--ttl", "5m"]).to_string();
    let log = sandbox.dir.join("effect");
    let mut fenced = sandbox.cmd(&["lease", "exec", "job", "--fenced", "--token", &token, "--"]);
    fenced.args(["sh", "-c", "echo in >>$0; sleep 6.5; echo out >>$0"]).arg(&log);
    let mut fenced = fenced.spawn().unwrap();
    assert!(until(SOON, || log.exists()));
    // Longer than any wait for a healthy guard, shorter than the wait of this call.
    let out = sandbox.zeta(&["lease", "acquire", "job", "--wait", "8s"]);
    append(&log, "tried\n");
    assert_eq!(out.status, 6, "{out:?}");
    assert!(out.took >= Duration::from_secs(8), "it gave up too early: {out:?}");
    assert_eq!(wait(&mut fenced, SOON), 0);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "in\nout\ntried\n");
}

#[test]
fn a_fenced_command_keeps_everybody_out_when_its_wrapper_is_killed() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job", "--ttl", "5m"]).to_string();
    let pid = sandbox.dir.join("pid");
    let mut fenced = sandbox.cmd(&["lease", "exec", "job", "--fenced", "--token", &token, "--"]);
    fenced.args(["sh", "-c", "echo $$ >$0.new; mv $0.new $0; exec sleep 60"]).arg(&pid);
    let mut fenced = fenced.stderr(Stdio::null()).spawn().unwrap();
    assert!(until(SOON, || pid.exists()));
    let command: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    fenced.kill().unwrap();
    fenced.wait().unwrap();
    let out = sandbox.refused(&["lease", "release", "job", "--token", &token], 6);
    assert!(out.err.contains(&format!("process {command} (sleep")), "{out:?}");
    signal(command, Signal::KILL);
    let free = || sandbox.zeta(&["lease", "release", "job", "--token", &token]).status == 0;
    assert!(until(SOON, free));
}

#[test]
fn a_section_that_somebody_is_stopped_in_is_named() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let mut flock = sandbox.other("flock", &["-x"]);
    let mut inside = flock.arg(sandbox.guard("job")).args(["sleep", "30"]).spawn().unwrap();
    let locked =
        || !crate::support::can("flock", &["-n", sandbox.guard("job").to_str().unwrap(), "true"]);
    assert!(until(SOON, locked));
    let out = sandbox.refused(&["lease", "renew", "job", "--token", &token], 6);
    assert!(out.took < Duration::from_secs(12), "{out:?}");
    assert!(out.err.contains(&inside.id().to_string()), "{out:?}");
    assert!(!out.err.contains("kill -CONT"), "it is not stopped: {out:?}");
    signal(inside.id(), Signal::STOP);
    let out = sandbox.refused(&["lease", "acquire", "job"], 3);
    assert!(out.err.contains(&format!("kill -CONT {}", inside.id())), "{out:?}");
    signal(inside.id(), Signal::CONT);
    // The sleeper is a child of flock(1) and ends with nothing done; the test started both.
    let children = format!("/proc/{0}/task/{0}/children", inside.id());
    for pid in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
        signal(pid.parse().unwrap(), Signal::KILL);
    }
    let _ = inside.wait();
}

#[test]
fn who_inherited_a_section_from_a_dead_process_is_named() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let pid = sandbox.dir.join("pid");
    let mut flock = sandbox.other("flock", &["-x"]);
    flock.arg(sandbox.guard("job")).args([
        "sh",
        "-c",
        "echo $$ >$0.new; mv $0.new $0; exec sleep 30",
    ]);
    let mut inside = flock.arg(&pid).spawn().unwrap();
    assert!(until(SOON, || pid.exists()));
    inside.kill().unwrap();
    inside.wait().unwrap();
    let heir: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let out = sandbox.refused(&["lease", "renew", "job", "--token", &token], 6);
    assert!(out.err.contains(&format!("process {heir} (sleep")), "{out:?}");
    signal(heir, Signal::KILL);
}

//! The stream: what pages are sent, in which versions, and what it costs when there is none.

use std::time::{Duration, Instant};

use super::Server;
use crate::support::{Sandbox, wait_for};

fn beat(sandbox: &Sandbox, agent: &str, task: &str) {
    sandbox.ok(&["heartbeat", "--as", agent]);
    sandbox.ok(&["persona", "set", agent, "--task", task]);
}

#[test]
fn a_page_gets_the_whole_and_then_each_change() {
    let sandbox = Sandbox::new();
    beat(&sandbox, "ann", "first");
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let (mut one, mut two) = (server.events(&cookie), server.events(&cookie));
    for page in [&mut one, &mut two] {
        let whole = page.next().unwrap();
        assert_eq!(whole.name, "overview");
        assert!(whole.has_agent("ann", "first"), "{whole:?}");
        assert!(whole.data["now_us"].as_i64().unwrap() > 0 && whole.data["history"].is_array());
    }
    beat(&sandbox, "bob", "<b>second</b>");
    for page in [&mut one, &mut two] {
        let change = page.until(|event| event.has_agent("bob", "<b>second</b>"));
        assert_eq!(change.name, "changes", "{change:?}");
        assert!(!change.has_agent("ann", ""), "only what changed: {change:?}");
    }
    sandbox.ok(&["lease", "acquire", "deploy", "--as", "bob"]);
    let has_lease = |event: &super::Event| event.data["leases"].to_string().contains("deploy");
    let granted = one.until(has_lease);
    assert_eq!(granted.data["leases"][0]["name"], "deploy");
    // Another page that comes later gets the whole, with the same version.
    let last = two.until(has_lease);
    let mut three = server.events(&cookie);
    let whole = three.next().unwrap();
    assert_eq!(whole.name, "overview");
    assert!(whole.id >= last.id && whole.has_agent("bob", "second"), "{whole:?}");
}

#[test]
fn a_page_that_comes_back_gets_the_whole_again() {
    let sandbox = Sandbox::new();
    beat(&sandbox, "ann", "first");
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let first = server.events(&cookie).next().unwrap();
    // While no page is open, something changes.
    beat(&sandbox, "ann", "second");
    let again = server.events(&format!("{cookie}Last-Event-ID: {}\r\n", first.id)).next().unwrap();
    assert_eq!(again.name, "overview");
    assert!(again.id > first.id && again.has_agent("ann", "second"), "{again:?}");
}

#[test]
fn a_burst_is_at_most_ten_events_a_second_with_versions_one_by_one() {
    let sandbox = Sandbox::new();
    beat(&sandbox, "ann", "first");
    let server = Server::start(&sandbox, &[]);
    let mut page = server.events(&server.cookie());
    let mut id = page.next().unwrap().id;
    let started = Instant::now();
    let writer = {
        let dir = sandbox.node();
        std::thread::spawn(move || {
            let record = dir.join("persona-ann.state");
            let text = std::fs::read_to_string(&record).unwrap();
            for round in 0..200 {
                let temp = dir.join(".temp-of-a-test");
                let task = if round == 199 { "last".to_owned() } else { format!("t{round}") };
                std::fs::write(&temp, text.replace("\"first\"", &format!("\"{task}\""))).unwrap();
                std::fs::rename(&temp, &record).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let mut events = 0;
    loop {
        let event = page.next().unwrap();
        // On a busy machine, the server itself may come too late for a version.
        match event.name.as_str() {
            "changes" => assert_eq!(event.id, id + 1, "{event:?}"),
            _ => assert!(event.id > id + 1, "{event:?}"),
        }
        (events, id) = (events + 1, event.id);
        if event.has_agent("ann", "\"last\"") {
            break;
        }
    }
    writer.join().unwrap();
    let most = started.elapsed().as_millis() / 100 + 2;
    assert!(events <= most, "{events} events in {:?}", started.elapsed());
    assert!(events > 1, "a long burst is shown while it lasts");
}

#[test]
fn without_a_page_nothing_is_followed_and_nothing_wakes_up() {
    let sandbox = Sandbox::new();
    beat(&sandbox, "ann", "first");
    let server = Server::start(&sandbox, &[]);
    let watches = || {
        let dir = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
        let links = dir.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        links.filter(|link| link.to_string_lossy().contains("inotify")).count()
    };
    let cookie = server.cookie();
    assert_eq!(watches(), 0, "nobody looks yet");
    let mut page = server.events(&cookie);
    page.next().unwrap();
    assert!(watches() > 0);
    drop(page);
    wait_for("nothing is followed", || watches() == 0);
    // Until the last connection was noticed to be gone.
    std::thread::sleep(Duration::from_millis(300));
    let wakes = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let of = |path: std::path::PathBuf| {
            let status = std::fs::read_to_string(path.join("status")).unwrap();
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            lines
                .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
                .sum::<u64>()
        };
        tasks.map(|task| of(task.unwrap().path())).sum::<u64>()
    };
    let before = wakes();
    std::thread::sleep(Duration::from_secs(2));
    let after = wakes();
    assert!(after - before <= 1, "{} wake-ups in two idle seconds", after - before);
}

#[test]
fn a_page_that_is_quiet_is_sent_a_sign_of_life_and_no_event() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let mut page = server.events(&server.cookie());
    page.next().unwrap();
    assert!(page.is_silent_for(Duration::from_secs(2)), "nothing changed, so nothing is sent");
    let started = Instant::now();
    let said = page.next_text().unwrap();
    let data = said.strip_prefix("event: alive\ndata: ").unwrap_or_else(|| panic!("{said:?}"));
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert!(data["now_us"].as_i64().unwrap() > 0, "{data}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_tree_that_comes_goes_and_comes_again_is_shown() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let mut page = server.events(&server.cookie());
    assert_eq!(page.next().unwrap().name, "overview", "without a tree, there is a page");
    beat(&sandbox, "ann", "first");
    page.until(|event| event.has_agent("ann", "first"));
    std::fs::remove_dir_all(&sandbox.state).unwrap();
    page.until(|event| event.data["agents_gone"].to_string().contains("ann"));
    beat(&sandbox, "bob", "second");
    page.until(|event| event.has_agent("bob", "second"));
}

#[test]
fn the_history_of_each_node_is_sent_also_beside_one_that_cannot_be_read() {
    let sandbox = Sandbox::new();
    for node in ["aa", "bb", "cc"] {
        sandbox.ok(&["--node", node, "lease", "acquire", "early", "--as", "ann"]);
    }
    let odd = sandbox.state.join("nodes/bb/history.log");
    std::fs::remove_file(&odd).unwrap();
    std::fs::create_dir(&odd).unwrap();
    let server = Server::start(&sandbox, &[]);
    let mut page = server.events(&server.cookie());
    let nodes = |list: &serde_json::Value| -> Vec<String> {
        let entries = list.as_array().unwrap().iter();
        entries.map(|entry| entry["node"].as_str().unwrap().to_owned()).collect()
    };
    let whole = page.next().unwrap();
    assert_eq!(nodes(&whole.data["history"]), ["aa", "cc"], "{whole:?}");
    sandbox.ok(&["--node", "aa", "lease", "acquire", "late", "--as", "ann"]);
    let is_told = |event: &super::Event| event.data["history"].to_string().contains("late");
    let told = page.until(is_told);
    assert_eq!(nodes(&told.data["history"]), ["aa"], "each entry is sent once: {told:?}");
}

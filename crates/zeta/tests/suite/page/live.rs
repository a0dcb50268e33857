//! What happens in the state directory is seen at once, and what is not seen costs nothing.

use rustix::process::Signal;

use super::{Shown, shown_of};
use crate::support::{LIMIT, Sandbox, signal, test_name, until};

/// The rows of a list that have all of these words.
pub fn rows(list: &str, words: &[&str]) -> String {
    let words = serde_json::to_string(words).unwrap();
    format!(
        "[...document.querySelectorAll('#{list} .row:not([hidden])')]
         .filter((row) => {words}.every((word) => row.innerText.includes(word))).length"
    )
}

/// Waits until exactly one row of a list has all of these words.
#[track_caller]
pub fn wait_row(page: &mut Shown, list: &str, words: &[&str]) {
    page.until(&format!("{} === 1", rows(list, words)));
}

#[test]
fn a_lease_that_changes_hands_is_seen() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["deploy", "--as", "ann", "--purpose", "roll out 1.4"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    wait_row(&mut page, "leases", &["deploy", "ann", "held", "roll out 1.4"]);
    let token = token.to_string();
    sandbox.ok(&["lease", "release", "deploy", "--as", "ann", "--token", &token]);
    page.until("document.querySelector('#leases').innerText.includes('No lease is held')");
    sandbox.acquire(&["deploy", "--as", "bob"]);
    wait_row(&mut page, "leases", &["deploy", "bob", "held"]);
    assert_eq!(page.text("document.querySelector('#leases h2 b').innerText"), "1");
    // The timeline has both, and how the first one ended.
    page.click("#as-table");
    wait_row(&mut page, "timeline", &["deploy ann", "granted", "released"]);
    wait_row(&mut page, "timeline", &["deploy bob", "now", "holds it now"]);
    page.end_clean();
}

#[test]
fn a_message_and_an_agent_are_seen() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#agents').innerText.includes('No agent is here yet')");
    sandbox.ok(&["persona", "set", "ann", "--task", "review the cart", "--branch", "feat/cart"]);
    sandbox.ok(&["bus", "send", "ann", "the build is green", "--as", "bob"]);
    wait_row(&mut page, "agents", &["ann", "review the cart", "feat/cart"]);
    wait_row(&mut page, "messages", &["bob", "ann", "the build is green"]);
    page.end_clean();
}

#[test]
fn a_lost_server_is_said_and_found_again() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["deploy", "--as", "ann"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    wait_row(&mut page, "leases", &["deploy", "ann"]);
    page.web.end();
    page.until("document.body.dataset.link === 'lost'");
    let said = page.text("document.querySelector('#lost').innerText");
    assert!(said.starts_with("Not connected since ") && said.contains("the data is of"), "{said}");
    // What was known stays to be read.
    wait_row(&mut page, "leases", &["deploy", "ann"]);
    // A new server at the same port has another token, and does not know this page.
    let port = page.web.port.to_string();
    let again = super::Web::start(sandbox.cmd(&["web", "--json", "--port", &port]));
    page.until("document.body.dataset.link === 'refused'");
    let said = page.text("document.querySelector('#lost').innerText");
    assert!(said.contains("open the one that zeta web printed"), "{said}");
    page.browser.open(&again.url).unwrap();
    page.until("document.body.dataset.link === 'live'");
    page.until("document.querySelector('#lost').hidden");
}

#[test]
fn a_page_that_nobody_sees_closes_its_stream() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["deploy", "--as", "ann"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    let connections = |page: &Shown| connections_of(page.web.child.id());
    assert!(until(LIMIT, || connections(&page) > 0));
    let streams = |page: &Shown| inotify_of(page.web.child.id());
    assert!(until(LIMIT, || streams(&page) > 0), "the state is followed");
    page.until("document.querySelector('#leases h2 b').innerText === '1'");
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange')); true"
        )
    };
    page.eval(&hide(true));
    page.until("document.body.dataset.link === 'paused'");
    assert!(until(LIMIT, || streams(&page) == 0), "a page that is not seen has its stream open");
    // What happens meanwhile is there when it is seen again.
    sandbox.acquire(&["schema", "--as", "bob"]);
    assert_eq!(page.text("document.querySelector('#leases h2 b').innerText"), "1");
    page.eval(&hide(false));
    page.until("document.body.dataset.link === 'live'");
    wait_row(&mut page, "leases", &["deploy", "ann"]);
    wait_row(&mut page, "leases", &["schema", "bob"]);
    sandbox.acquire(&["docs", "--as", "cid"]);
    wait_row(&mut page, "leases", &["docs", "cid"]);
    page.end_clean();
}

#[test]
fn a_server_that_says_nothing_any_more_is_lost() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["deploy", "--as", "ann"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    // The page waits for 40 seconds; here for two.
    let quick = "const usual = setTimeout;
        globalThis.setTimeout = (call, ms) => usual(call, ms === 40000 ? 2000 : ms);";
    let params = serde_json::json!({ "source": quick });
    page.browser.call("Page.addScriptToEvaluateOnNewDocument", &params).unwrap();
    page.eval("location.reload()");
    page.until("performance.getEntriesByType('navigation')[0].type === 'reload'");
    page.until("document.body?.dataset.link === 'live'");
    let server = page.web.child.id();
    signal(server, Signal::STOP);
    page.until("document.body.dataset.link === 'lost'");
    let said = page.text("document.querySelector('#lost').innerText");
    signal(server, Signal::CONT);
    assert!(said.contains("the data is of"), "{said}");
    page.until("document.body.dataset.link === 'live'");
    sandbox.acquire(&["schema", "--as", "bob"]);
    wait_row(&mut page, "leases", &["schema", "bob"]);
}

/// The sockets that a process has open.
fn connections_of(pid: u32) -> usize {
    open_files(pid, "socket:")
}

/// The inotify descriptors of a process; the server has some while it follows the state.
fn inotify_of(pid: u32) -> usize {
    open_files(pid, "anon_inode:inotify")
}

fn open_files(pid: u32, kind: &str) -> usize {
    let dir = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let names = dir.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with(kind)).count()
}

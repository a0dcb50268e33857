//! The timeline: who held what, moved by wheel, drag, keys and buttons, and said in words.

use super::live::wait_row;
use super::{Shown, shown_of};
use crate::support::{Sandbox, test_name};

/// A lease that was released, one that was broken, one that was taken over, and one that is held.
fn with_history() -> Sandbox {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["deploy", "--as", "ann"]).to_string();
    sandbox.ok(&["lease", "release", "deploy", "--as", "ann", "--token", &token]);
    let token = sandbox.acquire(&["schema", "--as", "bob"]).to_string();
    let why = ["--reason", "wrong branch", "--as", "ann"];
    sandbox.ok(&[&["lease", "break", "schema", "--expect", &token], why.as_slice()].concat());
    sandbox.acquire(&["docs", "--as", "bob", "--ttl", "1s", "--grace", "0s"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    sandbox.acquire(&["docs", "--as", "cid"]);
    sandbox
}

fn range(page: &mut Shown) -> String {
    page.text("document.querySelector('#timeline-range').innerText")
}

/// The number of pixels of the lanes that have a colour.
const PAINTED: &str = "(() => {
    const canvas = document.querySelector('#canvas');
    const [width, height] = [canvas.width - 200, canvas.height - 80];
    const { data } = canvas.getContext('2d').getImageData(180, 30, width, height);
    let count = 0;
    for (let at = 3; at < data.length; at += 4) count += data[at] > 0;
    return count;
})()";

#[test]
fn the_timeline_says_how_each_grant_began_and_ended() {
    let sandbox = with_history();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#timeline h2 b').innerText === '3'");
    page.until(&format!("{PAINTED} > 500"));
    page.click("#as-table");
    wait_row(&mut page, "timeline", &["deploy ann", "granted", "released"]);
    wait_row(&mut page, "timeline", &["schema bob", "broken by ann", "wrong branch"]);
    wait_row(&mut page, "timeline", &["docs bob", "taken over by cid", "expired"]);
    wait_row(&mut page, "timeline", &["docs cid", "taken over from bob", "holds it now"]);
    page.click("#as-table");
    page.click("#by-agent");
    page.until("document.querySelector('#timeline h2 b').innerText === '3'");
    page.end_clean();
}

#[test]
fn claims_on_other_paths_of_one_repository_have_lanes_of_their_own() {
    let sandbox = Sandbox::new();
    let repository = sandbox.dir.join("shop");
    std::fs::create_dir(&repository).unwrap();
    let git = sandbox.other("git", &["init", "-q"]).current_dir(&repository).status();
    assert!(git.unwrap().success());
    for (agent, path) in [("ann", "src/cart/"), ("bob", "docs/"), ("cid", "docs/")] {
        let claim = ["claim", "acquire", "--as", agent, "--path", path, "--shared"];
        let out = sandbox.cmd(&claim).current_dir(&repository).output().unwrap();
        assert!(out.status.success(), "{out:?}");
    }
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#timeline h2 b').innerText === '2'");
    page.press("4");
    let said = "document.querySelector('#lanes-said').innerText";
    page.press("ArrowDown");
    page.until(&format!("{said}.startsWith('docs/: ')"));
    page.press("ArrowDown");
    page.until(&format!("{said}.startsWith('src/cart/: ann')"));
    // What they announced is said in words.
    wait_row(&mut page, "messages", &["ann", "claims path:shop:src/cart/"]);
    page.end_clean();
}

#[test]
fn the_timeline_is_walked_by_keys_and_says_where_it_is() {
    let sandbox = with_history();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#timeline h2 b').innerText === '3'");
    page.press("4");
    let said = "document.querySelector('#lanes-said').innerText";
    // The lane with an open span stands first.
    page.press("ArrowDown");
    page.until(&format!("{said} !== ''"));
    page.press("ArrowUp");
    page.until(&format!("{said}.startsWith('docs: cid')"));
    page.press("ArrowLeft");
    page.until(&format!("{said}.startsWith('docs: bob')"));
    assert!(page.text(said).contains("taken over by cid"));
    // The tip follows with the next frame.
    let tip = "document.querySelector('#tip')";
    page.until(&format!("!{tip}.hidden && {tip}.innerText.startsWith('docs: bob')"));
    page.until(&format!("{tip}.innerText.includes('taken over by cid')"));
    page.press("Enter");
    page.until("document.querySelector('#details').open");
    let details = page.text("document.querySelector('#details').innerText");
    assert!(details.contains("docs") && details.contains("bob"), "{details}");
    page.press("Escape");
    assert_eq!(page.focused(), "lanes");
    page.end_clean();
}

#[test]
fn the_timeline_zooms_and_moves() {
    let sandbox = with_history();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#timeline h2 b').innerText === '3'");
    page.until(&format!("{PAINTED} > 500"));
    let place = page.eval(
        "(() => { const box = document.querySelector('#lanes').getBoundingClientRect();
         return [box.x, box.y, box.width, box.height]; })()",
    );
    let side = |at: usize| place[at].as_f64().unwrap();
    let (x, y, width, height) = (side(0), side(1), side(2), side(3));
    let first = range(&mut page);
    let changed = |page: &mut Shown, from: &str| {
        page.until(&format!("document.querySelector('#timeline-range').innerText !== '{from}'"));
        range(page)
    };
    page.browser.wheel(x + width / 2.0, y + 40.0, -240.0).unwrap();
    let zoomed = changed(&mut page, &first);
    assert!(!zoomed.contains("now"), "{zoomed}");
    // A drag to the left goes back towards now.
    let (from, to) = (x + width * 0.7, x + width * 0.3);
    page.browser.mouse("mouseMoved", from, y + 40.0).unwrap();
    page.browser.mouse("mousePressed", from, y + 40.0).unwrap();
    for step in 1..=8 {
        let at = from + (to - from) * f64::from(step) / 8.0;
        page.browser.mouse("mouseMoved", at, y + 40.0).unwrap();
    }
    page.browser.mouse("mouseReleased", to, y + 40.0).unwrap();
    page.press("4");
    page.press("End");
    page.until("document.querySelector('#timeline-range').innerText.includes('now')");
    assert_eq!(page.text("document.querySelector('#follow').ariaPressed"), "true");
    page.press("+");
    page.press("+");
    page.browser.press("ArrowLeft", true).unwrap();
    page.until("document.querySelector('#follow').ariaPressed === 'false'");
    // The strip: a click far left shows the beginning of the history.
    let strip = y + height - 15.0;
    for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
        page.browser.mouse(kind, x + 175.0, strip).unwrap();
    }
    page.until("document.querySelector('#follow').ariaPressed === 'false'");
    page.press("0");
    page.until("document.querySelector('#follow').ariaPressed === 'true'");
    page.end_clean();
}

//! The timeline: who held what, moved by wheel, drag, keys and buttons, and said in words.

use std::time::Duration;

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

/// Waits until all that asked for a frame was drawn: each frame draws at least one part.
fn drawn(page: &mut Shown) {
    page.eval(
        "new Promise((done) => {
             let left = 16;
             const next = () => (left -= 1) ? requestAnimationFrame(next) : done();
             next();
         })",
    );
}

/// The places of the lanes and of the window in the strip below them, in pixels of the page.
struct Strip {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Strip {
    fn of(page: &mut Shown) -> Strip {
        let place = page.eval(
            "(() => { const box = document.querySelector('#lanes').getBoundingClientRect();
             return [box.x, box.y, box.width, box.height]; })()",
        );
        let side = |at: usize| place[at].as_f64().unwrap();
        Strip { x: side(0), y: side(1), width: side(2), height: side(3) }
    }

    /// The first and the last column of the window that the strip shows: its edges are thicker.
    fn edges(&self, page: &mut Shown) -> (f64, f64) {
        let found = page.eval(
            "(() => { const canvas = document.querySelector('#canvas');
             const y = canvas.height - 19;
             // Of a copy: to read from the canvas itself makes the browser complain.
             const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d');
             copy.drawImage(canvas, 0, 0);
             const { data } = copy.getImageData(0, y, canvas.width, 1);
             const color = getComputedStyle(document.querySelector('.mark')).color
                .match(/\\d+/g).map(Number);
             const found = [];
             for (let x = 0; x < canvas.width; x += 1) {
                 const near = color.every((part, at) => Math.abs(data[x * 4 + at] - part) < 24);
                 if (near) found.push(x);
             }
             return [found[0], found.at(-1)]; })()",
        );
        (found[0].as_f64().unwrap(), found[1].as_f64().unwrap())
    }

    /// Drags in the strip, from a column of the lanes to another one.
    fn drag(&self, page: &mut Shown, from: f64, to: f64) {
        let y = self.y + self.height - 19.0;
        let steps = (1..=6).map(|step| ("mouseMoved", from + (to - from) * f64::from(step) / 6.0));
        let mut all = vec![("mouseMoved", from), ("mousePressed", from)];
        all.extend(steps);
        all.push(("mouseReleased", to));
        for (at, (kind, x)) in all.into_iter().enumerate() {
            let held = u8::from(at > 0 && kind != "mouseReleased");
            let params = serde_json::json!({
                "type": kind, "x": self.x + x, "y": y, "button": "left", "buttons": held,
                "clickCount": 1,
            });
            page.browser.call("Input.dispatchMouseEvent", &params).unwrap();
        }
        drawn(page);
    }
}

#[test]
fn each_edge_of_the_strip_moves_alone() {
    let sandbox = with_history();
    // A history of hours does not move on the strip while the test looks at it.
    let now_us = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
    let old = zeta_core::time::format_utc(now_us - 3 * 3600 * 1_000_000);
    let log = sandbox.node().join("history.log");
    let known = std::fs::read_to_string(&log).unwrap();
    let line = format!("{old} released old fencing_token=1 agent=\"ann\"\n");
    std::fs::write(&log, line + &known).unwrap();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#timeline h2 b').innerText === '4'");
    page.press("4");
    page.press("0");
    page.until(&format!("{PAINTED} > 500"));
    drawn(&mut page);
    let strip = Strip::of(&mut page);
    let near = |a: f64, b: f64| (a - b).abs() <= 8.0;
    let (left, right) = strip.edges(&mut page);
    assert!(right - left > 300.0, "{left} {right}");
    // The left edge to the right, and the right one to the left.
    let (to_left, to_right) = (left + 200.0, right - 150.0);
    strip.drag(&mut page, left + 1.0, to_left);
    let (now_left, now_right) = strip.edges(&mut page);
    assert!(
        near(now_left, to_left) && near(now_right, right),
        "{now_left} {now_right} of {left} {right}"
    );
    strip.drag(&mut page, now_right - 1.0, to_right);
    let (now_left, now_right) = strip.edges(&mut page);
    assert!(
        near(now_left, to_left) && near(now_right, to_right),
        "{now_left} {now_right} of {left} {right}"
    );
    assert_eq!(page.text("document.querySelector('#follow').ariaPressed"), "false");
    // Far beyond the end of the history, the other edge stays where it is.
    strip.drag(&mut page, now_right - 1.0, strip.width + 400.0);
    let (now_left, now_right) = strip.edges(&mut page);
    assert!(
        near(now_left, to_left) && near(now_right, right),
        "{now_left} {now_right} of {left} {right}"
    );
    strip.drag(&mut page, now_left + 1.0, -400.0);
    let (now_left, now_right) = strip.edges(&mut page);
    assert!(
        near(now_left, left) && near(now_right, right),
        "{now_left} {now_right} of {left} {right}"
    );
    page.end_clean();
}

#[test]
fn two_fingers_zoom_and_one_that_stays_does_nothing() {
    let sandbox = with_history();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#timeline h2 b').innerText === '3'");
    page.until(&format!("{PAINTED} > 500"));
    let strip = Strip::of(&mut page);
    let touch = |page: &mut Shown, kind: &str, fingers: &[(u32, f64)]| {
        let points: Vec<_> = fingers
            .iter()
            .map(|(id, x)| {
                let (x, y) = (strip.x + x, strip.y + 50.0);
                serde_json::json!({ "id": id, "x": x, "y": y })
            })
            .collect();
        let params = serde_json::json!({ "type": kind, "touchPoints": points });
        page.browser.call("Input.dispatchTouchEvent", &params).unwrap();
    };
    let first = range(&mut page);
    let middle = strip.width / 2.0;
    touch(&mut page, "touchStart", &[(1, middle - 20.0)]);
    touch(&mut page, "touchStart", &[(1, middle - 20.0), (2, middle + 20.0)]);
    for by in [60.0, 100.0, 140.0] {
        touch(&mut page, "touchMove", &[(1, middle - by), (2, middle + by)]);
    }
    drawn(&mut page);
    assert_ne!(range(&mut page), first);
    assert_eq!(page.text("document.querySelector('#follow').ariaPressed"), "false");
    let zoomed = range(&mut page);
    // One finger is lifted, and the other one still moves.
    touch(&mut page, "touchEnd", &[(2, middle + 140.0)]);
    for by in [100.0, 60.0] {
        touch(&mut page, "touchMove", &[(2, middle + by)]);
    }
    touch(&mut page, "touchEnd", &[]);
    drawn(&mut page);
    assert_eq!(range(&mut page), zoomed);
    assert!(!page.eval("document.querySelector('#details').open").as_bool().unwrap());
    page.end_clean();
}

/// The clicks come after the edge of now moved by a pixel, and before that is drawn.
#[test]
fn a_click_on_the_strip_needs_no_frame() {
    let sandbox = with_history();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until(&format!("{PAINTED} > 500"));
    let before = range(&mut page);
    page.press("4");
    ["+"; 6].iter().for_each(|key| page.press(key));
    page.until(&format!("document.querySelector('#timeline-range').innerText !== '{before}'"));
    let place = page.eval(
        "(() => { const box = document.querySelector('#lanes').getBoundingClientRect();
         window.requestAnimationFrame = () => 0;
         return [box.x, box.bottom]; })()",
    );
    let side = |at: usize| place[at].as_f64().unwrap();
    for _ in 0..30 {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            page.browser.mouse(kind, side(0) + 175.0, side(1) - 15.0).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    page.end_clean();
}

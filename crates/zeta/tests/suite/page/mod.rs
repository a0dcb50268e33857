//! The page of `zeta web` in a real browser: what it shows, how it is used, and what it may not do.
//!
//! Each test ends with [`Shown::end_clean`]: no complaint in the console, and no request to another
//! host.

mod access;
mod keys;
mod live;
mod many;
mod safe;
mod scene;
mod size;
mod timeline;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{LIMIT, Sandbox, TempDir, find, signal, skip, wait};

#[path = "../../../../../testing/src/browser.rs"]
pub(crate) mod browser;

use browser::Browser;

/// A running `zeta web`, ended when this is dropped.
struct Web {
    child: Child,
    /// The address with the token.
    url: String,
    port: u64,
}

impl Web {
    fn start(mut zeta: Command) -> Web {
        let mut child = zeta.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        let url = said["url"].as_str().unwrap().to_owned();
        Web { child, url, port: said["port"].as_u64().unwrap() }
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn end(&mut self) {
        signal(self.child.id(), Signal::TERM);
        assert_eq!(wait(&mut self.child, LIMIT), 0);
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The page in a browser. The browser ends first.
pub(crate) struct Shown {
    pub(crate) browser: Browser,
    web: Web,
    _dir: TempDir,
}

/// Opens the page of a server that `zeta` starts, in a window of 1280 × 800. `None` says why not.
pub(crate) fn shown(test: &str, zeta: Command) -> Option<Shown> {
    shown_with(test, zeta, &[])
}

/// The same, with more arguments of the browser.
fn shown_with(test: &str, zeta: Command, args: &[&str]) -> Option<Shown> {
    if find(browser::PROGRAM).is_none() {
        skip(test, "there is no chromium here (Debian package chromium)");
        return None;
    }
    let dir = TempDir::new("page", 0o700);
    let web = Web::start(zeta);
    let mut browser = Browser::start(&dir.join("browser"), args).unwrap();
    browser.resize(1280, 800).unwrap();
    browser.open(&web.url).unwrap();
    let mut shown = Shown { browser, web, _dir: dir };
    shown.until("document.body.dataset.link === 'live'");
    Some(shown)
}

/// The page of a sandbox.
fn shown_of(test: &str, sandbox: &Sandbox) -> Option<Shown> {
    shown(test, sandbox.cmd(&["web", "--json"]))
}

impl Shown {
    /// What an expression gives.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        self.browser.eval(expression).unwrap()
    }

    /// Waits until all is drawn: a frame draws one part, or a few rows.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        self.eval(
            "new Promise((done) => {
                 let frames = 40;
                 const next = () => (frames-- > 0 ? requestAnimationFrame(next) : done(true));
                 next();
             })",
        );
    }

    /// What an expression gives, as text.
    #[track_caller]
    fn text(&mut self, expression: &str) -> String {
        match self.eval(expression) {
            Value::String(text) => text,
            other => panic!("{expression} gives no text: {other}"),
        }
    }

    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        self.browser.until(expression).unwrap();
    }

    #[track_caller]
    fn press(&mut self, key: &str) {
        self.browser.press(key, false).unwrap();
    }

    #[track_caller]
    fn click(&mut self, selector: &str) {
        let place = format!(
            "(() => {{ const box = document.querySelector('{selector}').getBoundingClientRect();
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let at = self.eval(&place);
        let (x, y) = (at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            self.browser.mouse(kind, x, y).unwrap();
        }
    }

    /// Sees the text of the element that has the focus.
    #[track_caller]
    fn focused(&mut self) -> String {
        self.text("document.activeElement.id || document.activeElement.innerText || ''")
    }

    /// Ends a test: nothing complained, and nothing was asked of another host.
    #[track_caller]
    pub(crate) fn end_clean(mut self) {
        let complaints = self.browser.take_complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
        let origin = self.web.origin();
        let requests = self.browser.take_requests();
        let foreign: Vec<_> = requests.iter().filter(|url| !url.starts_with(&origin)).collect();
        assert!(foreign.iter().all(|url| *url == "about:blank"), "{foreign:?}");
        assert!(requests.len() > 3, "{requests:?}");
        self.web.end();
    }
}

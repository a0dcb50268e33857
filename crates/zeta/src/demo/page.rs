//! The page of `zeta web` beside the demo, for a person who follows it there.

use std::ffi::OsString;
use std::fs::File;

use serde_json::Value;

use super::Step;
use crate::demo::remote::hold_barrier;
use crate::demo::sandbox::{Sandbox, has_ended, last_line};
use zeta_os::connection::is_connected;
use zeta_os::error::{Error, Kind};
use zeta_os::process;
use zeta_os::spawn::Child;

/// The variable that marks the processes of the page.
const MARK: &str = "ZETA_DEMO_PAGE";
/// Becomes the command, and ends it when the lock is free: then the demo has ended, in any way.
const UNTIL_FREE: &str = r#"(flock "$0" true; kill $$) & exec "$@""#;

/// A running `zeta web`. It ends with the demo.
pub(super) struct Page {
    _child: Child,
    _barrier: File,
    mark: String,
    /// The address, with its token.
    pub(super) url: String,
    port: u16,
}

impl Page {
    /// Starts it on the state directory of the demo.
    pub(super) fn start(sandbox: &Sandbox) -> Step<Page> {
        let (zeta, dir) = (sandbox.zeta.clone().into_os_string(), sandbox.state_dir.clone());
        let barrier = sandbox.root.join("page.barrier");
        let held = hold_barrier(&barrier)?;
        let mut argv: Vec<OsString> = vec!["sh".into(), "-c".into(), UNTIL_FREE.into()];
        argv.extend([barrier.into_os_string(), zeta, "--state-dir".into(), dir.into_os_string()]);
        argv.extend(["web", "--json"].map(OsString::from));
        let bus = sandbox.root.join("bus");
        let root = sandbox.root.as_os_str();
        let env = [("ZETA_BUS_DIR", bus.as_os_str()), (MARK, root)];
        let log = sandbox.root.join("page");
        let child = sandbox.start(&argv, &env, &sandbox.root, &log)?;
        let read = |end| std::fs::read_to_string(log.with_extension(end)).unwrap_or_default();
        loop {
            let ended = has_ended(&child);
            let said: Option<Value> = serde_json::from_str(&read("out")).ok();
            if let Some(said) = said.filter(|_| !ended) {
                let url = said.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
                let port = said.get("port").and_then(Value::as_u64).unwrap_or_default();
                let mark = format!("{MARK}={}", sandbox.root.display());
                let port = port.try_into().unwrap_or_default();
                return Ok(Page { _child: child, _barrier: held, mark, url, port });
            }
            if ended {
                let text = format!("the page cannot be shown: {}", last_line(&read("err")));
                return Err(Error::new(Kind::Fault, text).into());
            }
            sandbox.sleep(&[child.fd()])?;
        }
    }

    /// Returns whether a browser is connected.
    pub(super) fn is_seen(&self) -> bool {
        is_connected(self.port)
    }

    /// Returns the ids of its processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        let listed = process::with_environment(&self.mark);
        listed.iter().map(|listed| listed.process.pid).collect()
    }
}

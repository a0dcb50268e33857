//! The page of `zeta web` beside the demo, for a person who follows it there.

use std::ffi::OsString;

use serde_json::Value;

use super::Step;
use crate::demo::sandbox::{Sandbox, has_ended, last_line};
use zeta_os::connection::is_connected;
use zeta_os::error::{Error, Kind};
use zeta_os::spawn::Child;

/// A running `zeta web`. It ends with the other processes of the demo.
pub(super) struct Page {
    child: Child,
    /// The address, with its token.
    pub(super) url: String,
    port: u16,
}

impl Page {
    /// Starts it on the state directory of the demo.
    pub(super) fn start(sandbox: &Sandbox) -> Step<Page> {
        let (zeta, dir) = (sandbox.zeta.clone().into_os_string(), sandbox.state_dir.clone());
        let mut argv = vec![zeta, "--state-dir".into(), dir.into_os_string()];
        argv.extend(["web", "--json"].map(OsString::from));
        let bus = sandbox.root.join("bus");
        let env = [("ZETA_BUS_DIR", bus.as_os_str())];
        let log = sandbox.root.join("page");
        let child = sandbox.start(&argv, &env, &sandbox.root, &log)?;
        let read = |end| std::fs::read_to_string(log.with_extension(end)).unwrap_or_default();
        loop {
            let ended = has_ended(&child);
            let said: Option<Value> = serde_json::from_str(&read("out")).ok();
            if let Some(said) = said.filter(|_| !ended) {
                let url = said.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
                let port = said.get("port").and_then(Value::as_u64).unwrap_or_default();
                return Ok(Page { child, url, port: port.try_into().unwrap_or_default() });
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

    /// Returns its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }
}

//! A newer server of NATS than Debian's, for tests that need what that one cannot do.

use std::path::PathBuf;

use crate::python::Environment;

/// The variable that gives tests the path of the server.
pub const VARIABLE: &str = "ZETA_NATS_SERVER";

const SERVER: Environment =
    Environment { name: "nats-environment", packages: "xtask/nats/requirements.txt" };

/// Returns the path of the server, if it was installed.
pub fn place() -> PathBuf {
    SERVER.program("nats-server")
}

/// Installs the server. Where that fails, the tests that need it say that they were skipped.
pub fn provide() {
    if let Err(error) = SERVER.prepare() {
        println!("needs: no newer server of NATS: {error:#}");
    }
}

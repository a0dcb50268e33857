//! The bugs of units: what they are made for, and who wrote a file.

use super::bugs::{Bug, bug};

const RENDER: &str = "crates/zeta-state/src/upkeep/unit_files/render.rs";
const INSTALL: &str = "crates/zeta-state/src/upkeep/unit_files/install.rs";
const HEARTBEAT: &str = "crates/zeta/src/cli/heartbeat.rs";

const UNITS: &[&str] = &["-p", "zeta", "--test", "suite", "ops::unit"];
const SHIPPED: &[&str] = &["-p", "zeta", "--test", "suite", "ops::shipped"];
const BEATS: &[&str] = &["-p", "zeta", "--test", "suite", "it::beat"];

/// All bugs.
pub const BUGS: [Bug; 5] = [
    bug(
        "a unit of a user asks for what only a machine has",
        RENDER,
        "    \"StateDirectory\",\n",
        "    \"StateDirectories\",\n",
        UNITS,
    ),
    bug(
        "a path with a line feed adds an option to a unit",
        RENDER,
        "!text.is_empty() && text.bytes().all(is_plain)",
        "!text.is_empty() || text.bytes().all(is_plain)",
        UNITS,
    ),
    bug(
        "a post sees the homes of all where its repository is in one",
        RENDER,
        "format!(\"ProtectHome=tmpfs\\nBindPaths={}\", shown.join(\" \"))",
        "format!(\"ProtectHome=no\\nBindPaths={}\", shown.join(\" \"))",
        UNITS,
    ),
    bug(
        "a unit that an operator changed is written over",
        INSTALL,
        "Ok(_) if !replace => {",
        "Ok(there) if !replace && there.is_empty() => {",
        SHIPPED,
    ),
    bug(
        "a service that waits for its next beat counts as hung",
        HEARTBEAT,
        "manager.watchdog().map_or(rest, |every| rest.min(every))",
        "manager.watchdog().map_or(rest, |every| rest.max(every))",
        BEATS,
    ),
];

//! The context of a call: agent, node and directories, from options, environment, files, defaults.
//! Every front end uses this module, so that all of them mean the same directory and agent.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::getuid;
use zeta_core::hook::session::{Inherited, Keeper, decide_above};
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_core::time::Host;

use crate::config::Config;
use zeta_bus::report::Shape;
use zeta_cluster::identity::SEED_FILE;
use zeta_cluster::{Follow, Monitors, Servers, Setting, Tls};
use zeta_os::error::{Error, Result};
use zeta_os::host;
use zeta_state::context::Context;
use zeta_state::directory::sight;
use zeta_state::lease::cluster::{Cluster, Store};
use zeta_state::presence::ancestor::nearest;
use zeta_state::presence::tool_session::names_session;

/// Below the directory of what outlives the boot: what hooks were installed, and where.
pub const INSTALLED: &str = "hooks";

/// The values that the caller gives. For a `None` the environment and the files decide.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// The state directory.
    pub state_dir: Option<PathBuf>,
    /// The node.
    pub node: Option<String>,
    /// The agent.
    pub agent: Option<String>,
}

/// Returns the context of this process: from `overrides`, the variables `ZETA_*`, `config`, and the
/// defaults, in this order.
///
/// # Errors
/// A usage error if a name is not valid; the error of the system if it cannot identify the host; an
/// error if this process sees another state directory than its session.
pub fn context(overrides: Overrides, config: &Config) -> Result<Context> {
    let inherited = path("ZETA_STATE_DIR").filter(|_| overrides.state_dir.is_none());
    if let (Some(dir), Some(id)) = (&inherited, text(None, sight::VARIABLE)) {
        sight::check(dir, &id)?;
    }
    let state_dir = overrides.state_dir.or(inherited);
    let state_dir = state_dir
        .or_else(|| config.state_dir.clone())
        .unwrap_or_else(|| PathBuf::from(layout::DEFAULT_STATE_DIR));
    let node = text(overrides.node, "ZETA_NODE").map(|name| Label::new("node", &name));
    let node = node.transpose()?.or_else(|| config.node.clone());
    let agent = text(overrides.agent, "ZETA_AGENT");
    let agent_named = agent.is_some() || config.agent.is_some();
    let agent = match (agent, &config.agent) {
        (Some(name), _) => Label::new("agent", &name)?,
        (None, Some(name)) => name.clone(),
        (None, None) => {
            let user = text(None, "USER").or(text(None, "LOGNAME")).unwrap_or_default();
            Context::agent_of_user(&user, getuid().as_raw())?
        }
    };
    Context {
        state_dir: std::path::absolute(&state_dir).unwrap_or(state_dir),
        node,
        agent,
        agent_named,
        session: text(None, "ZETA_SESSION"),
        fenced: text(None, "ZETA_FENCED"),
        lasting_dir: lasting_dir(),
        bus_dir: bus_dir(None),
        lease_ended: zeta_bus::claim::announce_end,
        cluster: Some(Arc::new(Cluster::new(open_leases))),
        host: Host::default(),
    }
    .on_this_host()
}

/// Puts the caller into the session of the agent tool whose process is nearest above it, if
/// neither a person nor `--as` says otherwise: most tools pass no name on to the commands of their
/// agent, and a tool inside of another one passes on what it inherited. It is looked for only where
/// this user installed hooks, so that it costs other callers one look.
pub fn join_tool_session(ctx: &mut Context, agent: Option<&str>) {
    let installed = || ctx.lasting_dir.as_deref().is_some_and(|dir| dir.join(INSTALLED).exists());
    let named = text(None, "ZETA_AGENT").map(|name| Label::new("agent", &name));
    let variables = match (named, &ctx.session) {
        (None, None) => None,
        (Some(Ok(name)), Some(number)) => Some((name, number.clone())),
        // A name without a session, or the reverse, was set by a person.
        _ => return,
    };
    let variables = variables.as_ref().map(|(name, number)| (name, number.as_str()));
    let found = || {
        let handle = ctx.find().ok()??;
        let inherited = match variables {
            None => Inherited::Nothing,
            Some((name, number)) if names_session(&handle, name, number) => Inherited::Recorded,
            Some(_) => return None,
        };
        let found = nearest(&handle, variables)?;
        let is_hooked = found.keeper() == Keeper::Hooks;
        (is_hooked && decide_above(inherited, Keeper::Hooks)).then_some(found)
    };
    let Some(found) = installed().then(found).flatten() else { return };
    if variables.is_some_and(|(_, number)| number == found.number) {
        return;
    }
    // The caller may speak for another agent, and is not in the session of its own then.
    let is_own = agent.is_none_or(|agent| agent == found.agent.as_str());
    ctx.session = is_own.then_some(found.number);
    if is_own {
        (ctx.agent, ctx.agent_named) = (found.agent, true);
    }
}

/// Returns how the cluster is reached: by the options, the variables, or the configuration files.
/// Without another login, the key of this node is one.
///
/// # Errors
/// No server is named, or not as an address.
pub fn cluster(
    server: Option<String>,
    credentials: Option<PathBuf>,
    config: &Config,
) -> Result<Setting> {
    let named = text(server, "ZETA_CLUSTER_SERVER");
    let parsed = named.map(|server| server.parse::<Servers>()).transpose();
    let parsed = parsed.map_err(|rule| Error::usage(format!("the server is not valid: {rule}")))?;
    let servers = parsed.or_else(|| config.cluster_server.clone()).ok_or_else(|| {
        Error::usage("no server of a cluster is named")
            .hint("name it: --server nats://HOST:4222, or cluster_server in the configuration")
    })?;
    let credentials = credentials.or_else(|| cluster_credentials(config));
    let key = || Some(cluster_dir(config).ok()?.join(SEED_FILE)).filter(|key| key.exists());
    let credentials = credentials.or_else(key);
    let tls = Tls {
        ca: path("ZETA_CLUSTER_CA").or_else(|| config.cluster_ca.clone()),
        cert: path("ZETA_CLUSTER_CERT").or_else(|| config.cluster_cert.clone()),
        key: path("ZETA_CLUSTER_KEY").or_else(|| config.cluster_key.clone()),
    };
    Ok(Setting { servers, credentials, tls })
}

/// Returns the file with the login that the environment or the configuration names.
pub fn cluster_credentials(config: &Config) -> Option<PathBuf> {
    path("ZETA_CLUSTER_CREDENTIALS").or_else(|| config.cluster_credentials.clone())
}

/// Opens the leases of the cluster, for the first verb that touches one.
fn open_leases(limit: Duration) -> Result<Box<dyn Store>> {
    let config = Config::load()?;
    let setting = cluster(None, None, &config)?;
    zeta_cluster::lease::open(&setting, &cluster_dir(&config)?, limit)
}

/// Returns the directory of this node's identity in its cluster: that of `ZETA_CLUSTER_DIR`, of the
/// configuration, or `cluster` below the directory of what outlives the boot.
///
/// # Errors
/// The caller has no directory for what outlives the boot, and names none.
pub fn cluster_dir(config: &Config) -> Result<PathBuf> {
    let dir = path("ZETA_CLUSTER_DIR").or_else(|| config.cluster_dir.clone());
    let dir = dir.or_else(|| Some(lasting_dir()?.join("cluster"))).ok_or_else(|| {
        Error::usage("no directory for the identity of this node: the caller has no home")
            .hint("name one: cluster_dir in the configuration, or ZETA_CLUSTER_DIR")
    })?;
    Ok(std::path::absolute(&dir).unwrap_or(dir))
}

/// Returns the monitoring ports of the servers: the option's, or those of the files; maybe none.
///
/// # Errors
/// They are no addresses.
pub fn monitors(option: Option<String>, config: &Config) -> Result<Monitors> {
    let parsed = option.map(|text| text.parse::<Monitors>()).transpose();
    let parsed = parsed.map_err(|rule| Error::usage(format!("--monitor is not valid: {rule}")))?;
    Ok(parsed.or_else(|| config.cluster_monitor.clone()).unwrap_or_default())
}

/// Returns what the bridge follows of other nodes: the option's, that of the files, or all.
///
/// # Errors
/// It is neither a word for it nor names of nodes.
pub fn follow(option: Option<String>, config: &Config) -> Result<Follow> {
    let parsed = option.map(|text| text.parse::<Follow>()).transpose();
    let parsed = parsed.map_err(|rule| Error::usage(format!("--follow is not valid: {rule}")))?;
    Ok(parsed.or_else(|| config.cluster_follow.clone()).unwrap_or_default())
}

/// Returns the bus directory: the option's, that of `ZETA_BUS_DIR`, or the default.
pub fn bus_dir(option: Option<PathBuf>) -> PathBuf {
    let dir = option
        .or_else(|| path("ZETA_BUS_DIR"))
        .unwrap_or_else(|| PathBuf::from(layout::DEFAULT_BUS_DIR));
    std::path::absolute(&dir).unwrap_or(dir)
}

/// Returns the directory of this user's configuration.
pub fn config_dir() -> Option<PathBuf> {
    let file = crate::config::user_file()?;
    file.parent().map(std::path::Path::to_owned)
}

/// Returns the directory of what outlives the boot: a service's own, or the user's. Whether it can
/// be used is looked at when it is.
fn lasting_dir() -> Option<PathBuf> {
    let absolute = |variable: &str| path(variable).filter(|path| path.is_absolute());
    let home = || host::home().filter(|home| home.parent().is_some());
    host::state_directory()
        .or_else(|| Some(absolute("XDG_STATE_HOME")?.join("zeta")))
        .or_else(|| Some(home()?.join(".local/state/zeta")))
}

/// Returns the shape of the bus's answers in JSON. With `ZETA_BUS_IDS=original` it is that of the
/// original tool, and only the original's ids are accepted.
pub fn bus_shape() -> Shape {
    match std::env::var("ZETA_BUS_IDS") {
        Ok(ids) if ids == "original" => Shape::Original,
        _ => Shape::Zeta,
    }
}

/// Returns the path in a variable, if it is set and not empty.
fn path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|dir: &OsString| !dir.is_empty()).map(PathBuf::from)
}

fn text(option: Option<String>, variable: &str) -> Option<String> {
    option.or_else(|| std::env::var(variable).ok()).filter(|text| !text.is_empty())
}

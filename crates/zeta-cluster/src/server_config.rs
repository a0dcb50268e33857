//! `zeta cluster config`: the configuration of the servers, with an account for each node.
//!
//! Permissions of subjects alone do not protect the values of a node: a reply to a request is
//! stored, too, under a subject that the asker may not write. So the streams stand in an account
//! of their own, and each node has one that imports what is its own to write, and what all may
//! read. A reply to a node never leaves the account of this node.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zeta_core::cluster::subject::{LIVE, MAJOR};
use zeta_core::name::Label;
use zeta_os::error::{Error, Kind, Result};

use crate::account::MAPPED;
use crate::gate::Version;
use crate::keys::{Keys, is_public_key};

/// The account with the streams.
const STORE: &str = "ZETA_STORE";
/// The first version that can write through to its disk before it answers; an older one refuses to
/// start with the setting.
const CAN_SYNC: Version = Version(2, 10, 0);
/// The first version that compares a write with the last one on a pattern of subjects. Before, all
/// nodes write the same subject of a lease.
const HAS_PATTERNS: Version = Version(2, 11, 0);
/// What each node may ask JetStream: it looks at streams and reads, and can change nothing.
const REQUESTS: [&str; 5] =
    ["INFO", "STREAM.INFO.*", "STREAM.MSG.GET.*", "DIRECT.GET.*", "DIRECT.GET.*.>"];
/// The answer to it may be several messages.
const IN_PARTS: &str = "DIRECT.GET.*";

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The public key of the administrator, who alone makes and changes streams.
    pub admin: String,
    /// The name of this server.
    pub server_name: String,
    /// Its address for clients.
    pub listen: String,
    /// Its address for monitoring.
    pub monitor: Option<String>,
    /// The directory of the streams.
    pub store_dir: String,
    /// Files of TLS: certificate, key, and the certificates by which clients are known.
    pub tls: Option<[String; 3]>,
    /// Its address for other servers.
    pub routes_listen: String,
    /// The addresses of the other servers.
    pub routes: Vec<String>,
    /// The oldest version of all servers; without it, what each version understands is written.
    pub version: Option<Version>,
}

/// Writes the configuration of one server.
///
/// # Errors
/// A key is not one, or is given twice; a text cannot stand in a configuration.
pub fn render(wanted: &Wanted, nodes: &Keys) -> Result<String> {
    check(wanted, nodes)?;
    let mut text = head(wanted)?;
    let shared = wanted.version.is_none_or(|version| version < HAS_PATTERNS);
    let _ = write!(text, "accounts {{\n  {STORE} {{\n    jetstream: enabled\n");
    let _ = write!(text, "    users: [{{ nkey: {} }}]\n    exports: [\n", wanted.admin);
    for (node, _) in nodes.iter() {
        for subject in own(node) {
            let name = account(node);
            let _ = writeln!(text, "      {{ service: \"{subject}\", accounts: [{name}] }}");
        }
    }
    for subject in common(shared) {
        let _ = writeln!(text, "      {{ service: \"{subject}\" }}");
    }
    for request in REQUESTS {
        let kind = if request == IN_PARTS { ", response_type: stream" } else { "" };
        let _ = writeln!(text, "      {{ service: \"$JS.API.{request}\"{kind} }}");
    }
    let _ = write!(text, "      {{ stream: \"{LIVE}>\" }}\n    ]\n  }}\n");
    for (node, key) in nodes.iter() {
        add_node(&mut text, node, key, shared);
    }
    text.push_str("}\n");
    Ok(text)
}

/// What a node alone may write.
fn own(node: &Label) -> [String; 3] {
    [
        format!("{MAJOR}.state.{node}.>"),
        format!("{MAJOR}.bus.{node}"),
        format!("{MAJOR}.lease.*.{node}"),
    ]
}

/// What each node may write; signatures tell who did.
fn common(shared: bool) -> Vec<String> {
    let lease = shared.then(|| format!("{MAJOR}.lease.*"));
    [format!("{MAJOR}.meta")].into_iter().chain(lease).collect()
}

fn account(node: &Label) -> String {
    format!("NODE_{node}")
}

fn add_node(text: &mut String, node: &Label, key: &str, shared: bool) {
    let writes: Vec<String> = own(node).into_iter().chain(common(shared)).collect();
    // A node asks whether it has JetStream of its own, to find out that it has not.
    let may = [format!("{MAPPED}.>"), "$JS.API.INFO".to_owned()];
    let may: Vec<String> =
        writes.iter().chain(&may).map(|subject| format!("\"{subject}\"")).collect();
    let _ = write!(
        text,
        "  {} {{\n    users: [{{ nkey: {key}, permissions: {{\n      publish: [{}]\n      \
         subscribe: [\"_INBOX.>\", \"{LIVE}>\"]\n    }} }}]\n    imports: [\n",
        account(node),
        may.join(", ")
    );
    let from = |subject: &str| format!("account: {STORE}, subject: \"{subject}\"");
    for subject in &writes {
        let _ = writeln!(text, "      {{ service: {{ {} }} }}", from(subject));
    }
    for request in REQUESTS {
        let subject = from(&format!("$JS.API.{request}"));
        let _ = writeln!(text, "      {{ service: {{ {subject} }}, to: \"{MAPPED}.{request}\" }}");
    }
    let live = from(&format!("{LIVE}>"));
    let _ = write!(text, "      {{ stream: {{ {live} }} }}\n    ]\n  }}\n");
}

/// What is not about accounts.
fn head(wanted: &Wanted) -> Result<String> {
    let Wanted { server_name, listen, store_dir, .. } = wanted;
    let mut text = format!(
        "# made by zeta cluster config; nats-server -t -c FILE examines it\n\
         server_name: \"{}\"\nlisten: \"{}\"\n",
        plain(server_name)?,
        plain(listen)?
    );
    if let Some(monitor) = &wanted.monitor {
        let _ = writeln!(text, "http: \"{}\"", plain(monitor)?);
    }
    text.push_str(
        "max_payload: 128KB\nping_interval: \"10s\"\nping_max: 2\nwrite_deadline: \"5s\"\n",
    );
    if let Some(tls) = &wanted.tls {
        add_tls(&mut text, "", tls)?;
    }
    let _ = write!(text, "jetstream {{ store_dir: \"{}\", max_file_store: 2GB", plain(store_dir)?);
    if wanted.version.is_some_and(|version| version >= CAN_SYNC) {
        text.push_str(", sync_interval: always");
    }
    text.push_str(" }\n");
    if !wanted.routes.is_empty() {
        let routes: Result<Vec<String>> =
            wanted.routes.iter().map(|route| Ok(format!("\"{}\"", plain(route)?))).collect();
        let _ = write!(
            text,
            "cluster {{\n  name: zeta\n  listen: \"{}\"\n  routes: [{}]\n",
            plain(&wanted.routes_listen)?,
            routes?.join(", ")
        );
        match &wanted.tls {
            Some(tls) => add_tls(&mut text, "  ", tls)?,
            None => text.push_str(
                "  # without TLS, all that reach this port are servers of the cluster: close it\n",
            ),
        }
        text.push_str("}\n");
    }
    Ok(text)
}

/// Both ends show a certificate. `verify_and_map`, which makes logins of certificates, has been
/// bypassed in the past (CVE-2026-33248), and is not used.
fn add_tls(text: &mut String, indent: &str, [cert, key, ca]: &[String; 3]) -> Result<()> {
    let (cert, key, ca) = (plain(cert)?, plain(key)?, plain(ca)?);
    let files = format!("cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\"");
    let _ = writeln!(text, "{indent}tls {{ {files}, verify: true }}");
    Ok(())
}

fn check(wanted: &Wanted, nodes: &Keys) -> Result<()> {
    if !is_public_key(&wanted.admin) {
        return Err(Error::usage("the key of the administrator is no public key (U…)"));
    }
    let mut seen = BTreeMap::from([(wanted.admin.as_str(), "the administrator")]);
    for (node, key) in nodes.iter() {
        if let Some(other) = seen.insert(key, node.as_str()) {
            let text = format!("{node} and {other} have the same key");
            return Err(Error::new(Kind::Unsafe, text)
                .hint("each node makes its own: 'zeta cluster join --key-only' prints its line"));
        }
    }
    check_nodes(nodes)
}

/// Refuses a configuration that no node could log in to.
///
/// # Errors
/// No node is named.
pub fn check_nodes(nodes: &Keys) -> Result<()> {
    match nodes.iter().next() {
        None => Err(Error::usage("no node is named: give --nodes FILE or --member NODE=KEY")),
        Some(_) => Ok(()),
    }
}

/// Refuses what would end a text of the configuration.
fn plain(text: &str) -> Result<&str> {
    let is_plain = |c: char| !c.is_control() && c != '"' && c != '\\';
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Ok(text),
        false => Err(Error::usage(format!("{text:?} cannot stand in a configuration"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        nkeys::KeyPair::new_user().public_key()
    }

    fn wanted() -> Wanted {
        Wanted {
            admin: key(),
            server_name: "hub".to_owned(),
            listen: "0.0.0.0:4222".to_owned(),
            store_dir: "/var/lib/nats".to_owned(),
            ..Wanted::default()
        }
    }

    fn nodes(names: &[&str]) -> Keys {
        let mut keys = Keys::default();
        for name in names {
            keys.add(&format!("{name} {}", key())).unwrap();
        }
        keys
    }

    #[test]
    fn a_node_imports_no_subject_of_another_one() {
        let text = render(&wanted(), &nodes(&["node-a", "node-b"])).unwrap();
        let (_, block) = text.split_once("  NODE_node-b {").unwrap();
        assert!(block.contains("zeta1.state.node-b.>") && !block.contains("node-a"), "{block}");
        // And nothing that changes a stream, or makes a consumer.
        for verb in ["CREATE", "UPDATE", "DELETE", "PURGE", "CONSUMER", "SNAPSHOT", "API.>"] {
            assert!(!text.contains(verb), "{verb}: {text}");
        }
    }

    #[test]
    fn a_setting_is_written_only_for_servers_that_know_it() {
        let nodes = nodes(&["node-a"]);
        let render = |version| render(&Wanted { version, ..wanted() }, &nodes).unwrap();
        for (version, syncs, shared) in [
            (None, false, true),
            (Some(Version(2, 9, 10)), false, true),
            (Some(Version(2, 10, 0)), true, true),
            (Some(Version(2, 11, 0)), true, false),
        ] {
            let text = render(version);
            assert_eq!(text.contains("sync_interval: always"), syncs, "{version:?}");
            assert_eq!(text.contains("\"zeta1.lease.*\""), shared, "{version:?}");
        }
    }

    #[test]
    fn what_would_be_another_configuration_is_refused() {
        let good = nodes(&["node-a"]);
        let with = |change: fn(&mut Wanted)| {
            let mut wanted = wanted();
            change(&mut wanted);
            render(&wanted, &good).unwrap_err()
        };
        with(|w| w.server_name = "a\" }".to_owned());
        with(|w| w.listen = "a\nb".to_owned());
        with(|w| w.store_dir = "\\".to_owned());
        with(|w| w.routes = vec!["\"".to_owned()]);
        with(|w| w.tls = Some(["c".to_owned(), String::new(), "a".to_owned()]));
        with(|w| w.admin = "SUAB".to_owned());
        assert_eq!(render(&wanted(), &Keys::default()).unwrap_err().kind, Kind::Usage);
        let same = key();
        let mut twice = Keys::default();
        for name in ["node-a", "node-b"] {
            twice.add(&format!("{name} {same}")).unwrap();
        }
        let error = render(&wanted(), &twice).unwrap_err();
        assert!(error.text.contains("node-a") && error.text.contains("node-b"), "{error}");
        let admin = Wanted { admin: same, ..wanted() };
        assert!(render(&admin, &twice).is_err());
    }
}

//! The arguments of `zeta cluster`, with an example for every verb.

use std::path::PathBuf;

use clap::Args;
use zeta_cluster::Setting;
use zeta_cluster::gate::Version;
use zeta_cluster::store::Store;
use zeta_os::error::Result;

use crate::cli::Call;
use crate::config::Config;
use crate::environment;

#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Servers, several with commas [default: cluster_server in the configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) server: Option<String>,
    /// File with the login [default: cluster_credentials, or the key of this node]
    #[arg(long, value_name = "FILE")]
    pub(super) credentials: Option<PathBuf>,
    /// Certificates that are trusted [default: cluster_ca, or the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate of this client, with --key [default: cluster_cert]
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Key of that certificate [default: cluster_key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl ServerArgs {
    /// Returns how the cluster is reached.
    pub(super) fn setting(self, config: &Config) -> Result<Setting> {
        let mut setting = environment::cluster(self.server, self.credentials, config)?;
        let tls = &mut setting.tls;
        tls.ca = self.ca.or(tls.ca.take());
        tls.cert = self.cert.or(tls.cert.take());
        tls.key = self.key.or(tls.key.take());
        Ok(setting)
    }

    /// Connects.
    pub(super) fn open(self, call: &Call) -> Result<Store> {
        Store::open(&self.setting(call.config()?)?)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Any number of callers may run it, also at once: all of them end with the same cluster. It first
lets eight writers race on a scratch stream, and refuses a server that lets two of them win. It
changes no stream that is there with other settings, and makes no new cluster over the rest of an
old one.

With --after-loss, on a machine that has joined, it makes again what its cluster has lost. The
cluster stays the same one and gets a higher epoch, and nobody is granted a lease for the longest
TTL. Where nothing is missing, it is refused.

Examples:
  zeta cluster init --server nats://hub.lan:4222
  zeta cluster init --server nats://a.lan:4222,nats://b.lan:4222 --replicas 3 --json
  zeta cluster init --after-loss --replicas 1")]
pub(super) struct InitArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// How many servers keep each stream: 1, 3 or 5 [default: as it is there, or 1]
    #[arg(long, value_name = "N", value_parser = replicas)]
    pub(super) replicas: Option<u64>,
    /// Longest TTL of a lease; after a loss of data nobody is granted a lease for as long
    /// [default: 15m]
    #[arg(long, value_name = "TIME")]
    pub(super) max_ttl: Option<String>,
    /// Make what the servers have lost of the cluster of this machine, in a new epoch
    #[arg(long)]
    pub(super) after_loss: bool,
}

fn replicas(text: &str) -> std::result::Result<u64, &'static str> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("give 1, 3 or 5: of an even number no more servers may fail than of one less"),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
What is removed, if it is older than --older-than:
  words that a record of a node is gone
  ends of leases, and the values of other nodes that stand below the last one of a lease
  records of nodes that have written nothing for as long; each sends them again when it comes back
What stays: grants, messages (the server removes them after 25 hours), the last value of each
stream, and the card of each node, which holds its name, unless the node is named by --forget.

Tokens never go backwards: the highest one that is removed becomes the floor of all later ones,
before anything is removed. Nobody has to stop for it, and a call that was killed is repeated.

It is called on a machine that has joined, with the login of the administrator.

Examples:
  zeta cluster compact --dry-run
  zeta cluster compact --older-than 30d --credentials admin.nk
  zeta cluster compact --forget node-c --json")]
pub(super) struct CompactArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Keep what is younger; the longest TTL at least [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub(super) older_than: Option<String>,
    /// Remove all of a node that is gone for good, with its card; it may be given several times
    #[arg(long, value_name = "NODE")]
    pub(super) forget: Vec<String>,
    /// Only print what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 if the cluster can be used, 6 if no server is reached or a stream has no leader, 7 if
something else is wrong.

Examples:
  zeta cluster status
  zeta cluster status --server nats://hub.lan:4222 --json
  zeta cluster status --monitor http://hub.lan:8222     # is it safe when the power fails?")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Monitoring ports of the servers [default: cluster_monitor in the configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) monitor: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The node gets a key, whose seed never leaves its directory. Where each node has an account of its
own on the servers, their operator needs the line that this call prints; until it is there, the call
ends with 6, and is repeated. Otherwise the machine is a node of the cluster at once.

Examples:
  zeta cluster join --key-only                      # the line for the operator: NODE KEY
  zeta cluster join --server nats://hub.lan:4222")]
pub(super) struct JoinArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Only make the key, and print the line for the operator
    #[arg(long = "key-only", conflicts_with_all = ["server", "credentials", "new_key"])]
    pub(super) key_only: bool,
    /// Join although the card of this node has another key, which is lost
    #[arg(long)]
    pub(super) new_key: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
It prints to standard output. Each node has an account of its own, which can write what is the
node's and read the rest; the administrator alone makes streams. After a new node, print it again
and have each server read it: nats-server --signal reload.

Examples:
  zeta cluster config --nodes nodes --store-dir /var/lib/nats > nats.conf
  zeta cluster config --nodes nodes --tls-cert cert.pem --tls-key key.pem --tls-ca ca.pem
  zeta cluster config --nodes nodes --server-version 2.12 --server-name a \\
    --routes nats://b.lan:6222,nats://c.lan:6222")]
pub(super) struct ConfigArgs {
    /// File with a line NODE KEY for each node, as 'zeta cluster join --key-only' prints it
    #[arg(long, value_name = "FILE")]
    pub(super) nodes: Option<PathBuf>,
    /// One more node
    #[arg(long = "member", value_name = "NODE=KEY")]
    pub(super) members: Vec<String>,
    /// Key of the administrator, or its file, which is made [default: admin.nk in cluster_dir]
    #[arg(long, value_name = "KEY|FILE")]
    pub(super) admin: Option<String>,
    /// Name of the server
    #[arg(long, value_name = "NAME", default_value = "zeta")]
    pub(super) server_name: String,
    /// Address for clients
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:4222")]
    pub(super) listen: String,
    /// Address for monitoring, as in 127.0.0.1:8222
    #[arg(long, value_name = "ADDRESS")]
    pub(super) monitor_listen: Option<String>,
    /// Directory of the streams
    #[arg(long, value_name = "DIR", default_value = "/var/lib/nats")]
    pub(super) store_dir: String,
    /// Certificate of the server
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "tls_ca")]
    pub(super) tls_cert: Option<String>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<String>,
    /// Certificates that sign those of clients and of other servers
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_ca: Option<String>,
    /// Addresses of the other servers of a cluster of servers, with commas
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    pub(super) routes: Vec<String>,
    /// Address for the other servers
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:6222")]
    pub(super) routes_listen: String,
    /// Oldest version of all servers, as in 2.12 [default: what each version understands]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(super) server_version: Option<Version>,
}

fn version(text: &str) -> std::result::Result<Version, &'static str> {
    let parts = text.split('.').count();
    let whole = if parts == 2 { format!("{text}.0") } else { text.to_owned() };
    Version::parse(&whole).ok_or("give the version of a server, as in 2.12")
}

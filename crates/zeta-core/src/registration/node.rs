//! `node.yaml`: the resource `ClusterNode`, as the fact sheet of the first cluster has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Its API group and version.
pub const API_VERSION: &str = "zeta.lucent-financial-group.com/v1";
const GROUP: &str = "zeta.lucent-financial-group.com";
/// Its kind.
pub const KIND: &str = "ClusterNode";
/// The namespace of all nodes.
pub const NAMESPACE: &str = "zeta-cluster";
/// How it was registered: this tool.
pub const REGISTERED_VIA: &str = "zeta-node-register";
/// What a node may be for by default.
pub const DEFAULT_ROLE: &str = "worker";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterNode {
    /// Group and version.
    pub api_version: String,
    /// `ClusterNode`.
    pub kind: String,
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// What the node is.
    pub spec: Spec,
}

/// Name and what tools sort by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The node.
    pub name: String,
    /// `zeta-cluster`.
    pub namespace: String,
    /// Its maintainer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When and how it was registered, and until when that counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What the node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Its name, opaque unless its owner asked for the host's.
    pub hostname: String,
    /// What it is for.
    pub roles: Vec<String>,
    /// Who registered it, when, from what.
    pub registration: Registration,
    /// What it is made of; what is unknown is left out.
    pub hardware: Hardware,
}

/// Who registered it, when, from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registration {
    /// The forge's user that it belongs to.
    pub maintainer: String,
    /// When, ISO 8601.
    pub timestamp: String,
    /// Commit of the configuration that it was installed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flake_commit: Option<String>,
    /// Name of that configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flake_host: Option<String>,
    /// How.
    pub registered_via: String,
}

/// What a node is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// Name of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory, as in `24 GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Processors that the kernel sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u64>,
    /// Name of the first graphics card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Disks, as in `/dev/nvme0n1 931.5 GiB`; those of no size are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<String>,
    /// The first network interface that is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The kernel, as in `6.18.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Its first address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// What has to be said besides the hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The node.
    pub node: String,
    /// The forge's user that it belongs to.
    pub maintainer: String,
    /// What it is for.
    pub roles: Vec<String>,
    /// When, ISO 8601.
    pub timestamp: String,
    /// Until when it counts without a sign of life; `None` for ever.
    pub expires_at: Option<String>,
    /// Commit of the configuration that it was installed from.
    pub flake_commit: Option<String>,
    /// Name of that configuration.
    pub flake_host: Option<String>,
    /// The public key of the node in its cluster of machines, if it has joined one.
    pub cluster_key: Option<String>,
}

/// The annotation with the public key of the node in its cluster of machines. The facts of a node
/// are a fixed list, and annotations are open: readers that do not know this one pass over it.
pub const CLUSTER_KEY: &str = "zeta.lucent-financial-group.com/cluster-key";
/// The annotation that says until when a registration counts.
pub const EXPIRES_AT: &str = "zeta.lucent-financial-group.com/expires-at";

/// Puts the file together.
pub fn compose(about: &About, hardware: Hardware) -> ClusterNode {
    let key = |name: &str| format!("{GROUP}/{name}");
    let mut annotations = BTreeMap::new();
    annotations.insert(key("registered-at"), about.timestamp.clone());
    annotations.insert(key("registered-via"), REGISTERED_VIA.to_owned());
    for (name, value) in [
        ("flake-commit", &about.flake_commit),
        ("flake-host", &about.flake_host),
        ("expires-at", &about.expires_at),
        ("cluster-key", &about.cluster_key),
    ] {
        if let Some(value) = value {
            annotations.insert(key(name), value.clone());
        }
    }
    ClusterNode {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: Metadata {
            name: about.node.clone(),
            namespace: NAMESPACE.to_owned(),
            labels: BTreeMap::from([(key("maintainer"), about.maintainer.clone())]),
            annotations,
        },
        spec: Spec {
            hostname: about.node.clone(),
            roles: about.roles.clone(),
            registration: Registration {
                maintainer: about.maintainer.clone(),
                timestamp: about.timestamp.clone(),
                flake_commit: about.flake_commit.clone(),
                flake_host: about.flake_host.clone(),
                registered_via: REGISTERED_VIA.to_owned(),
            },
            hardware,
        },
    }
}

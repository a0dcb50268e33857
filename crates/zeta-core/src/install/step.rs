//! The steps of an installation, in their order: what each needs, gives and changes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Lists the disks.
    Discover,
    /// Chooses the disks, and keeps the identity of the node that was there.
    Choose,
    /// Wipes them.
    Wipe,
    /// Makes the partitions.
    Partition,
    /// Makes the file systems.
    Format,
    /// Clones the configuration, and writes that of the hardware.
    Source,
    /// Takes over what the stick brings: keys of operators, the role.
    OperatorKey,
    /// Writes the digest of the first password.
    Password,
    /// Writes the name of the node.
    Hostname,
    /// Takes over the wireless networks of the running system.
    Wifi,
    /// Takes over the sealed credentials, or a token.
    Github,
    /// Says which runtimes and tools the node gets, and clones repositories.
    Tools,
    /// Builds the system, and makes the disk start it.
    Build,
    /// Leaves what the node needs to register itself after its first boot.
    Registration,
    /// Keeps the journal on the node, and says what is left to do.
    Banner,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Its number in the original's installer; none for the build.
    pub number: &'static str,
    /// What it does.
    pub title: &'static str,
    /// What it needs.
    pub inputs: &'static [&'static str],
    /// What it gives.
    pub outputs: &'static [&'static str],
    /// What it changes.
    pub effects: &'static str,
    /// What is observed after it.
    pub after: &'static str,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Step; 15] = [
        Step::Discover,
        Step::Choose,
        Step::Wipe,
        Step::Partition,
        Step::Format,
        Step::Source,
        Step::OperatorKey,
        Step::Password,
        Step::Hostname,
        Step::Wifi,
        Step::Github,
        Step::Tools,
        Step::Build,
        Step::Registration,
        Step::Banner,
    ];

    /// Its word in the journal, in JSON and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Step::Discover => "discover",
            Step::Choose => "choose",
            Step::Wipe => "wipe",
            Step::Partition => "partition",
            Step::Format => "format",
            Step::Source => "source",
            Step::OperatorKey => "operator_key",
            Step::Password => "password",
            Step::Hostname => "hostname",
            Step::Wifi => "wifi",
            Step::Github => "github",
            Step::Tools => "tools",
            Step::Build => "build",
            Step::Registration => "registration",
            Step::Banner => "banner",
        }
    }

    /// Returns whether it destroys what is on a disk.
    pub fn is_destructive(self) -> bool {
        matches!(self, Step::Wipe | Step::Partition | Step::Format)
    }

    /// Returns whether it writes to the file systems of the node, which are mounted before it.
    pub fn needs_mounts(self) -> bool {
        self > Step::Format
    }

    /// What it is.
    pub fn about(self) -> About {
        ABOUT.get(self as usize).copied().unwrap_or(ABOUT[0])
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

const ABOUT: [About; 15] = [
    About {
        number: "1",
        title: "list the disks",
        inputs: &["ace.discovery"],
        outputs: &["disks"],
        effects: "none",
        after: "lsblk lists disks with serial numbers",
    },
    About {
        number: "2",
        title: "choose the disks, keep the identity of the node",
        inputs: &["disks", "ace.disks", "consent"],
        outputs: &["chosen disks", "kept identity"],
        effects: "writes the kept keys beside the journal",
        after: "the journal names each disk and what is on it",
    },
    About {
        number: "3",
        title: "wipe the chosen disks",
        inputs: &["chosen disks"],
        outputs: &["blank disks"],
        effects: "destroys what is on the disks: wipefs, sgdisk --zap-all",
        after: "blkid finds nothing on them",
    },
    About {
        number: "4",
        title: "make the partitions",
        inputs: &["blank disks", "ace.partitions"],
        outputs: &["partitions"],
        effects: "writes a partition table: sgdisk, partprobe",
        after: "the table and its partitions have the identities of this run",
    },
    About {
        number: "5",
        title: "make the file systems and mount them",
        inputs: &["partitions", "ace.filesystems"],
        outputs: &["root"],
        effects: "writes file systems: mkfs.vfat, mkfs.ext4; mounts them",
        after: "each file system has the identity of this run",
    },
    About {
        number: "6",
        title: "clone the configuration, describe the hardware",
        inputs: &["root", "ace.source"],
        outputs: &["configuration"],
        effects: "git clone, nixos-generate-config",
        after: "the clone has the commit; the description is there",
    },
    About {
        number: "6.5",
        title: "take over what the stick brings",
        inputs: &["configuration", "stick", "ace.ssh"],
        outputs: &["operator keys"],
        effects: "writes keys, the id of the stick, the role and the join token",
        after: "each file has the digest that the stick's manifest says",
    },
    About {
        number: "6.55",
        title: "write the first password",
        inputs: &["configuration", "ace.initial_password"],
        outputs: &["password"],
        effects: "writes etc/zeta/initial-hashedpassword with mode 0600",
        after: "it has a digest of the kind that was asked for",
    },
    About {
        number: "6.6",
        title: "write the name of the node",
        inputs: &["configuration", "kept identity", "ace.hostname"],
        outputs: &["name"],
        effects: "writes etc/zeta/cluster-node-id and the kept host keys",
        after: "it has the name",
    },
    About {
        number: "6.7",
        title: "take over the wireless networks",
        inputs: &["root", "stick", "ace.network"],
        outputs: &["networks"],
        effects: "writes files of NetworkManager with mode 0600",
        after: "each has the same bytes",
    },
    About {
        number: "6.8",
        title: "take over credentials",
        inputs: &["configuration", "stick", "ace.auth"],
        outputs: &["credentials"],
        effects: "copies the sealed credentials and writes etc/zeta/creds.env, or writes a token",
        after: "they have the digest that the stick's manifest says",
    },
    About {
        number: "6.95",
        title: "name runtimes and tools, clone repositories",
        inputs: &["root", "ace.runtimes"],
        outputs: &["tools"],
        effects: "writes etc/mise/config.toml; git clone",
        after: "the file has what was asked for; each clone has a commit",
    },
    About {
        number: "build",
        title: "build the system",
        inputs: &["operator keys", "password", "name", "ace.nixos_install"],
        outputs: &["system"],
        effects: "nixos-install, which also writes the boot loader",
        after: "the system's profile is there",
    },
    About {
        number: "6.9",
        title: "prepare the registration after the first boot",
        inputs: &["system", "name", "credentials", "ace.cluster"],
        outputs: &["registration"],
        effects: "writes etc/zeta/node-register.env",
        after: "it has the arguments of 'zeta node register'",
    },
    About {
        number: "7",
        title: "keep the journal on the node, say what is left",
        inputs: &["registration", "networks", "tools", "ace.post_install"],
        outputs: &["banner"],
        effects: "copies the journal to var/lib/zeta/install",
        after: "the copy has all lines",
    },
];

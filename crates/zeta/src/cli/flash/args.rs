//! The arguments of `zeta flash`.

use std::path::PathBuf;

use clap::Args;
use zeta_flash::image::Expected;
use zeta_flash::payload::Asked;
use zeta_flash::provenance::Arguments;
use zeta_flash::target;

use crate::cli::creds::{FormatArg, PassphraseArgs};

/// The examples of the noun.
pub(super) const EXAMPLES: &str = "\
The disk is named by its serial number, its WWN or its name below /dev/disk/by-id, and never by
/dev/sdX. 'plan' lists all disks, each with the reasons against it, and writes to none.

Examples:
  zeta flash plan
  zeta flash write --image installer.iso --sums SHA256SUMS --disk 4C530001230725110404";

// What goes on the stick. Not a documentation comment: the help would print it as the description
// of the whole verb.
#[derive(Debug, Args)]
pub(super) struct StickArgs {
    /// Disk: its serial number, its WWN or its name below /dev/disk/by-id
    #[arg(long, value_name = "NAME")]
    pub(super) disk: Option<String>,
    /// The same name again, for a disk that is not connected by USB, of any size
    #[arg(long, value_name = "NAME", requires = "disk")]
    pub(super) allow_internal: Option<String>,
    /// Digest of the image, in hex
    #[arg(long, value_name = "HEX", conflicts_with = "sums", requires = "image")]
    sha256: Option<String>,
    /// File of digests that names the image, as sha256sum writes it
    #[arg(long, value_name = "FILE", requires = "image")]
    sums: Option<PathBuf>,
    #[command(flatten)]
    signer: SignerArgs,
    /// File with public keys of operators; may be given more than once
    #[arg(long = "ssh-key", value_name = "FILE", requires = "image")]
    keys: Vec<PathBuf>,
    /// Name of the node
    #[arg(long, value_name = "NAME", requires = "image")]
    host_name: Option<String>,
    /// Wireless network as JSON with ssid and password: @FILE or env:NAME
    #[arg(long, value_name = "SOURCE", requires = "image")]
    wifi: Option<String>,
    /// Role of the node: first-control-plane or joiner
    #[arg(long, value_name = "ROLE", requires = "image")]
    role: Option<String>,
    /// Server that a joiner joins, as in https://cp.example:6443
    #[arg(long, value_name = "URL", requires = "image")]
    join_server: Option<String>,
    /// Token of the server, with the digest of its CA: @FILE or env:NAME
    #[arg(long, value_name = "SOURCE", requires = "image")]
    join_token: Option<String>,
    /// Host of the flake [default: control-plane or worker-template]
    #[arg(long, value_name = "NAME", requires = "image")]
    flake_host: Option<String>,
    /// Credential to seal: ID=@FILE or ID=env:NAME; may be given more than once
    #[arg(long = "bake-cred", value_name = "ID=SOURCE", requires = "image")]
    bakes: Vec<String>,
    /// Persona of the credentials
    #[arg(long, value_name = "NAME", requires = "image")]
    persona: Option<String>,
}

// Whose the image must be.
#[derive(Debug, Args)]
struct SignerArgs {
    /// Public key that signed the image, as PEM
    #[arg(long, requires = "image", value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Signature of the image by this key
    #[arg(long, requires = "image", value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Bundle of sigstore about the image
    #[arg(long, requires = "image", value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// URI that the certificate in the bundle must have
    #[arg(long, requires = "image", value_name = "URI")]
    identity: Option<String>,
    /// URL that must have vouched for it
    #[arg(long, requires = "image", value_name = "URL")]
    issuer: Option<String>,
    /// Roots that the bundle is checked by [default: those of sigstore's public instance]
    #[arg(long, requires = "image", value_name = "FILE")]
    trusted_root: Option<PathBuf>,
}

impl StickArgs {
    /// Returns whose the image must be.
    pub(super) fn signer(&self) -> Arguments {
        let SignerArgs { public_key, signature, bundle, identity, issuer, trusted_root } =
            &self.signer;
        Arguments {
            public_key: public_key.clone(),
            signature: signature.clone(),
            bundle: bundle.clone(),
            identity: identity.clone(),
            issuer: issuer.clone(),
            trusted_root: trusted_root.clone(),
        }
    }

    /// Returns what is put on the stick.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            keys: self.keys.clone(),
            host_name: self.host_name.clone(),
            wifi: self.wifi.clone(),
            role: self.role.clone(),
            server: self.join_server.clone(),
            flake_host: self.flake_host.clone(),
            token: self.join_token.clone(),
            bakes: self.bakes.clone(),
            persona: self.persona.clone(),
        }
    }

    /// Returns what is known of the digest of the image.
    pub(super) fn expected(&self) -> Expected<'_> {
        match (&self.sha256, &self.sums) {
            (Some(digest), _) => Expected::Digest(digest),
            (None, Some(sums)) => Expected::Sums(sums),
            (None, None) => Expected::Nothing,
        }
    }

    /// Returns which disk was named, for an image of this length.
    pub(super) fn target(&self, image: u64) -> target::Asked<'_> {
        let (disk, allow_internal) = (self.disk.as_deref(), self.allow_internal.as_deref());
        target::Asked { disk, allow_internal, image }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --image only the disks are shown, and nothing else can be named that goes on a stick. With
--image and --disk the answer also has the digest of the plan, which is a consent to exactly this
image, this disk and these files (see 'write').

Exit status: 0 shown; 2 wrong call, or what was asked for cannot be put on a stick; 3 the disk that
was named is refused; 7 the disks cannot be listed.

Examples:
  zeta flash plan
  zeta flash plan --json
  zeta flash plan --image installer.iso --disk 4C530001230725110404 --save plan.json")]
pub(super) struct PlanArgs {
    /// Image that would be written
    #[arg(long, value_name = "FILE")]
    pub(super) image: Option<PathBuf>,
    /// New file that gets the plan
    #[arg(long, value_name = "FILE", requires_all = ["image", "disk"])]
    pub(super) save: Option<PathBuf>,
    #[command(flatten)]
    pub(super) stick: StickArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A person is asked to type a phrase with the serial number of the disk. Without a terminal, give the
plan of 'zeta flash plan --save' and its digest, and the same other arguments as there.

The disk is opened alone, and is compared with the plan once more before the first byte. Its first
block is written last, after all the rest was read back: a disk that was cut off before does not
start. Credentials are sealed for the id of the volume, which is fresh for each stick.

Exit status: 0 written and read back; 1 the disk is half written, do not boot from it; 2 wrong call,
or what was asked for cannot be put on a stick; 3 refused, and nothing was written; 7 not allowed,
or the disks cannot be listed.

Examples:
  zeta flash write --image installer.iso --sums SHA256SUMS --disk 4C530001230725110404 \
      --ssh-key ~/.ssh/id_ed25519.pub --host-name node-7
  zeta flash write --image installer.iso --disk 4C530001230725110404 \
      --plan plan.json --plan-hash 2f1e…
  zeta flash write --image installer.iso --to-file stick.img --host-name node-7")]
pub(super) struct WriteArgs {
    /// Image to write
    #[arg(long, value_name = "FILE")]
    pub(super) image: PathBuf,
    /// New file to write to, in the place of a disk
    #[arg(long, value_name = "FILE", conflicts_with_all = ["disk", "plan"])]
    pub(super) to_file: Option<PathBuf>,
    /// Plan that was saved, as the consent
    #[arg(long, value_name = "FILE", requires = "plan_hash")]
    pub(super) plan: Option<PathBuf>,
    /// Digest of this plan
    #[arg(long, value_name = "HEX", requires = "plan")]
    pub(super) plan_hash: Option<String>,
    /// Format of the sealed credentials
    #[arg(long, value_enum, default_value = "zcv2")]
    pub(super) creds_format: FormatArg,
    #[command(flatten)]
    pub(super) passphrase: PassphraseArgs,
    #[command(flatten)]
    pub(super) stick: StickArgs,
}

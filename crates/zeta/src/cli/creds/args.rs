//! The arguments of `zeta creds`: those of the original's commands, and those that zeta adds.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;
use zeta_core::creds::BLOB;
use zeta_core::creds::frame::Format;

use zeta_creds::passphrase::{Sources, Used};
use zeta_creds::secret::Secret;
use zeta_creds::verbs::factor;
use zeta_creds::verbs::factor::{Factor, Factors};
use zeta_creds::verbs::restore;
use zeta_creds::verbs::restore::RestoreOptions;
use zeta_creds::verbs::{ARGUMENTS, CREDENTIAL, Outcome, WithExitNumber, find};
use zeta_os::error::Result;
use zeta_os::given_path;

/// The examples of the noun.
pub(super) const EXAMPLES: &str = "\
Examples:
  zeta creds passphrase > stick.txt
  zeta creds persist --usb-uuid 4F2A-91C7 --output c.enc --passphrase-file pp --bake-found
  zeta creds inspect --input c.enc";

// The binding of a blob, and its passphrase. Not a documentation comment: the help would print it
// as the description of the whole verb.
#[derive(Debug, Args)]
pub(super) struct LockArgs {
    /// UUID of the stick's file system, exactly as blkid prints it
    #[arg(long, value_name = "UUID")]
    usb_uuid: Option<String>,
    /// File that contains this UUID
    #[arg(long, value_name = "FILE", conflicts_with = "usb_uuid")]
    usb_uuid_file: Option<PathBuf>,
    /// Bind to the stick's serial number instead
    #[arg(long, value_name = "SERIAL")]
    usb_iserial: Option<String>,
    /// File that contains this serial number
    #[arg(long, value_name = "FILE", conflicts_with = "usb_iserial")]
    usb_iserial_file: Option<PathBuf>,
    /// Bind to a key file of 32 bytes on the ESP instead
    #[arg(long, value_name = "FILE")]
    uefi_keyfile: Option<PathBuf>,
    /// File that names the factor to use, or to try first; then several factors may be given
    #[arg(long, value_name = "FILE")]
    factor_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) passphrase: PassphraseArgs,
}

// The sources of the passphrase; not a documentation comment either.
#[derive(Debug, Args)]
pub(in crate::cli) struct PassphraseArgs {
    /// File that contains the passphrase; one newline at the end is removed
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Environment variable that contains the passphrase
    #[arg(long, value_name = "NAME")]
    passphrase_env: Option<String>,
    /// Number of an open descriptor to read the passphrase from
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<i32>,
    /// Ask for the passphrase, also without a terminal (systemd-ask-password)
    #[arg(long)]
    pub(super) ask: bool,
}

impl LockArgs {
    /// Reports whether the call names a factor that opens a blob.
    pub(super) fn is_named(&self) -> bool {
        !self.named().is_empty()
    }

    fn named(&self) -> Vec<Factor> {
        let named = [
            self.usb_uuid.clone().map(Factor::UsbUuid),
            self.usb_uuid_file.clone().map(Factor::UsbUuidFile),
            self.usb_iserial.clone().map(Factor::UsbISerial),
            self.usb_iserial_file.clone().map(Factor::UsbISerialFile),
            self.uefi_keyfile.clone().map(Factor::UefiKeyfile),
        ];
        named.into_iter().flatten().collect()
    }

    /// Returns the factors that the blob may be bound to.
    pub(super) fn factors(&self) -> Outcome<Factors> {
        factor::choose(self.named(), self.factor_file.as_deref()).number(ARGUMENTS)
    }
}

impl PassphraseArgs {
    /// Reports whether a variable holds the passphrase.
    pub(super) fn is_variable(&self) -> bool {
        self.passphrase_env.is_some()
    }

    /// Reports whether the passphrase can be had only once, or from a person.
    pub(super) fn is_read_once(&self) -> bool {
        self.passphrase_fd.is_some() || self.ask
    }

    /// Gets the passphrase; the person types a new one twice.
    pub(in crate::cli) fn find(&self, new: bool) -> Outcome<Secret> {
        let asks = self.ask || std::io::stdin().is_terminal();
        let sources = Sources {
            credential: Some(CREDENTIAL),
            fd: self.passphrase_fd,
            file: self.passphrase_file.as_deref(),
            variable: self.passphrase_env.as_deref(),
            prompt: asks.then_some("Passphrase of the stick: "),
        };
        find(&sources, new).map(|(secret, _)| secret).number(ARGUMENTS)
    }
}

impl PassphraseArgs {
    /// Gets the passphrase at boot, from the staged file only if it exists; returns also whether a
    /// person typed it.
    pub(super) fn find_at_boot(&self, staged: Option<&Path>) -> Outcome<(Secret, bool)> {
        let sources = Sources {
            credential: Some(CREDENTIAL),
            fd: self.passphrase_fd,
            file: staged.filter(|path| path.exists()),
            variable: self.passphrase_env.as_deref(),
            prompt: self.ask.then_some("Passphrase of the stick: "),
        };
        let found = find(&sources, false).map_err(|error| match staged {
            Some(path) if sources.file.is_none() => {
                error.hint(format!("{} is not there", given_path::shown(path)))
            }
            _ => error,
        });
        found.map(|(secret, used)| (secret, used == Used::Prompt)).number(ARGUMENTS)
    }
}

/// The format of a new blob.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(in crate::cli) enum FormatArg {
    /// zeta's own format: the whole header is authenticated
    Zcv2,
    /// The format of the TypeScript tool of the Zeta project
    Zcv1,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Format {
        match format {
            FormatArg::Zcv1 => Format::Zcv1,
            FormatArg::Zcv2 => Format::Zcv2,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 saved; 2 wrong call; 3 a credential cannot be put in; 4 the blob cannot be written;
5 too little memory, or the blob does not open; 6 the blob to be updated holds no bundle; 8 it is
older than one that was seen here; 9 saved, but this machine could not remember it.

Examples:
  zeta creds persist --usb-uuid 4F2A-91C7 --output c.enc --passphrase-file pp --bake-found
  zeta creds persist --usb-uuid 4F2A-91C7 --output c.enc --passphrase-fd 3 --update 3< pp
  zeta creds persist --usb-uuid 4F2A-91C7 --output c.enc --passphrase-file pp \
      --bake-cred gh-cli=@hosts.yml --bake-cred wifi=env:WIFI --persona otto --verify")]
pub(super) struct KeepArgs {
    #[command(flatten)]
    pub(super) lock: LockArgs,
    /// Blob file [on a node: /boot/zeta-creds.enc]
    #[arg(long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Persona whose credentials are included as well
    #[arg(long, value_name = "NAME")]
    pub(super) persona: Option<String>,
    /// Credential to put in: id=@FILE, id=env:NAME or a literal value; may be given more than once
    #[arg(long = "bake-cred", value_name = "ID=SOURCE")]
    pub(super) bakes: Vec<String>,
    /// Put in all credentials of the manifest that are on this machine, but no file without a login
    #[arg(long)]
    pub(super) bake_found: bool,
    /// Keep what the blob already holds
    #[arg(long)]
    pub(super) update: bool,
    /// Accept a blob that is older than one that was seen here
    #[arg(long, requires = "update")]
    pub(super) accept_older: bool,
    /// Format of the blob
    #[arg(long, value_enum, default_value = "zcv2")]
    pub(super) format: FormatArg,
    /// Open the saved blob and compare it
    #[arg(long)]
    pub(super) verify: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 done; 2 wrong call; 3 the blob cannot be read; 4 the file is not a blob; 5 the blob
does not open; 6 it holds no bundle; 7 it holds a credential that no manifest here knows; 8 it is
older than one that was seen here, or a target path was refused and the rest was written; 9 all was
written, but this machine could not remember which save it was.

Of a login that differs, the newer one stays: that of the blob, or that of the file, by the time in
it. A file that is empty or cut off counts as older. --overwrite --accept-older takes the blob's.

A login is written to where it was found; CLAUDE_CONFIG_DIR, CODEX_HOME, GH_CONFIG_DIR,
XDG_CONFIG_HOME and GEMINI_CLI_HOME move it, if they are set and --user is not given.

Examples:
  zeta creds restore --usb-uuid 4F2A-91C7 --input c.enc --passphrase-file pp --dry-run
  zeta creds restore --usb-uuid 4F2A-91C7 --input c.enc --passphrase-file pp --persona otto")]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    pub(super) lock: LockArgs,
    /// Blob file [on a node: /boot/zeta-creds.enc]
    #[arg(long, value_name = "FILE", required_unless_present = "at_boot")]
    pub(super) input: Option<PathBuf>,
    /// Persona whose credentials are included as well
    #[arg(long, value_name = "NAME")]
    persona: Option<String>,
    /// User whose home directory is meant [default: that of HOME]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Root directory of the system to write to
    #[arg(long, value_name = "DIR", default_value = "/")]
    target_root: PathBuf,
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Replace files that differ, but no login by an older one
    #[arg(long)]
    overwrite: bool,
    /// Accept a blob that is older than one that was seen here, and with --overwrite an older login
    #[arg(long)]
    pub(super) accept_older: bool,
    /// Run as a unit at boot: a missing blob is not an error, and the passphrase file is removed
    #[arg(long)]
    pub(super) at_boot: bool,
}

impl RestoreArgs {
    /// Returns the path of the blob.
    pub(super) fn input(&self) -> &Path {
        self.input.as_deref().unwrap_or(Path::new(BLOB))
    }

    /// Returns the options of the restore.
    pub(super) fn options(&self) -> Result<RestoreOptions> {
        Ok(RestoreOptions {
            persona: self.persona.clone(),
            user: self.user.clone(),
            root: restore::root(&self.target_root)?,
            dry_run: self.dry_run,
            overwrite: self.overwrite,
            accept_older: self.accept_older,
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: as for restore; also 8 if a required credential is missing.

Example:
  zeta creds verify --usb-uuid 4F2A-91C7 --input c.enc --passphrase-file pp")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) lock: LockArgs,
    /// Blob file
    #[arg(long, value_name = "FILE", default_value = BLOB)]
    pub(super) input: PathBuf,
    /// Persona whose credentials are included as well
    #[arg(long, value_name = "NAME")]
    pub(super) persona: Option<String>,
    /// Accept a blob that is older than one that was seen here
    #[arg(long)]
    pub(super) accept_older: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta creds inspect --input c.enc
  zeta creds inspect --input c.enc --usb-uuid 4F2A-91C7 --passphrase-file pp")]
pub(super) struct InspectArgs {
    #[command(flatten)]
    pub(super) lock: LockArgs,
    /// Blob file
    #[arg(long, value_name = "FILE", default_value = BLOB)]
    pub(super) input: PathBuf,
}

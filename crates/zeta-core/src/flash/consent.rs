//! How a disk may be overwritten: a person types a phrase with its serial number, or a plan that a
//! person or an agent saw is given back with its digest.

use serde::{Deserialize, Serialize};

use crate::stick::manifest::{Image, digest};

/// The version of the format.
pub const SCHEMA: u32 = 1;
/// No plan is longer, in bytes.
pub const MAX: usize = 64 << 10;

/// What exactly is consented to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The version of the format: 1.
    pub schema: u32,
    /// The image.
    pub image: Image,
    /// The disk that is overwritten.
    pub disk: Target,
    /// The files that are put on it.
    pub files: Vec<Planned>,
}

/// The disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its path at that moment.
    pub path: String,
    /// Major and minor number.
    pub number: String,
    /// Counts what was put into any place since the boot.
    pub diskseq: Option<u64>,
    /// Its serial number, as a person knows it.
    pub serial: String,
    /// Its serial number, as the kernel knows it.
    pub kernel_serial: String,
    /// Its model.
    pub model: String,
    /// Its length, in bytes.
    pub size: u64,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its digest; none of a secret, which could be guessed from it, and of what is sealed anew.
    pub sha256: Option<String>,
    /// What is in it, if that is sealed: the names of the credentials.
    pub sealed: Vec<String>,
}

/// Why a plan is no consent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// The phrase is another one.
    #[error("the phrase is not {0:?}")]
    Phrase(String),
    /// The file is another one than was seen.
    #[error("the plan has the digest {0}, and not the one that was given")]
    Digest(String),
    /// The file is no plan.
    #[error("the file is no plan: {0}")]
    NotOne(String),
    /// It is of another version.
    #[error("the plan is of version {0}, and this program knows version {SCHEMA}")]
    Schema(u32),
    /// Something is not as it was.
    #[error("the plan was made for another {what}: {planned} there, {now} now")]
    Differs {
        /// What.
        what: &'static str,
        /// What the plan says.
        planned: String,
        /// What is the case.
        now: String,
    },
}

/// The phrase that a person types.
pub fn phrase(serial: &str) -> String {
    format!("erase {serial}")
}

/// Checks the phrase that a person typed.
///
/// # Errors
/// It is another one.
pub fn check_phrase(typed: &str, serial: &str) -> Result<(), ConsentError> {
    let phrase = phrase(serial);
    match typed.trim() == phrase && !serial.trim().is_empty() {
        true => Ok(()),
        false => Err(ConsentError::Phrase(phrase)),
    }
}

impl Plan {
    /// Writes it: the same text for the same plan.
    pub fn text(&self) -> String {
        // A struct of plain values can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Compares what would be done now with the plan of a file. `hash` is the digest of the file,
    /// as the one who consents gives it.
    ///
    /// # Errors
    /// The file is another one, or no plan, or anything differs.
    pub fn check(&self, file: &[u8], hash: &str) -> Result<(), ConsentError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let actual = digest(file);
        if !actual.eq_ignore_ascii_case(hash.trim()) {
            return Err(ConsentError::Digest(actual));
        }
        let not_one = |error: serde_json::Error| ConsentError::NotOne(error.to_string());
        let Version { schema } = serde_json::from_slice(file).map_err(not_one)?;
        if schema != SCHEMA {
            return Err(ConsentError::Schema(schema));
        }
        let plan: Plan = serde_json::from_slice(file).map_err(not_one)?;
        let parts = |plan: &Plan| {
            let Plan { image, disk, files, .. } = plan;
            let diskseq = disk.diskseq.map_or("unknown".to_owned(), |number| number.to_string());
            let named = |file: &Planned| {
                let sha256 = file.sha256.as_deref().unwrap_or("secret");
                format!("{} ({sha256}{})", file.name, file.sealed.join(" "))
            };
            let files: Vec<String> = files.iter().map(named).collect();
            [
                ("image", format!("{} of {} bytes", image.sha256, image.bytes)),
                ("serial number", format!("{} {}", disk.serial, disk.kernel_serial)),
                ("device", format!("{} {} {}", disk.path, disk.number, disk.model)),
                ("insertion of the disk", diskseq),
                ("length of the disk", disk.size.to_string()),
                ("list of files", files.join(", ")),
            ]
        };
        let both = parts(&plan).into_iter().zip(parts(self));
        for ((what, planned), (_, now)) in both {
            if planned != now {
                return Err(ConsentError::Differs { what, planned, now });
            }
        }
        if plan == *self { Ok(()) } else { Err(ConsentError::NotOne("it differs".to_owned())) }
    }
}

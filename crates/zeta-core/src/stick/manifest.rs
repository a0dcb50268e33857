//! The list of the files that were put on a stick, with their digests. A reader of the stick takes
//! only the files of this list, and each only if its digest is that of the list.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fat;

/// The name of the file with the list.
pub const MANIFEST_FILE: &str = "zeta-stick.json";
/// The version of the format.
pub const SCHEMA: u32 = 1;
/// No list is longer, in bytes.
pub const MAX: usize = 64 << 10;

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format: 1.
    pub schema: u32,
    /// The image that was written, as its publisher made it.
    pub image: Image,
    /// The id of the volume with the files, as in `4F2A-91C7`.
    pub volume_id: Option<String>,
    /// The files, in the order in which they were written.
    pub files: Vec<Listed>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its digest, in small hex digits.
    pub sha256: String,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its name in the root directory of the volume.
    pub name: String,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its digest, in small hex digits.
    pub sha256: String,
    /// It is a secret in clear text.
    pub secret: bool,
}

/// Why a list or a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is no list.
    #[error("it is no list of files: {0}")]
    NotOne(String),
    /// It is of another version.
    #[error("it is of version {0}, and this program knows version {SCHEMA}")]
    Schema(u32),
    /// A name that is none, or not alone.
    #[error("it names {0:?}, which is no name of a file of its own")]
    Name(String),
    /// A digest that is none.
    #[error("the digest {0:?} is none: it has 64 small hex digits")]
    Digest(String),
    /// The file is not in the list.
    #[error("{0:?} is not in the list")]
    NotListed(String),
    /// The content of the file is another one.
    #[error("{0:?} is not the file of the list: its digest differs")]
    Differs(String),
}

/// Returns the digest of bytes, in small hex digits.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Writes bytes as small hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Listed {
    /// The entry of a file.
    pub fn of(name: &str, content: &[u8], secret: bool) -> Listed {
        let (name, bytes) = (name.to_owned(), content.len() as u64);
        Listed { name, bytes, sha256: digest(content), secret }
    }
}

impl Manifest {
    /// Reads a list.
    ///
    /// # Errors
    /// It is none, of another version, or names a file that cannot be there.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let not_one = |error: serde_json::Error| ManifestError::NotOne(error.to_string());
        if text.len() > MAX {
            return Err(ManifestError::NotOne(format!("it has more than {MAX} bytes")));
        }
        let Version { schema } = serde_json::from_slice(text).map_err(not_one)?;
        if schema != SCHEMA {
            return Err(ManifestError::Schema(schema));
        }
        let manifest: Manifest = serde_json::from_slice(text).map_err(not_one)?;
        let is_digest = |text: &str| {
            let is_small = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            text.len() == 64 && text.bytes().all(is_small)
        };
        let files = &manifest.files;
        let digests = files.iter().map(|file| &file.sha256).chain([&manifest.image.sha256]);
        if let Some(wrong) = digests.into_iter().find(|digest| !is_digest(digest)) {
            return Err(ManifestError::Digest(wrong.clone()));
        }
        let is_taken = |(at, file): &(usize, &Listed)| {
            let before = files.iter().take(*at).map(|file| file.name.as_str());
            let mut taken = before.chain([MANIFEST_FILE]);
            fat::name::check(&file.name).is_err()
                || taken.any(|name| name.eq_ignore_ascii_case(&file.name))
        };
        match files.iter().enumerate().find(is_taken) {
            Some((_, wrong)) => Err(ManifestError::Name(wrong.name.clone())),
            None => Ok(manifest),
        }
    }

    /// Writes it: the same text for the same list.
    pub fn text(&self) -> String {
        // A struct of plain values can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Checks the content of a file against the list.
    ///
    /// # Errors
    /// It is not listed, or is not what was listed.
    pub fn check(&self, name: &str, content: &[u8]) -> Result<&Listed, ManifestError> {
        let mut files = self.files.iter();
        let listed = files.find(|file| file.name.eq_ignore_ascii_case(name));
        let listed = listed.ok_or_else(|| ManifestError::NotListed(name.to_owned()))?;
        match content.len() as u64 == listed.bytes && digest(content) == listed.sha256 {
            true => Ok(listed),
            false => Err(ManifestError::Differs(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let image = Image { bytes: 1 << 20, sha256: digest(b"image") };
        let files = vec![
            Listed::of("zeta-hostname.txt", b"node-1\n", false),
            Listed::of("zeta-join-token", b"K10\n", true),
        ];
        Manifest { schema: SCHEMA, image, volume_id: Some("4F2A-91C7".to_owned()), files }
    }

    #[test]
    fn what_is_written_reads_back_and_takes_only_its_own_files() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(manifest.text().as_bytes()), Ok(manifest.clone()));
        assert!(manifest.check("ZETA-HOSTNAME.TXT", b"node-1\n").is_ok());
        let differs = ManifestError::Differs("zeta-hostname.txt".to_owned());
        assert_eq!(manifest.check("zeta-hostname.txt", b"node-2\n"), Err(differs));
        let none = ManifestError::NotListed("zeta-wifi".to_owned());
        assert_eq!(manifest.check("zeta-wifi", b""), Err(none));
    }

    #[test]
    fn a_list_of_another_form_is_refused_by_name() {
        let text = manifest().text();
        let parsed = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Manifest::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        for (from, to, part) in [
            ("\"schema\": 1", "\"schema\": 2", "version 2"),
            ("\"bytes\"", "\"size\"", "size"),
            ("\"zeta-hostname.txt\"", "\"../etc/passwd\"", "no name of a file"),
            ("\"zeta-hostname.txt\"", "\"ZETA-JOIN-TOKEN\"", "no name of a file"),
            ("\"zeta-hostname.txt\"", "\"Zeta-Stick.json\"", "no name of a file"),
            ("\"sha256\": \"", "\"sha256\": \"A", "digest"),
        ] {
            let why = parsed(from, to);
            assert!(why.contains(part), "{from} -> {to}: {why}");
        }
        assert!(Manifest::parse(&vec![b' '; MAX + 1]).is_err());
        assert!(Manifest::parse(b"").is_err());
    }
}

//! The factor that a blob is bound to besides its passphrase, and the note beside it that names it.
//!
//! A blob that was bound to one factor is never tried with another one.

use std::path::{Path, PathBuf};

use crate::blob;
use zeta_os::error::{Error, Kind, Result};

/// Bytes of a key file.
const KEY_LEN: usize = 32;
/// No other factor is longer, in bytes.
const TEXT_MAX: usize = 4096;

/// A factor, as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Factor {
    /// The UUID of the stick's file system, exactly as it is given.
    UsbUuid(String),
    /// A file that holds it, of which white space does not count.
    UsbUuidFile(PathBuf),
    /// The serial number of the stick.
    UsbISerial(String),
    /// A file that holds it, of which the end of the line does not count.
    UsbISerialFile(PathBuf),
    /// A file of 32 bytes on the ESP.
    UefiKeyfile(PathBuf),
}

/// The one that was named; of several, the one that a file chooses.
///
/// # Errors
/// None was named, or several without such a file; or not the one that the file chooses.
pub fn choose(mut named: Vec<Factor>, by: Option<&Path>) -> Result<Factor> {
    let Some(path) = by else {
        return match (named.pop(), named.as_slice()) {
            (Some(factor), []) => Ok(factor),
            (None, _) => Err(Error::usage("which stick? give --usb-uuid UUID")
                .hint("blkid -s UUID -o value DEVICE tells it")),
            (Some(_), _) => {
                Err(Error::usage("a blob is bound to one thing, and several are named")
                    .hint("a file can choose: --factor-file FILE"))
            }
        };
    };
    let word = noted(path)?;
    named.into_iter().find(|factor| factor.word() == word).ok_or_else(|| {
        Error::usage(format!("{}: it chooses {word}, which is not given", path.display()))
            .hint(format!("give {}; another factor is never tried", flag(word)))
    })
}

impl Factor {
    /// The word in the note.
    pub fn word(&self) -> &'static str {
        match self {
            Factor::UsbUuid(_) | Factor::UsbUuidFile(_) => "usbUuid",
            Factor::UsbISerial(_) | Factor::UsbISerialFile(_) => "usbISerial",
            Factor::UefiKeyfile(_) => "uefiKeyfile",
        }
    }

    /// The text that goes into the key.
    ///
    /// # Errors
    /// The text is empty, has blanks at an end, or its file cannot be read.
    pub fn material(&self) -> Result<String> {
        match self {
            Factor::UsbUuid(text) if text.is_empty() => {
                Err(Error::usage("the UUID of the stick is empty"))
            }
            Factor::UsbUuid(text) => Ok(text.clone()),
            Factor::UsbUuidFile(path) => {
                let text = text_of(path)?;
                let text: String = text.split_whitespace().collect();
                if text.is_empty() {
                    return Err(unusable(path, "it holds no UUID"));
                }
                Ok(text)
            }
            Factor::UsbISerial(text) if text.is_empty() || text.trim() != text => {
                Err(Error::usage("the serial number is empty, or has blanks at an end"))
            }
            Factor::UsbISerial(text) => Ok(text.clone()),
            Factor::UsbISerialFile(path) => {
                let text = text_of(path)?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() || text.trim() != text {
                    return Err(unusable(path, "it holds no serial number without blanks around"));
                }
                Ok(text.to_owned())
            }
            Factor::UefiKeyfile(path) => {
                let bytes = read(path)?;
                if bytes.len() != KEY_LEN {
                    let why = format!("it has {} bytes and not {KEY_LEN}", bytes.len());
                    return Err(unusable(path, &why));
                }
                Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
            }
        }
    }

    /// Refuses to go on if the note beside the blob names another factor.
    ///
    /// # Errors
    /// The note names another one, or cannot be read.
    pub fn check_note(&self, blob: &Path) -> Result<()> {
        let noted = noted(&note(blob))?;
        if noted == self.word() {
            return Ok(());
        }
        let text =
            format!("{}: it is bound to {noted}, and not to {}", blob.display(), self.word());
        Err(Error::usage(text).hint(format!("give {}; another factor is never tried", flag(noted))))
    }

    /// Writes the note, unless none is needed.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn write_note(&self, blob: &Path) -> Result<()> {
        let path = note(blob);
        if self.word() == "usbUuid" && !path.exists() {
            return Ok(());
        }
        blob::put(&path, format!("{}\n", self.word()).as_bytes())
    }
}

/// Words in a note, and the flag of each.
const WORDS: [(&str, &str); 3] =
    [("usbUuid", "--usb-uuid"), ("usbISerial", "--usb-iserial"), ("uefiKeyfile", "--uefi-keyfile")];

/// The word in a note; without a note, the oldest of them.
fn noted(path: &Path) -> Result<&'static str> {
    let text: String = match blob::get(path, TEXT_MAX)? {
        Some(bytes) => String::from_utf8_lossy(&bytes).split_whitespace().collect(),
        None => "usbUuid".to_owned(),
    };
    let word = WORDS.iter().find(|(word, _)| *word == text).map(|(word, _)| *word);
    word.ok_or_else(|| unusable(path, "it names no factor that is known"))
}

fn flag(word: &str) -> &'static str {
    WORDS.iter().find(|(known, _)| *known == word).map_or("", |(_, flag)| flag)
}

/// `zeta-creds.factor` beside `zeta-creds.enc`.
fn note(blob: &Path) -> PathBuf {
    let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    blob.with_file_name(format!("{}.factor", name.strip_suffix(".enc").unwrap_or(&name)))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    blob::get(path, TEXT_MAX)?.ok_or_else(|| unusable(path, "there is no such file"))
}

fn text_of(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| unusable(path, "it is not UTF-8 text"))
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{}: {why}", path.display()))
        .hint("without what it is bound to, a blob cannot be opened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_chooses_one_of_several_and_never_another() {
        let dir = std::env::temp_dir().join(format!("zeta-factor-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let note = dir.join("zeta-creds.factor");
        let uuid = || Factor::UsbUuid("1A2B".to_owned());
        let serial = || Factor::UsbISerialFile(dir.join("serial"));
        let chosen = |named: &[Factor], text: Option<&str>| {
            let _ = std::fs::remove_file(&note);
            if let Some(text) = text {
                std::fs::write(&note, text).unwrap();
            }
            choose(named.to_vec(), Some(&note)).ok()
        };
        let both = [uuid(), serial()];
        assert_eq!(chosen(&both, None), Some(uuid()), "without a note it is the UUID");
        assert_eq!(chosen(&both, Some(" usbISerial\r\n")), Some(serial()));
        assert_eq!(chosen(&both, Some("uefiKeyfile")), None);
        assert_eq!(chosen(&both, Some("")), None);
        assert_eq!(chosen(&[serial()], None), None);
        assert_eq!(choose(vec![uuid()], None).unwrap(), uuid());
        assert!(choose(both.to_vec(), None).is_err() && choose(Vec::new(), None).is_err());

        for (text, material) in
            [("S 1\r\n", Some("S 1")), (" S1\n", None), ("S1 ", None), ("\n", None), ("", None)]
        {
            std::fs::write(dir.join("serial"), text).unwrap();
            assert_eq!(serial().material().ok().as_deref(), material, "{text:?}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

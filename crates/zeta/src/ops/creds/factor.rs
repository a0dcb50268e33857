//! What a blob is bound to besides its passphrase, and the note beside it that says so.
//!
//! A blob that was bound to one factor is never tried with another one.

use std::path::{Path, PathBuf};

use crate::adapters::blob;
use crate::error::{Error, Kind, Result};

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
    /// A file of 32 bytes on the ESP.
    UefiKeyfile(PathBuf),
}

impl Factor {
    /// The word in the note.
    pub fn word(&self) -> &'static str {
        match self {
            Factor::UsbUuid(_) | Factor::UsbUuidFile(_) => "usbUuid",
            Factor::UsbISerial(_) => "usbISerial",
            Factor::UefiKeyfile(_) => "uefiKeyfile",
        }
    }

    /// The text that goes into the key.
    ///
    /// # Errors
    /// It is empty, has blanks at an end, or its file cannot be read.
    pub fn material(&self) -> Result<String> {
        match self {
            Factor::UsbUuid(text) if text.is_empty() => {
                Err(Error::usage("the UUID of the stick is empty"))
            }
            Factor::UsbUuid(text) => Ok(text.clone()),
            Factor::UsbUuidFile(path) => {
                let text = String::from_utf8(read(path)?);
                let text = text.map_err(|_| unusable(path, "it is not UTF-8 text"))?;
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
    /// It does, or it cannot be read.
    pub fn check_note(&self, blob: &Path) -> Result<()> {
        let path = note(blob);
        let noted = match blob::get(&path, TEXT_MAX)? {
            Some(bytes) => String::from_utf8_lossy(&bytes).split_whitespace().collect(),
            None => "usbUuid".to_owned(),
        };
        if noted == self.word() {
            return Ok(());
        }
        let flag = match noted.as_str() {
            "usbUuid" => "--usb-uuid",
            "usbISerial" => "--usb-iserial",
            "uefiKeyfile" => "--uefi-keyfile",
            _ => return Err(unusable(&path, "it names no factor that is known")),
        };
        let text =
            format!("{}: it is bound to {noted}, and not to {}", blob.display(), self.word());
        Err(Error::usage(text).hint(format!("give {flag}; another factor is never tried")))
    }

    /// Writes the note, unless none is needed.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_note(&self, blob: &Path) -> Result<()> {
        let path = note(blob);
        if self.word() == "usbUuid" && !path.exists() {
            return Ok(());
        }
        blob::put(&path, format!("{}\n", self.word()).as_bytes())
    }
}

/// `zeta-creds.factor` beside `zeta-creds.enc`.
fn note(blob: &Path) -> PathBuf {
    let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    blob.with_file_name(format!("{}.factor", name.strip_suffix(".enc").unwrap_or(&name)))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    blob::get(path, TEXT_MAX)?.ok_or_else(|| unusable(path, "there is no such file"))
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{}: {why}", path.display()))
        .hint("without what it is bound to, a blob cannot be opened")
}

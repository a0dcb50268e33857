//! The factor that a blob is bound to besides its passphrase, and the note beside it that names it.
//!
//! The note is a hint and no gate: it is another file, which a copy leaves behind and a power cut
//! leaves old. What a blob is bound to is decided by its MAC, among the factors that the call
//! names.

use std::path::{Path, PathBuf};

use crate::blob;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::given_path::shown;

/// Bytes of a key file.
const KEY_LEN: usize = 32;
/// No other factor is longer, in bytes.
const TEXT_MAX: usize = 4096;
/// Editors of Windows put it before a text; nobody sees it and nobody types it.
const BYTE_ORDER_MARK: char = '\u{feff}';

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

/// The factors that a call names, the likeliest first; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factors {
    named: Vec<Factor>,
    /// The word of a note that chooses among several.
    chosen: Option<String>,
}

/// A factor, and the text of it that goes into the key.
#[derive(Clone)]
pub struct Binding {
    /// The word of the factor.
    pub word: &'static str,
    /// The text.
    pub text: String,
}

/// What is tried to open a blob.
pub struct Tried {
    /// The texts, the likeliest first.
    pub bindings: Vec<Binding>,
    /// Why the text of the factor that the note names cannot be had.
    pub lacking: Option<Error>,
}

/// Takes the factors of a call: one, or several and a file that names the one that a new blob is
/// bound to.
///
/// # Errors
/// None was named, or several without such a file.
pub fn choose(mut named: Vec<Factor>, by: Option<&Path>) -> Result<Factors> {
    if named.is_empty() {
        return Err(Error::usage("which stick? give --usb-uuid UUID")
            .hint("blkid -s UUID -o value DEVICE tells it"));
    }
    if named.len() > 1 && by.is_none() {
        return Err(Error::usage("a blob is bound to one thing, and several are named")
            .hint("a file can choose: --factor-file FILE"));
    }
    let chosen = by.filter(|_| named.len() > 1).map(|path| noted(path).unwrap_or_default());
    named.sort_by_key(|factor| Some(factor.word()) != chosen.as_deref());
    Ok(Factors { named, chosen })
}

impl Factors {
    /// The one that a new blob is bound to.
    ///
    /// # Errors
    /// The file chooses one that is not named; or its text cannot be had.
    pub fn to_seal(&self) -> Result<Binding> {
        match (self.named.first(), &self.chosen) {
            (Some(first), None) => first.binding(),
            (Some(first), Some(word)) if first.word() == word => first.binding(),
            _ => {
                let word = self.chosen.as_deref().unwrap_or_default();
                let flag = flag(word).unwrap_or("a factor that is known");
                let text = "the file that chooses the factor names another one than the call does";
                Err(Error::usage(text).hint(format!("it asks for {flag}")))
            }
        }
    }

    /// All that a blob may be bound to, the likeliest first: its note says which.
    ///
    /// # Errors
    /// The text of none can be had.
    pub fn to_open(&self, blob: &Path) -> Result<Tried> {
        let noted = noted(&note(blob)).ok();
        let is_noted = |word: &str| Some(word) == noted.as_deref();
        let mut tried = Tried { bindings: Vec::new(), lacking: None };
        let mut failed = None;
        for factor in &self.named {
            match factor.bindings() {
                Ok(found) => tried.bindings.extend(found),
                Err(error) if is_noted(factor.word()) => tried.lacking = Some(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        tried.bindings.sort_by_key(|binding| !is_noted(binding.word));
        match tried.lacking.clone().or(failed) {
            Some(error) if tried.bindings.is_empty() => Err(error),
            _ => Ok(tried),
        }
    }

    /// The next step if none of them opened a blob: the factor that its note names, if that was not
    /// among them.
    pub fn other(&self, blob: &Path) -> Option<String> {
        let noted = noted(&note(blob)).ok()?;
        let named = self.named.iter().any(|factor| factor.word() == noted);
        let flag = flag(&noted).filter(|_| !named)?;
        Some(format!("the note beside the blob names another factor: give {flag}"))
    }
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

    /// The text that goes into the key of a new blob.
    ///
    /// # Errors
    /// The text is empty, has blanks at an end, or its file cannot be read.
    pub fn binding(&self) -> Result<Binding> {
        self.text().map(|text| Binding { word: self.word(), text })
    }

    /// The texts that may be in the key of an old blob: earlier versions of zeta took a byte order
    /// mark of the file as a part of the UUID.
    fn bindings(&self) -> Result<Vec<Binding>> {
        let binding = self.binding()?;
        let marked = match self {
            Factor::UsbUuidFile(path) if text_of(path)?.starts_with(BYTE_ORDER_MARK) => {
                let text = format!("{BYTE_ORDER_MARK}{}", binding.text);
                Some(Binding { text, ..binding })
            }
            _ => None,
        };
        Ok([binding].into_iter().chain(marked).collect())
    }

    fn text(&self) -> Result<String> {
        match self {
            Factor::UsbUuid(text) if text.is_empty() => {
                Err(Error::usage("the UUID of the stick is empty"))
            }
            Factor::UsbUuid(text) => Ok(text.clone()),
            Factor::UsbUuidFile(path) => {
                let text = text_of(path)?;
                let text = text.trim_start_matches(BYTE_ORDER_MARK);
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
                let text = text.trim_start_matches(BYTE_ORDER_MARK);
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
}

/// Writes the note beside a blob, unless none is needed.
///
/// # Errors
/// The note cannot be written.
pub fn write_note(blob: &Path, word: &str) -> Result<()> {
    let path = note(blob);
    if word == USB_UUID && !path.exists() {
        return Ok(());
    }
    blob::put(&path, format!("{word}\n").as_bytes())
}

/// What a blob without a note is bound to.
const USB_UUID: &str = "usbUuid";
/// Words in a note, and the flag of each.
const WORDS: [(&str, &str); 3] =
    [(USB_UUID, "--usb-uuid"), ("usbISerial", "--usb-iserial"), ("uefiKeyfile", "--uefi-keyfile")];

/// The word in a note; without a note, the oldest of them. The stick may hold a file of any kind
/// and size under that name.
fn noted(path: &Path) -> Result<String> {
    Ok(match blob::get(path, TEXT_MAX)? {
        Some(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            text.trim_start_matches(BYTE_ORDER_MARK).split_whitespace().collect()
        }
        None => USB_UUID.to_owned(),
    })
}

fn flag(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, flag)| *flag)
}

/// `zeta-creds.factor` beside `zeta-creds.enc` and `zeta-creds.bak`. FAT folds the case of names.
fn note(blob: &Path) -> PathBuf {
    let ends = |end: &str| blob.extension().is_some_and(|known| known.eq_ignore_ascii_case(end));
    if ends("enc") || ends("bak") {
        blob.with_extension("factor")
    } else {
        let name = blob.file_name().unwrap_or_default().to_string_lossy();
        blob.with_file_name(format!("{name}.factor"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let found = blob::get(path, TEXT_MAX);
    // An error of the system names the path, which may be the secret itself.
    let found = found.map_err(|error| Error { text: unread(path, &error), ..error });
    found?.ok_or_else(|| unusable(path, "there is no such file"))
}

fn unread(path: &Path, error: &Error) -> String {
    let named = shown(path);
    if named == path.display().to_string() {
        error.text.clone()
    } else {
        format!("{named}: it cannot be read")
    }
}

fn text_of(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| unusable(path, "it is not UTF-8 text"))
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{}: {why}", shown(path)))
        .hint("without what it is bound to, a blob cannot be opened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_chooses_one_of_several() {
        let dir = std::env::temp_dir().join(format!("zeta-factor-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let by = dir.join("note");
        let uuid = || Factor::UsbUuid("4F2A-91C7".to_owned());
        let serial = || Factor::UsbISerial("A1".to_owned());
        let sealed = |named: Vec<Factor>, by: Option<&Path>| {
            choose(named, by).and_then(|factors| factors.to_seal()).map(|binding| binding.word)
        };
        assert!(sealed(vec![], Some(&by)).is_err());
        assert!(sealed(vec![uuid(), serial()], None).is_err());
        assert_eq!(sealed(vec![serial()], None), Ok("usbISerial"));
        // Without the file it is the oldest factor; one that was named alone needs no file.
        assert_eq!(sealed(vec![serial(), uuid()], Some(&by)), Ok("usbUuid"));
        assert_eq!(sealed(vec![serial()], Some(&by)), Ok("usbISerial"));
        std::fs::write(&by, "\u{feff}usbISerial\r\n").unwrap();
        assert_eq!(sealed(vec![uuid(), serial()], Some(&by)), Ok("usbISerial"));
        for word in ["uefiKeyfile", "tpm"] {
            std::fs::write(&by, word).unwrap();
            let refused = sealed(vec![uuid(), serial()], Some(&by)).unwrap_err();
            assert!(refused.text.contains("names another one"), "{refused}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_note_of_a_blob_says_what_is_tried_first() {
        let dir = std::env::temp_dir().join(format!("zeta-factor-note-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let named = vec![Factor::UsbUuid("U".to_owned()), Factor::UsbISerial("S".to_owned())];
        let factors = Factors { named, chosen: None };
        std::fs::write(dir.join("zeta-creds.factor"), "usbISerial\n").unwrap();
        for (name, first) in [("zeta-creds.enc", "S"), ("ZETA-CREDS.BAK", "U"), ("other", "U")] {
            let tried = factors.to_open(&dir.join(name)).unwrap();
            let tried = tried.bindings;
            assert_eq!((tried.len(), tried[0].text.as_str()), (2, first), "{name}");
        }
        let uuid = Factors { named: vec![Factor::UsbUuid("U".to_owned())], chosen: None };
        let other = |name: &str| uuid.other(&dir.join(name)).unwrap_or_default();
        assert!(other("zeta-creds.bak").contains("--usb-iserial"));
        assert_eq!(other("other.enc"), "");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_serial_number_is_what_its_file_has_without_the_end_of_the_line() {
        let path = std::env::temp_dir().join(format!("zeta-factor-text-{}", std::process::id()));
        for (text, expect) in
            [("S 1\r\n", Some("S 1")), (" S1\n", None), ("S1 ", None), ("\n", None), ("", None)]
        {
            std::fs::write(&path, text).unwrap();
            let binding = Factor::UsbISerialFile(path.clone()).binding();
            assert_eq!(binding.ok().map(|binding| binding.text).as_deref(), expect, "{text:?}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_uuid() {
        let path = std::env::temp_dir().join(format!("zeta-factor-bom-{}", std::process::id()));
        std::fs::write(&path, "\u{feff}4F2A-91C7\r\n").unwrap();
        let factor = Factor::UsbUuidFile(path.clone());
        assert_eq!(factor.binding().unwrap().text, "4F2A-91C7");
        let texts: Vec<String> = factor.bindings().unwrap().into_iter().map(|b| b.text).collect();
        assert_eq!(texts, ["4F2A-91C7", "\u{feff}4F2A-91C7"]);
        let serial = Factor::UsbISerialFile(path.clone());
        assert_eq!(serial.binding().unwrap().text, "4F2A-91C7");
        std::fs::remove_file(path).unwrap();
    }
}

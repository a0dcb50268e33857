//! The package for pip: a wheel that has no Python, but the program as a script.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::archive::{Entry, zip};
use crate::{DESCRIPTION, Release, SUMMARY, architecture};

/// The systems on which a static program runs, as pip names them: those with glibc, by an old and
/// by a new name, and those with musl.
const SYSTEMS: [&str; 3] = ["manylinux_2_17", "manylinux2014", "musllinux_1_1"];

/// Returns the name of the package's file.
///
/// # Errors
/// This architecture has no packages.
pub fn file_name(release: &Release) -> Result<String> {
    Ok(format!("zeta-{}-py3-none-{}.whl", release.version, platforms()?.join(".")))
}

/// Makes the package.
///
/// # Errors
/// This architecture has no packages, or a file cannot be packed.
pub fn pack(release: &Release) -> Result<Vec<u8>> {
    let (name, info) = ("zeta", format!("zeta-{}.dist-info", release.version));
    let data = format!("{name}-{}.data", release.version);
    let mut files = vec![Entry::program(format!("{data}/scripts/zeta"), release.program.clone())];
    let licences = release.licences.iter().cloned();
    let licences = licences.chain([("crates.txt".to_owned(), release.credits.clone().into())]);
    files.extend(licences.map(|(name, text)| Entry::text(format!("{info}/licenses/{name}"), text)));
    files.push(Entry::text(format!("{info}/METADATA"), metadata(release)));
    let mut wheel = "Wheel-Version: 1.0\nGenerator: zeta\nRoot-Is-Purelib: false\n".to_owned();
    for platform in platforms()? {
        wheel += &format!("Tag: py3-none-{platform}\n");
    }
    files.push(Entry::text(format!("{info}/WHEEL"), wheel));
    let record = format!("{info}/RECORD");
    let list: String = files.iter().map(row).chain([format!("{record},,\n")]).collect();
    files.push(Entry::text(record, list));
    zip(&files, release.level)
}

fn platforms() -> Result<Vec<String>> {
    let machine = architecture()?.python;
    Ok(SYSTEMS.iter().map(|system| format!("{system}_{machine}")).collect())
}

fn metadata(release: &Release) -> String {
    format!(
        "Metadata-Version: 2.1\nName: zeta\nVersion: {}\nSummary: {SUMMARY}\n\
         License: MIT OR Apache-2.0\nClassifier: Operating System :: POSIX :: Linux\n\
         Requires-Python: >=3\nDescription-Content-Type: text/plain\n\n{DESCRIPTION}\n",
        release.version
    )
}

/// Returns the line of a file in the list of all files.
fn row(file: &Entry) -> String {
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&file.content));
    format!("{},sha256={hash},{}\n", file.path, file.content.len())
}

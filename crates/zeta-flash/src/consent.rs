//! The plan that is shown, kept in a file, and given back as the consent to exactly that.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeta_core::flash::consent::{ConsentError, MAX, Plan, SCHEMA, check_phrase};
use zeta_core::stick::manifest;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;

use crate::image::Image;
use crate::payload::Payload;
use crate::target::Row;

/// What would be done.
pub fn plan(image: &Image, row: &Row, payload: &Payload) -> Plan {
    let image = manifest::Image { bytes: image.len, sha256: image.sha256.clone() };
    Plan { schema: SCHEMA, image, disk: row.target(), files: payload.planned() }
}

/// The digest of the text of a plan.
pub fn hash(plan: &Plan) -> String {
    manifest::digest(plan.text().as_bytes())
}

/// Writes a plan to a new file.
///
/// # Errors
/// There is a file already, or it cannot be written.
pub fn save(plan: &Plan, path: &Path) -> Result<()> {
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(plan.text().as_bytes()));
    written.map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::AlreadyExists => Kind::Refused,
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Kind::Usage,
            _ => Kind::Fault,
        };
        Error::new(kind, format!("cannot write the plan {}: {error}", path.display()))
    })
}

/// Checks that a file is the plan of what would be done now, and has the digest that was given.
///
/// # Errors
/// It is not.
pub fn check_file(plan: &Plan, path: &Path, hash: &str) -> Result<()> {
    let file = read_plain(path, MAX as u64).map_err(|error| {
        Error::usage(format!("cannot read the plan {}: {error}", path.display()))
    })?;
    plan.check(&file, hash).map_err(refused)
}

/// Checks what a person typed; `None` is the end of the input.
///
/// # Errors
/// It is not the phrase.
pub fn check_typed(typed: Option<&str>, row: &Row) -> Result<()> {
    check_phrase(typed.unwrap_or_default(), row.names.shown()).map_err(refused)
}

fn refused(error: ConsentError) -> Error {
    let kind = match error {
        ConsentError::NotOne(_) | ConsentError::Schema(_) => Kind::Usage,
        _ => Kind::Refused,
    };
    Error::new(kind, error.to_string()).hint("nothing was written")
}

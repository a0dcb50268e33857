//! What will be written: the image, and a copy of its EFI partition with the files in it. The copy
//! is in memory alone, for it has secrets in it.

use zeroize::Zeroizing;
use zeta_core::creds::bundle::Bundle;
use zeta_core::fat::{self, FatError, File};
use zeta_core::stick::CREDS_FILE;
use zeta_core::stick::manifest::{self, Listed, MANIFEST_FILE, Manifest};
use zeta_os::error::{Error, Kind, Result};

use crate::image::{ESP_MAX, Image};
use crate::payload::Payload;

/// An image with files in it.
#[derive(Debug)]
pub struct Staged {
    /// The image itself, which is not changed.
    pub image: Image,
    /// The id of the volume, fresh for this stick; `None` if the image has no place for one.
    pub volume_id: Option<String>,
    /// The files, with their digests.
    pub files: Vec<Listed>,
    /// Where the copy of the partition begins in the image, and the copy.
    overlay: Option<(u64, Zeroizing<Vec<u8>>)>,
}

/// Seals credentials for the id of a volume.
pub type Seal<'a> = &'a dyn Fn(&Bundle, &str) -> Result<Vec<u8>>;

impl Staged {
    /// Puts the files into a copy of the partition, and reads each of them back from it.
    ///
    /// # Errors
    /// The image has no partition for them, or no room.
    pub fn make(mut image: Image, payload: &Payload, seal: Seal<'_>) -> Result<Staged> {
        let esp = match &image.esp {
            Ok(esp) => *esp,
            Err(_) if payload.is_empty() => {
                return Ok(Staged { image, volume_id: None, files: Vec::new(), overlay: None });
            }
            Err(error) => return Err(refused(&image, error)),
        };
        if esp.len() > ESP_MAX {
            let text = format!("its EFI partition has {} bytes, more than {ESP_MAX}", esp.len());
            return Err(Error::new(Kind::Refused, format!("{}: {text}", image.path().display())));
        }
        let mut volume = Zeroizing::new(image.take_partition());
        let id = zeta_os::host::random()? as u32;
        let volume_id = fat::id::set(&mut volume, id).then(|| fat::id::text(id));
        let files = put(&image, &mut volume, volume_id.as_deref(), payload, seal)?;
        Ok(Staged { image, volume_id, files, overlay: Some((esp.offset(), volume)) })
    }

    /// Changes bytes that were read from the image at a place to what is written there.
    pub fn lay_over(&self, bytes: &mut [u8], offset: u64) {
        let Some((begin, copy)) = &self.overlay else { return };
        let skipped = begin.saturating_sub(offset) as usize;
        let from = offset.saturating_sub(*begin) as usize;
        let to = bytes.iter_mut().skip(skipped);
        to.zip(copy.iter().skip(from)).for_each(|(to, from)| *to = *from);
    }
}

fn refused(image: &Image, error: &FatError) -> Error {
    let text = format!("{}: nothing can be put into it: {error}", image.path().display());
    Error::new(Kind::Refused, text).hint("no disk was opened")
}

/// Puts all files and their list into a volume.
fn put(
    image: &Image,
    volume: &mut [u8],
    volume_id: Option<&str>,
    payload: &Payload,
    seal: Seal<'_>,
) -> Result<Vec<Listed>> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let no_id = || {
        let text = format!("{}: its EFI partition has no place for an id", image.path().display());
        Error::new(Kind::Refused, text).hint("sealed credentials are bound to that id")
    };
    let sealed = match &payload.bundle {
        Some(bundle) => Some(seal(bundle, volume_id.ok_or_else(no_id)?)?),
        None => None,
    };
    let plain = payload.items.iter().map(|item| (item.name, item.content.as_slice(), item.secret));
    let sealed = sealed.as_deref().map(|sealed| (CREDS_FILE, sealed, false));
    let all: Vec<(&str, &[u8], bool)> = plain.chain(sealed).collect();
    let files: Vec<Listed> =
        all.iter().map(|(name, content, secret)| Listed::of(name, content, *secret)).collect();
    let list = Manifest {
        schema: manifest::SCHEMA,
        image: manifest::Image { bytes: image.len, sha256: image.sha256.clone() },
        volume_id: volume_id.map(str::to_owned),
        files: files.clone(),
    };
    let text = list.text();
    let all = all.into_iter().map(|(name, content, _)| File { name, content });
    let all: Vec<File<'_>> =
        all.chain([File { name: MANIFEST_FILE, content: text.as_bytes() }]).collect();
    fat::add(volume, &all).map_err(|error| refused(image, &error))?;
    let tables = fat::Volume::read(volume).map_err(|error| refused(image, &error))?.tables;
    for file in &all {
        for copy in 0..tables {
            let read = fat::read::file(volume, file.name, copy);
            if read.ok().flatten().map(Zeroizing::new).is_none_or(|read| *read != file.content) {
                let text = format!("{} does not read back from the copy", file.name);
                return Err(Error::new(Kind::Fault, text));
            }
        }
    }
    Ok(files)
}

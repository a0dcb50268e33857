//! Writes an image to a disk that a person named, with files in its EFI partition.
#![forbid(unsafe_code)]

pub mod consent;
pub mod fingerprint;
pub mod image;
pub mod payload;
pub mod provenance;
pub mod report;
pub mod staged;
pub mod target;
pub mod writer;

//! Credentials in a sealed blob on a stick, and back in their places at boot.
#![deny(unsafe_code)]

pub mod blob;
pub mod cipher;
pub mod file_writer;
#[expect(unsafe_code, reason = "an inherited descriptor is a bare number; all of it is in there")]
pub mod inherited_fd;
#[expect(unsafe_code, reason = "mmap and mlock have no safe face; all of it is in there")]
pub mod locked_memory;
pub mod passphrase;
pub mod prompt;
pub mod report;
pub mod secret;
pub mod verbs;

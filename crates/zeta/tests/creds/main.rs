//! Sealed credentials: the original's blobs, our own frozen ones, and a decoder that shares no code
//! with either.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod decoder;
mod own;
mod vectors;

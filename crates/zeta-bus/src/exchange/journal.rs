//! A list of short lines that is added to, and that a killed writer leaves readable.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::OFlags;
use zeta_os::error::{Error, Result};
use zeta_state::directory::tree::read;

use crate::directory::{Bus, CLUSTER, INNER, open_file, replace};

/// Most bytes of a list.
const BYTES_MAX: usize = 64 << 20;

/// A list, opened for adding.
#[derive(Debug)]
pub(super) struct Journal {
    name: &'static str,
    file: File,
    /// How many lines it has.
    pub(super) lines: usize,
    /// The last line has no end: its writer was killed, or the disk was full.
    is_torn: bool,
}

impl Journal {
    /// Opens a list and returns its whole lines.
    pub(super) fn open(bus: &Bus, name: &'static str) -> Result<(Journal, Vec<String>)> {
        let dir = bus.inner(CLUSTER)?;
        let path = || path_of(bus, name);
        let bytes = read(dir.as_fd(), name, BYTES_MAX, &bus.base, path)?;
        let text = bytes.map(|read| String::from_utf8_lossy(&read.bytes).into_owned());
        let text = text.unwrap_or_default();
        let (whole, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
        let is_torn = !rest.is_empty();
        let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        let file = open(bus, name)?;
        Ok((Journal { name, file, lines: lines.len(), is_torn }, lines))
    }

    /// Adds a line.
    pub(super) fn add(&mut self, bus: &Bus, line: &str) -> Result<()> {
        let begin = if self.is_torn { "\n" } else { "" };
        self.is_torn = true;
        self.file.write_all(format!("{begin}{line}\n").as_bytes()).map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            let errno = errno.unwrap_or(rustix::io::Errno::IO);
            Error::below("cannot write", &path_of(bus, self.name), errno)
        })?;
        self.is_torn = false;
        self.lines += 1;
        Ok(())
    }

    /// Replaces the list as a whole.
    pub(super) fn rewrite(&mut self, bus: &Bus, lines: &[String]) -> Result<()> {
        let dir = bus.inner(CLUSTER)?;
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        replace(dir.as_fd(), self.name, text.as_bytes(), bus.base.sharing.file_mode())
            .map_err(|errno| Error::below("cannot write", &path_of(bus, self.name), errno))?;
        self.file = open(bus, self.name)?;
        (self.lines, self.is_torn) = (lines.len(), false);
        Ok(())
    }
}

fn open(bus: &Bus, name: &str) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let opened = open_file(bus.inner(CLUSTER)?.as_fd(), name, flags, bus.base.sharing);
    let opened = opened.map_err(|errno| Error::below("cannot open", &path_of(bus, name), errno))?;
    Ok(File::from(opened))
}

fn path_of(bus: &Bus, name: &str) -> PathBuf {
    bus.path(INNER).join(CLUSTER).join(name)
}

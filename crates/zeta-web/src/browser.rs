//! Opens the page in the browser of the person. Its URL has the token, which must not stand in the
//! list of processes: the browser is given a private file that leads to the page.

use std::fs::{OpenOptions, remove_file};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::geteuid;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host::random_hex;
use zeta_os::signal::Signals;

/// The program that knows the browser of the person.
const OPENER: &str = "xdg-open";

/// The file that leads the browser to the page; it goes when this is dropped.
#[derive(Debug)]
pub struct Opened {
    file: PathBuf,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = remove_file(&self.file);
    }
}

/// Opens a URL.
///
/// # Errors
/// The caller is root, or there is no screen, no program that opens it, or no room for the file.
pub fn open(url: &str, signals: &Signals) -> Result<Opened> {
    let cannot = |why: &str| Error::new(Kind::Fault, format!("no browser is opened: {why}"));
    if geteuid().is_root() {
        return Err(cannot("it would run as root").hint("open the address yourself"));
    }
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") {
        let error = cannot("there is no screen here (DISPLAY and WAYLAND_DISPLAY are not set)");
        return Err(error.hint("open the address yourself, from elsewhere by ssh -L"));
    }
    let name = format!("zeta-web-{}.html", random_hex()?);
    let opened = Opened { file: std::env::temp_dir().join(name) };
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>zeta</title>\
         <meta http-equiv=\"refresh\" content=\"0;url={url}\"><a href=\"{url}\">zeta</a>\n"
    );
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&opened.file);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| cannot(&format!("{}: {error}", opened.file.display())))?;
    let mut command = Command::new(OPENER);
    command.arg(&opened.file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The keys of this terminal are not for the browser.
    signals.pass_on_inherited(command.process_group(0));
    let mut child = command
        .spawn()
        .map_err(|error| cannot(&format!("{OPENER}: {error}")).hint("open the address yourself"))?;
    // It may last as long as the browser; waiting for it leaves no dead process behind.
    let _ = std::thread::Builder::new().spawn(move || child.wait());
    Ok(opened)
}

//! What a service tells the manager that started it: that it is ready, works, or ends.
//!
//! The protocol is that of `sd_notify(3)`: lines in a datagram to the socket that `NOTIFY_SOCKET`
//! names. Without that variable nothing is told.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The manager that started this process, if it wants to be told.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Reads who is to be told from the variables of this process.
    pub fn from_environment() -> Manager {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_meant =
            number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|us| is_meant && *us > 0);
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(open);
        Manager { socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// How often the manager must hear of this process: half of the time after which it would end
    /// it.
    pub fn watchdog(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|limit| limit / 2)
    }

    /// Sends one or more lines such as `READY=1`. A manager that does not listen is none.
    pub fn tell(&self, lines: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(lines.as_bytes(), address);
        }
    }
}

fn open(path: OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
        [b'/', ..] => SocketAddr::from_pathname(&path).ok()?,
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reaches_a_socket_by_path_and_by_abstract_name() {
        let dir = crate::temp_dir::TempDir::new().unwrap();
        let path = dir.path().join("notify");
        let name = format!("zeta-notify-{}", crate::host::random_hex().unwrap());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (listener, told) in [(by_path, path.into()), (by_name, format!("@{name}").into())] {
            let manager = Manager { socket: open(told), watchdog: Some(Duration::from_secs(8)) };
            assert_eq!(manager.watchdog(), Some(Duration::from_secs(4)));
            manager.tell("READY=1");
            let mut buffer = [0; 64];
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
        assert!(open("relative".into()).is_none());
        Manager { socket: None, watchdog: None }.tell("READY=1");
    }
}

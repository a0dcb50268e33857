//! TCP connections of this machine, as the kernel lists them.

/// Returns whether a program is connected to a port of 127.0.0.1; false where that is not known.
pub fn is_connected(port: u16) -> bool {
    std::fs::read_to_string("/proc/net/tcp").is_ok_and(|table| lists(&table, port))
}

/// A line has the number, the local address, the other one and the state; 01 is *established*.
fn lists(table: &str, port: u16) -> bool {
    let local = u32::from_ne_bytes([127, 0, 0, 1]);
    let wanted = format!("{local:08X}:{port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next() == Some(&wanted) && fields.nth(1) == Some("01")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_is_seen_and_a_port_that_only_listens_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_connected(port));
        let _stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(is_connected(port));
        assert!(!lists("", 1) && !lists("x\n 0: 0100007F:0001\n", 1));
    }
}

//! A wireless network: what may be baked as one, and the file that NetworkManager reads.
//!
//! A value is JSON, `{"ssid": .., "password" or "psk": ..}`, or a text with an `ssid=` line, which
//! is taken for a keyfile and written as it is.

use std::fmt::Write;

use serde::Deserialize;
use zeroize::Zeroizing;

/// Why a value is no network. It never tells what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Neither form.
    #[error("it is neither JSON with a string 'ssid' nor a text with an 'ssid=' line")]
    NoSsid,
    /// No network can have such a name.
    #[error("its ssid is empty or longer than 32 bytes")]
    Ssid,
    /// No network can have such a password.
    #[error("its password is not 8 to 63 printable ASCII characters, nor 64 hex digits")]
    Password,
}

#[derive(Deserialize)]
struct Given {
    ssid: String,
    password: Option<String>,
    psk: Option<String>,
}

/// The keyfile of a network. Without a password it is an open one.
pub fn keyfile(value: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    let text = std::str::from_utf8(value).map_err(|_| Unusable::NoSsid)?;
    let Ok(Given { ssid, password, psk }) = serde_json::from_str(text) else {
        let is_ssid = |line: &str| {
            line.trim_start().strip_prefix("ssid").is_some_and(|rest| {
                rest.trim_start().strip_prefix('=').is_some_and(|ssid| !ssid.trim().is_empty())
            })
        };
        let found = text.lines().any(is_ssid);
        return found.then(|| Zeroizing::new(text.to_owned())).ok_or(Unusable::NoSsid);
    };
    let (password, psk) = (password.map(Zeroizing::new), psk.map(Zeroizing::new));
    if ssid.is_empty() || ssid.len() > 32 {
        return Err(Unusable::Ssid);
    }
    let password = password.or(psk).filter(|password| !password.is_empty());
    // The most that is written, so that the text does not grow with a password in it.
    let mut out = Zeroizing::new(String::with_capacity(1024));
    out.push_str("[connection]\nid=zeta-restored-wifi\ntype=wifi\n\n[wifi]\nmode=infrastructure\n");
    write_ssid(&ssid, &mut out);
    if let Some(password) = password {
        out.push_str("\n[wifi-security]\nkey-mgmt=wpa-psk\n");
        write_psk(&password, &mut out)?;
    }
    out.push_str("\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n");
    Ok(out)
}

/// A plain name is written as it is; of any other the bytes, which every version reads the same.
fn write_ssid(ssid: &str, out: &mut String) {
    out.push_str("ssid=");
    let plain = ssid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -_.".contains(&byte))
        && ssid.bytes().any(|byte| byte.is_ascii_alphabetic())
        && ssid.trim() == ssid;
    if plain {
        out.push_str(ssid);
    } else {
        for byte in ssid.bytes() {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte};");
        }
    }
    out.push('\n');
}

/// In a keyfile a blank at the beginning would be cut off, and a backslash begins an escape.
fn write_psk(psk: &str, out: &mut String) -> Result<(), Unusable> {
    let hex = psk.len() == 64 && psk.bytes().all(|byte| byte.is_ascii_hexdigit());
    let phrase = (8..=63).contains(&psk.len()) && psk.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !hex && !phrase {
        return Err(Unusable::Password);
    }
    out.push_str("psk=");
    for letter in psk.chars() {
        match letter {
            ' ' => out.push_str("\\s"),
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
    }
    out.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Unusable, keyfile};

    fn line(value: &str, key: &str) -> String {
        let text = keyfile(value.as_bytes()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("-").to_owned()
    }

    #[test]
    fn json_becomes_a_keyfile() {
        let text = keyfile(br#"{"ssid":"Home 2","password":"eightlong"}"#).unwrap();
        assert_eq!(
            *text,
            "[connection]\nid=zeta-restored-wifi\ntype=wifi\n\n[wifi]\nmode=infrastructure\n\
             ssid=Home 2\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=eightlong\n\n\
             [ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
        );
        assert_eq!(line(r#"{"ssid":"a","psk":"12345678","more":1}"#, "psk="), "12345678");
        assert_eq!(line(r#"{"ssid":"a"}"#, "psk="), "-");
        assert_eq!(line(r#"{"ssid":"a","password":""}"#, "key-mgmt="), "-");
    }

    #[test]
    fn what_a_keyfile_would_misread_is_written_otherwise() {
        let ssids = [
            ("a b", "a b"),
            (" a", "32;97;"),
            ("1", "49;"),
            ("a;", "97;59;"),
            ("a\\\\", "97;92;"),
            ("é", "195;169;"),
            ("a\\n[x]", "97;10;91;120;93;"),
        ];
        for (ssid, written) in ssids {
            assert_eq!(line(&format!("{{\"ssid\":\"{ssid}\"}}"), "ssid="), written);
        }
        let psk = |psk: &str| line(&format!("{{\"ssid\":\"a\",\"psk\":\"{psk}\"}}"), "psk=");
        assert_eq!(psk(" a;b\\\\c =#"), "\\sa;b\\\\c\\s=#");
        assert_eq!(psk(&"aB".repeat(32)), "aB".repeat(32));
    }

    #[test]
    fn the_longest_fits_into_its_buffer() {
        let value = format!("{{\"ssid\":\"{}\",\"psk\":\"{}\"}}", ";".repeat(32), " ".repeat(63));
        assert_eq!(keyfile(value.as_bytes()).unwrap().capacity(), 1024);
    }

    #[test]
    fn a_keyfile_is_taken_as_it_is() {
        let text = "[wifi]\n ssid = x\n";
        assert_eq!(*keyfile(text.as_bytes()).unwrap(), text);
    }

    #[test]
    fn what_is_no_network_is_refused_without_showing_it() {
        let letters = format!("{{\"ssid\":\"a\",\"psk\":\"{}\"}}", "x".repeat(64));
        let cases: [(&[u8], Unusable); 13] = [
            (letters.as_bytes(), Unusable::Password),
            (br#"{"ssid":"a","psk":"abcdef1"}"#, Unusable::Password),
            (b"", Unusable::NoSsid),
            (b"ssid", Unusable::NoSsid),
            (b"ssid=", Unusable::NoSsid),
            (b"my ssid=x", Unusable::NoSsid),
            (b"\xffssid=x", Unusable::NoSsid),
            (b"[1]", Unusable::NoSsid),
            (br#"{"ssid":7}"#, Unusable::NoSsid),
            (br#"{"ssid":""}"#, Unusable::Ssid),
            (br#"{"ssid":"abcdefghabcdefghabcdefghabcdefgh1"}"#, Unusable::Ssid),
            (br#"{"ssid":"a","psk":"short"}"#, Unusable::Password),
            (br#"{"ssid":"a","psk":"12345678\n"}"#, Unusable::Password),
        ];
        for (value, why) in cases {
            assert_eq!(keyfile(value), Err(why), "{:?}", String::from_utf8_lossy(value));
        }
    }
}

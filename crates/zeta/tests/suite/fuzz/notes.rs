//! Our own notes on a bus with any bytes in them: they are believed or made anew, and nothing
//! panics, hangs or invents a message.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeta_bus::messages::follow::deliver;
use zeta_bus::messages::{Filter, list};

const ID: &str = "4685eacc-a3bf-4441-aad0-f78fda4976b5";

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

thread_local! {
    // Not a static, which would never be dropped: the directory goes with the thread.
    static BUS: Dir = Dir::new();
}

impl Dir {
    fn new() -> Dir {
        let path = std::env::temp_dir().join(format!(
            "zeta-notes-{}-{}",
            std::process::id(),
            fastrand::u32(..)
        ));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        let message = format!(
            "{{\"topic\":\"shadow-catch\",\"payload\":{{\"content\":\"c\"}},\"id\":\"{ID}\",\
             \"from\":\"vera\",\"to\":\"*\",\"timestamp\":\"2026-05-27T12:00:01.000Z\",\
             \"expiresAt\":\"2099-01-01T00:00:00.000Z\"}}"
        );
        std::fs::write(path.join(format!("{ID}.json")), message).unwrap();
        Dir(path)
    }
}

/// The first byte says which note the others are.
pub fn notes(bytes: &[u8]) {
    BUS.with(|bus| notes_in(&bus.0, bytes));
}

fn notes_in(bus: &Path, bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let index = bus.join(".zeta/index");
    let note = match which % 5 {
        0 => index.join("state"),
        1 => index.join("names"),
        2 => index.join("pack"),
        3 => bus.join(".zeta/seen/otto"),
        _ => bus.join("seen-otto.json"),
    };
    list(bus, &Filter::default()).unwrap();
    let _ = deliver(bus, "otto", None, |_| Ok(true));
    std::fs::write(&note, bytes).unwrap();
    let found = list(bus, &Filter { expired: true, ..Filter::default() });
    let found = found.unwrap_or_else(|error| panic!("{}: {error}", note.display()));
    assert!(found.messages.iter().all(|seen| seen.envelope.id == ID), "{found:?}");
    let mut delivered_count = 0;
    let delivered = deliver(bus, "otto", None, |envelope| {
        assert_eq!(envelope.id, ID);
        delivered_count += 1;
        Ok(true)
    });
    assert!(delivered_count <= 1, "{delivered:?}");
    // Whatever it was, the message is there when the notes are gone.
    std::fs::remove_dir_all(bus.join(".zeta")).unwrap();
    let _ = std::fs::remove_file(bus.join("seen-otto.json"));
    let found = list(bus, &Filter::default()).unwrap();
    assert_eq!(found.messages.len(), 1, "{found:?}");
}

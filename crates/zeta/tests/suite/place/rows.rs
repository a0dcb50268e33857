//! The table of `docs/use/sandboxes.md`: each command line there is run here, and does what the
//! table says.

use std::path::Path;

use super::Place;
use crate::support::test_name;

/// A row: the words before `zeta`, and what comes of a lease that is taken inside.
struct Row {
    sandbox: String,
    works: String,
}

fn rows() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/use/sandboxes.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        let sandbox = cells.first()?.strip_prefix('`')?.strip_suffix("zeta …`")?;
        Some(Row { sandbox: sandbox.trim().to_owned(), works: (*cells.get(1)?).to_owned() })
    });
    rows.collect()
}

#[test]
fn each_row_of_the_table_does_what_it_says() {
    let rows = rows();
    assert!(rows.len() >= 8, "the table has lost its rows: {}", rows.len());
    for Row { sandbox, works } in rows {
        let place = Place::new();
        if !place.can(test_name!(), &sandbox) {
            continue;
        }
        // Held from outside: inside it is held, too, or the call says why it cannot know.
        let held = place.script("exec $Z lease acquire held --as outside -q");
        assert_eq!(held.status, 0, "{held:?}");
        let inside = place.script(&format!("exec {sandbox} $Z lease acquire held --as inside"));
        let taken = place.script(&format!("exec {sandbox} $Z lease acquire own --as inside -q"));
        let seen = place.script("exec $Z lease acquire own --as outside");
        match works.as_str() {
            "works" => {
                assert_eq!(inside.status, 3, "{sandbox}: {inside:?}");
                assert_eq!(taken.status, 0, "{sandbox}: {taken:?}");
                assert_eq!(seen.status, 3, "{sandbox}: {seen:?}");
            }
            "reads only" => {
                assert_eq!(inside.status, 7, "{sandbox}: {inside:?}");
                let list = place.script(&format!("exec {sandbox} $Z lease list"));
                assert!(list.status == 0 && list.out.contains("held"), "{sandbox}: {list:?}");
            }
            "refused (7)" => {
                assert_eq!(inside.status, 7, "{sandbox}: {inside:?}");
                assert_eq!(taken.status, 7, "{sandbox}: {taken:?}");
                assert!(!inside.err.contains("panicked"), "{sandbox}: {inside:?}");
            }
            "a tree of its own" => {
                // Without a session nothing says that there is another one.
                let session = format!("exec $Z run --as a -- {sandbox} $Z lease acquire held");
                let told = place.script(&session);
                assert_eq!(told.status, 7, "{sandbox}: {told:?}");
                assert!(told.err.contains("your session"), "{sandbox}: {told:?}");
            }
            other => panic!("{sandbox}: the table says {other:?}"),
        }
    }
}

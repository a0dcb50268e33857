//! Axe, the checker of web pages, finds nothing serious in either theme.

use std::path::{Path, PathBuf};

use super::shown;
use crate::scene;
use crate::support::{skip, test_name};

/// The variable with the path of axe, which `cargo xtask test` brings from npm.
const VARIABLE: &str = "ZETA_AXE";

/// What is serious or critical, as one text.
const RUN: &str = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    JSON.stringify(violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
        .map(({ id, help, nodes }) => [id, help, nodes.slice(0, 3).map((node) => node.html)]),
        null, 1))";

#[test]
fn axe_finds_nothing_serious() {
    let place = std::env::var_os(VARIABLE).map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("../npm/axe.min.js"),
        PathBuf::from,
    );
    let Ok(axe) = std::fs::read_to_string(place) else {
        skip(test_name!(), "axe.min.js was not brought (npm package axe-core)");
        return;
    };
    let Some(scene) = scene::played(test_name!()) else { return };
    let zeta = scene::zeta(&scene, &["web", "--json"]);
    let Some(mut page) = shown(test_name!(), zeta) else { return };
    page.until("document.querySelectorAll('#agents .row:not([hidden])').length > 5");
    page.browser.eval(&format!("{axe}; true")).unwrap();
    for theme in ["light", "dark"] {
        page.browser.prefer(theme).unwrap();
        for (what, prepare) in [
            ("all of it", "true"),
            ("details", "document.querySelector('#agents .row:not([hidden])').click()"),
            ("table", "document.querySelector('#as-table').click()"),
            ("help", "document.querySelector('#help-open').click()"),
        ] {
            page.eval(prepare);
            // What moves in has arrived before its colours are judged.
            page.until("document.getAnimations().every((one) => one.playState !== 'running')");
            let found = page.text(RUN);
            assert_eq!(found, "[]", "{theme}, {what}: {found}");
        }
        page.press("Escape");
        page.press("Escape");
        page.click("#as-table");
    }
}

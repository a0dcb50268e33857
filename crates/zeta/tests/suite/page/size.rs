//! Small and large windows: nothing is cut off at the side, and each list is reached.

use super::shown;
use crate::scene;
use crate::support::test_name;

#[test]
fn nothing_is_wider_than_the_window() {
    let Some(scene) = scene::played(test_name!()) else { return };
    let zeta = scene::zeta(&scene, &["web", "--json"]);
    let Some(mut page) = shown(test_name!(), zeta) else { return };
    page.until("document.querySelectorAll('#agents .row:not([hidden])').length > 5");
    for (width, height) in
        [(360, 740), (480, 800), (768, 1024), (1024, 700), (1280, 800), (1600, 1000)]
    {
        page.browser.resize(width, height).unwrap();
        page.until(&format!("innerWidth === {width}"));
        for pane in ["agents", "leases", "timeline", "messages", "findings"] {
            page.eval(&format!("document.querySelector('[data-to={pane}]').click()"));
            let over = page.eval(
                "[document.documentElement, document.body, document.querySelector('main')]
                 .map((at) => at.scrollWidth - at.clientWidth).reduce((a, b) => Math.max(a, b))",
            );
            assert_eq!(over, 0, "{width} × {height}, {pane}");
            let seen = page.eval(&format!(
                "((box) => box.width > 200 && box.height > 60 && box.right <= innerWidth
                    && box.bottom <= innerHeight + 1)
                 (document.querySelector('#{pane}').getBoundingClientRect())"
            ));
            assert_eq!(seen, true, "{width} × {height}: {pane} is not seen");
        }
    }
    page.end_clean();
}

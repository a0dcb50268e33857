//! Ten seconds of the page alone tell who waits for a person and what is stuck.

use super::{Shown, shown};
use crate::scene;
use crate::support::test_name;

/// Whether a text stands in the window, and nothing that scrolls hides it.
#[track_caller]
fn sees(page: &mut Shown, place: &str, text: &str) {
    let wanted = serde_json::to_string(text).unwrap();
    page.until(&format!(
        "[...document.querySelectorAll('{place}')].some((at) => {{
            if (!at.innerText.includes({wanted})) return false;
            const box = at.getBoundingClientRect();
            for (let above = at.parentElement; above; above = above.parentElement) {{
                const around = above.getBoundingClientRect();
                const clips = getComputedStyle(above).overflowY !== 'visible';
                const hidden = box.bottom > around.bottom + 1 || box.top < around.top - 1;
                if (clips && hidden) return false;
            }}
            return box.height > 0 && box.bottom <= innerHeight && box.right <= innerWidth;
        }})"
    ));
}

#[test]
fn the_page_tells_without_scrolling_who_waits_and_what_is_stuck() {
    let Some(mut scene) = scene::played(test_name!()) else { return };
    let zeta = scene::zeta(&scene, &["web", "--json"]);
    let Some(mut page) = shown(test_name!(), zeta) else { return };
    scene.keep_up().unwrap();
    let person = "[data-need=person] .need-row";
    sees(&mut page, person, "otto");
    sees(&mut page, person, "git push --force-with-lease origin feat/invoice");
    let stuck = "[data-need=stuck] .need-row";
    sees(&mut page, stuck, "deploy-staging");
    sees(&mut page, stuck, "vera");
    sees(&mut page, stuck, "rex");
    let collision = "[data-need=collision] .need-row";
    sees(&mut page, collision, "mira");
    sees(&mut page, collision, "src/cart/price.ts");
    // The lists begin with the same ones.
    sees(&mut page, "#agents .row", "otto");
    sees(&mut page, "#agents .row", "rex");
    sees(&mut page, "#leases .row", "deploy-staging");
    // Whoever looks at another tab sees it in the title.
    let title = page.text("document.title");
    assert!(title.contains("1 wait"), "{title}");
    // A reader of the screen is told, politely and once.
    let said = page.text("document.querySelector('#said').innerText");
    assert!(!said.is_empty());
    assert_eq!(page.text("document.querySelector('#said').role"), "status");
    page.end_clean();
}

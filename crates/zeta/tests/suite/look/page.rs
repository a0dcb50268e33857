//! The page of `zeta web` in a real browser.

use base64::Engine as _;
use serde_json::json;

use super::check_list;
use super::picture::{Picture, is_of_now, png_with_words, words};
use crate::page::{Shown, shown};
use crate::scene::{played, zeta};
use crate::support::test_name;

/// Whether one row of what needs a person has all these words, in the window and not hidden.
const SEES: &str = "(words) => [...document.querySelectorAll('.need-row')].some((row) => {
    if (!words.every((word) => row.innerText.includes(word))) return false;
    const box = row.getBoundingClientRect();
    const middle = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return box.height > 0 && box.bottom <= innerHeight && row.contains(middle);
})";

#[test]
fn the_page_shows_at_a_glance_what_needs_a_person() {
    let Some(mut scene) = played(test_name!()) else { return };
    let Some(mut page) = shown(test_name!(), zeta(&scene, &["web", "--json"])) else { return };
    scene.keep_up().unwrap();
    page.until("document.querySelectorAll('#agents .row:not([hidden])').length > 5");
    for (row, words) in check_list() {
        println!("{row}: {words:?}");
        page.until(&format!("({SEES})({})", json!(words)));
    }
    scene.keep_up().unwrap();
    for (scheme, file) in [("light", "web-light.png"), ("dark", "web-dark.png")] {
        page.browser.prefer(scheme).unwrap();
        is_of_now(&picture(&mut page, file));
    }
    // All of the history, in a window that is high enough for its lanes.
    page.browser.resize(1280, 1600).unwrap();
    page.eval("document.querySelector('#zoom-all').click()");
    is_of_now(&picture_of(&mut page, "#timeline", "web-timeline.png"));
    page.end_clean();
}

fn picture(page: &mut Shown, file: &str) -> Picture {
    picture_of(page, "body", file)
}

/// Takes the picture of a part of the page.
pub(super) fn picture_of(page: &mut Shown, part: &str, file: &str) -> Picture {
    page.settle();
    let text = page.eval(&format!("document.querySelector('{part}').innerText"));
    let words = words(text.as_str().unwrap());
    let clip = page.eval(&format!(
        "(({{x, y, width, height}}) => ({{x, y, width, height, scale: 1}}))
         (document.querySelector('{part}').getBoundingClientRect())"
    ));
    let wanted = json!({"format": "png", "clip": clip});
    let taken = page.browser.call("Page.captureScreenshot", &wanted).unwrap();
    let png = base64::prelude::BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
    let bytes = png_with_words(&png, &words.join(" "));
    Picture { file: file.to_owned(), bytes, words }
}

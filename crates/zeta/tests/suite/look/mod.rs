//! What a person must see without a key pressed and without scrolling: each line of the check list
//! in `docs/use/look.md`, on a real terminal and in a real browser, with the scene.

mod screen;
mod svg;

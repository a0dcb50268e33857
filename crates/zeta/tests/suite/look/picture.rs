//! A picture in the docs. It has the words that it shows in itself, so that a test can compare them
//! with what the program shows now: a picture that has aged fails the test.
//!
//! `cargo xtask pictures` sets `ZETA_PICTURES`, and the tests write them anew.

use std::collections::BTreeSet;

use super::docs;

/// The most bytes of a picture: people read the docs over slow lines, too.
const BYTES_MAX: usize = 150 * 1024;
/// The element of an SVG that has the words.
const WORDS: [&str; 2] = ["<desc>", "</desc>"];

/// A picture, as the program shows it now.
pub(super) struct Picture {
    pub(super) file: String,
    pub(super) bytes: Vec<u8>,
    pub(super) words: Vec<String>,
}

/// The words of a screen that are the same each time: no numbers, no ages, and none that was cut.
pub(super) fn words(text: &str) -> Vec<String> {
    let is_steady = |word: &&str| {
        let letters = word.chars().filter(|char| char.is_alphabetic()).count();
        letters > 2 && !word.contains(|char: char| char.is_ascii_digit() || char == '…')
    };
    let words: BTreeSet<&str> = text.split_whitespace().filter(is_steady).collect();
    words.into_iter().map(str::to_owned).collect()
}

/// Compares a picture with the one in the docs, or writes that anew.
pub(super) fn is_of_now(picture: &Picture) {
    let Picture { file, bytes, words } = picture;
    assert!(bytes.len() <= BYTES_MAX, "{file} has {} bytes", bytes.len());
    let path = docs().join("images").join(file);
    if std::env::var_os("ZETA_PICTURES").is_some() {
        std::fs::write(&path, bytes).unwrap();
        return;
    }
    let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kept = words_of(&kept);
    let now: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let kept: BTreeSet<&str> = kept.split_whitespace().collect();
    let only = |these: &BTreeSet<&str>, those: &BTreeSet<&str>| -> Vec<String> {
        these.difference(those).map(|word| (*word).to_owned()).collect()
    };
    let (new, gone) = (only(&now, &kept), only(&kept, &now));
    assert!(
        new.is_empty() && gone.is_empty(),
        "docs/images/{file} has aged: now there is {new:?}, and no {gone:?}. To make it anew: \
         cargo xtask pictures"
    );
}

/// Packs a PNG anew, smaller, with words in it. A browser takes it in a hurry.
pub(super) fn png_with_words(taken: &[u8], words: &str) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(taken)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    pixels.truncate(info.buffer_size());
    if info.color_type == png::ColorType::Rgba {
        // Nothing of a page can be seen through.
        pixels = pixels.chunks(4).flat_map(|pixel| &pixel[..3]).copied().collect();
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, info.width, info.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let [begin, end] = WORDS;
    let words = format!("{begin}{}{end}", escaped(words));
    encoder.add_itxt_chunk("Description".to_owned(), words).unwrap();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// Escapes the characters that mean something to XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The words that a picture of the docs has in itself.
fn words_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let [begin, end] = WORDS;
    let words = text.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let words = words.map(|(words, _)| words).unwrap_or_default();
    words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn words_in_a_picture_are_found_again() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Rgba);
    encoder.write_header().unwrap().write_image_data(&[1, 2, 3, 255, 4, 5, 6, 255]).unwrap();
    let packed = png_with_words(&bytes, "a <b> & 検索");
    assert_eq!(words_of(&packed), "a <b> & 検索");
    let mut reader = png::Decoder::new(std::io::Cursor::new(packed)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, [1, 2, 3, 4, 5, 6]);
    let words = words("otto 12s claude-8 perm… a: waits (waits) 検索を");
    assert_eq!(words, ["(waits)", "otto", "waits", "検索を"]);
}

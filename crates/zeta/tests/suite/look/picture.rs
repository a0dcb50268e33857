//! A picture in the docs. It has the words that it shows in itself, so that a test can compare them
//! with what the program shows now: a picture that has aged fails the test.
//!
//! `cargo xtask pictures` sets `ZETA_PICTURES`, and the tests write them anew.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::docs;

/// The most bytes of a picture: people read the docs over slow lines, too.
const BYTES_MAX: usize = 150 * 1024;
/// The element of an SVG that has the words.
const WORDS: [&str; 2] = ["<desc>", "</desc>"];

const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";

/// A picture, as the program shows it now.
pub(super) struct Picture {
    pub(super) file: String,
    pub(super) bytes: Vec<u8>,
    pub(super) words: Vec<String>,
}

/// The words of a screen that are the same each time: no numbers, no ages, and none that was cut. A
/// month stands there soon after midnight, beside what was yesterday.
pub(super) fn words(text: &str) -> Vec<String> {
    let is_steady = |word: &&str| {
        if MONTHS.split(' ').any(|month| month == *word) {
            return false;
        }
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
    // Nothing of a page can be seen through: a fourth byte says nothing.
    let (palette, places) = palette(&pixels, info.color_type.samples());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, info.width, info.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette.concat());
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    let [begin, end] = WORDS;
    let words = format!("{begin}{}{end}", escaped(words));
    encoder.add_itxt_chunk("Description".to_owned(), words).unwrap();
    encoder.write_header().unwrap().write_image_data(&places).unwrap();
    bytes
}

/// The 256 colours that a picture has most of, and for each pixel the place of the nearest one. The
/// others are those of the edges of letters.
fn palette(pixels: &[u8], samples: usize) -> (Vec<[u8; 3]>, Vec<u8>) {
    let color = |pixel: &[u8]| [pixel[0], pixel[1], pixel[2]];
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for pixel in pixels.chunks(samples) {
        *counts.entry(color(pixel)).or_default() += 1;
    }
    let mut palette: Vec<[u8; 3]> = counts.keys().copied().collect();
    palette.sort_by_key(|color| (Reverse(counts[color]), *color));
    palette.truncate(256);
    let far = |a: &[u8; 3], b: &[u8; 3]| -> u32 {
        a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
    };
    let nearest = |color: &[u8; 3]| -> u8 {
        let at = (0..palette.len()).min_by_key(|at| far(&palette[*at], color));
        at.unwrap().try_into().unwrap()
    };
    let places: HashMap<[u8; 3], u8> =
        counts.keys().map(|color| (*color, nearest(color))).collect();
    let places = pixels.chunks(samples).map(|pixel| places[&color(pixel)]).collect();
    (palette, places)
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
    let (colors, places) = palette(&[1, 2, 3, 255, 4, 5, 6, 255, 4, 5, 6, 255], 4);
    assert_eq!((colors, places), (vec![[4, 5, 6], [1, 2, 3]], vec![1, 0, 0]));
    let grey: Vec<u8> = (0..=255).flat_map(|level| [level; 6]).chain([9, 9, 8]).collect();
    let (colors, places) = palette(&grey, 3);
    assert_eq!((colors.len(), colors[usize::from(places[512])]), (256, [9, 9, 9]));
    let words = words("otto 12s claude-8 perm… a: waits (waits) 検索を");
    assert_eq!(words, ["(waits)", "otto", "waits", "検索を"]);
}

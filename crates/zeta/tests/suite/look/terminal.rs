//! `zeta watch` on a real terminal.

use super::picture::{Picture, is_of_now};
use super::{check_list, screen, svg};
use crate::scene::{played, zeta};
use crate::support::{Tmux, test_name, wait_for};

#[test]
fn a_terminal_shows_at_a_glance_what_needs_a_person() {
    let Some(mut scene) = played(test_name!()) else { return };
    let watch = zeta(&scene, &["watch"]);
    let Some(tmux) = Tmux::start(test_name!(), 80, 24, &watch) else { return };
    let list = check_list();
    scene.keep_up().unwrap();
    let mut missing = Vec::new();
    let sees_all = || {
        let text = tmux.text();
        missing =
            list.iter().filter(|(_, words)| !sees(&text, words)).map(|(row, _)| row).collect();
        missing.is_empty()
    };
    if !crate::support::until(crate::support::LIMIT, sees_all) {
        panic!("not on the screen: {missing:#?}\n{}", tmux.text());
    }
    is_of_now(&picture(&tmux, 80, "watch-80x24", "zeta watch: which agents need a person"));
    tmux.resize(120, 36);
    tmux.keys(&["2"]);
    wait_for("the leases are shown", || tmux.text().contains("SHOP-231"));
    is_of_now(&picture(&tmux, 120, "watch-120x36", "zeta watch: leases, claims and who waits"));
}

/// Whether one line of a screen has all these words.
fn sees(screen: &str, words: &[String]) -> bool {
    screen.lines().any(|line| words.iter().all(|word| line.contains(word.as_str())))
}

fn picture(tmux: &Tmux, columns: usize, name: &str, title: &str) -> Picture {
    let rows = screen::parse(&tmux.styled());
    let text = tmux.text();
    let words = super::picture::words(&text);
    let svg = svg::draw(&rows, columns, title, &words.join(" "));
    Picture { file: format!("{name}.svg"), bytes: svg.into_bytes(), words }
}

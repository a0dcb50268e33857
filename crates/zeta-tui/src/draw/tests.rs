//! Frames as text, at the sizes that people use. A frame is read as a person reads it.

use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use zeta_core::overview::{Cluster, Lag, Overview, Quorum, Urgency, Waits};
use zeta_core::presence::Liveness;

use super::frame;
use crate::clock::Clock;
use crate::fixture::{Known, NOW, agent, finding, lease, shop};
use crate::key::{Key, parse};
use crate::state::{Effect, Room, State};
use crate::theme::Theme;

/// A view that is open on a screen of this size.
struct View {
    terminal: Terminal<TestBackend>,
    state: State,
    room: Room,
    theme: Theme,
    next_us: Option<i64>,
}

impl View {
    fn new(width: u16, height: u16) -> View {
        View {
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
            state: State::default(),
            room: Room::default(),
            theme: Theme::of(Some("xterm-256color"), false, Some("C.UTF-8")),
            next_us: None,
        }
    }

    fn draw(&mut self, known: &Known) {
        let clock = Clock::at(NOW);
        let (state, room) = (&mut self.state, &mut self.room);
        // A whole frame: what the backend keeps behind wide letters is not on a real terminal.
        self.terminal.clear().unwrap();
        self.terminal
            .draw(|it| *room = frame(it.buffer_mut(), &known.scene(), state, &clock, &self.theme))
            .unwrap();
        self.next_us = clock.next_us();
    }

    fn show(&mut self, known: &Known) -> String {
        self.draw(known);
        let text = self.terminal.backend().to_string();
        let lines = text.lines().map(|line| line.split("\" Hidden").next().unwrap_or_default());
        let lines = lines.map(|line| line.trim_matches('"').trim_end());
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    fn keys(&mut self, known: &Known, keys: &str) -> String {
        for key in parse(keys.as_bytes(), true).0 {
            self.state.key(key, &known.scene(), self.room);
            self.draw(known);
        }
        self.show(known)
    }

    fn buffer(&self) -> &Buffer {
        self.terminal.backend().buffer()
    }
}

/// A frame of the shop after these keys.
fn shown(width: u16, height: u16, keys: &str) -> String {
    let (mut view, scene) = (View::new(width, height), shop());
    view.show(&scene);
    view.keys(&scene, keys)
}

#[test]
fn a_usual_terminal() {
    assert_snapshot!("agents-80x24", shown(80, 24, ""));
    assert_snapshot!("leases-80x24", shown(80, 24, "2"));
    assert_snapshot!("messages-80x24", shown(80, 24, "3"));
    assert_snapshot!("log-80x24", shown(80, 24, "4"));
    assert_snapshot!("findings-80x24", shown(80, 24, "5"));
    assert_snapshot!("help-80x24", shown(80, 24, "?"));
}

#[test]
fn a_small_terminal() {
    assert_snapshot!("agents-60x15", shown(60, 15, ""));
    assert_snapshot!("leases-60x15", shown(60, 15, "2"));
}

#[test]
fn a_large_terminal() {
    assert_snapshot!("agents-200x50", shown(200, 50, ""));
    assert_snapshot!("leases-200x50", shown(200, 50, "2"));
}

#[test]
fn details_say_all_that_is_known() {
    assert_snapshot!("agent-80x24", shown(80, 24, "\r"));
    assert_snapshot!("lease-80x40", shown(80, 40, "2\r"));
    assert_snapshot!("message-80x24", shown(80, 24, "3\r"));
    assert_snapshot!("change-80x24", shown(80, 24, "4\r"));
    assert_snapshot!("finding-80x24", shown(80, 24, "5jj\r"));
}

#[test]
fn a_filter_counts_what_it_leaves() {
    assert_snapshot!("filter-80x24", shown(80, 24, "/otto"));
    assert!(shown(80, 24, "/nowhere\r").contains("no row has \"nowhere\""));
    assert!(shown(80, 24, "/otto\r\u{1b}").contains("vera"), "Esc shows all rows again");
}

#[test]
fn a_tree_that_cannot_be_read_is_not_called_quiet() {
    let text = "the directory may be written by all users";
    let finding = finding("unsafe", "/tmp/x", text, "zeta doctor", Urgency::Notice);
    let overview = Overview { findings: vec![finding], ..Overview::default() };
    let shown = View::new(80, 24).show(&Known { overview, log: Vec::new() });
    assert!(shown.contains(text) && !shown.contains("nothing needs you"), "{shown}");
}

#[test]
fn the_title_says_what_is_wrong_with_the_cluster() {
    let quorum = Some(Quorum { servers: 3, current: 1, needed: 2 });
    let lag = Lag { values: Some(700), ..Lag::default() };
    let cluster = Cluster { state: "connected".into(), quorum, lag, ..Cluster::default() };
    let (node, state_dir) = (Some("nestor".into()), "/tmp/zeta-cluster-state".into());
    let overview = Overview { node, state_dir, cluster: Some(cluster), ..Overview::default() };
    let shown = View::new(80, 24).show(&Known { overview, log: Vec::new() });
    assert!(shown.contains("nestor (1 node, no quorum, 700 behind)"), "{shown}");
}

#[test]
fn an_agent_that_ended_as_it_should_is_shown_with_all() {
    assert!(!shown(80, 24, "").contains("an older release"));
    assert!(shown(80, 24, "a").contains("○ gone    old"));
    assert!(shown(80, 24, "").contains("○ gone    bob"), "it ended without recording it");
}

#[test]
fn an_empty_tree_says_what_to_do() {
    let mut view = View::new(80, 24);
    let overview = Overview { state_dir: "/tmp/zeta-cluster-state".into(), ..Overview::default() };
    let scene = Known { overview, log: Vec::new() };
    assert_snapshot!("empty-80x24", view.show(&scene));
    assert_eq!(view.next_us, None, "nothing ages");
    for pane in ["2", "3", "4", "5", "\r", "j", "G", "/x\r", "\r"] {
        view.keys(&scene, pane);
    }
}

#[test]
fn without_colours_and_signs_the_words_say_the_same() {
    let mut view = View::new(80, 24);
    view.theme = Theme::of(Some("linux"), true, Some("C"));
    let mut scene = shop();
    scene.overview.agents.retain(|agent| agent.name.is_ascii());
    scene.overview.leases.retain(|lease| lease.agent.is_ascii());
    let text = view.keys(&scene, "2");
    assert_snapshot!("plain-80x24", text);
    assert!(text.is_ascii(), "{text}");
    assert!(view.buffer().content().iter().all(|cell| cell.fg == Color::Reset));
}

#[test]
fn what_needs_a_person_has_a_colour_and_the_cursor_is_reversed() {
    let mut view = View::new(80, 24);
    view.show(&shop());
    let buffer = view.buffer();
    assert_eq!(buffer[(1, 1)].fg, Color::Yellow);
    assert_eq!(buffer[(1, 2)].fg, Color::Red);
    let reversed: Vec<u16> =
        (0..24).filter(|y| buffer[(40, *y)].modifier.contains(Modifier::REVERSED)).collect();
    assert_eq!(reversed.len(), 1);
    // All of the row has the colour of its state: rex waits.
    assert!((0..80).all(|x| buffer[(x, reversed[0])].fg == Color::Yellow));
}

#[test]
fn a_long_question_is_cut_above_and_whole_in_the_details() {
    let question = "May I run: ".to_owned() + &"rm -rf build/日本 && ".repeat(40) + "make?";
    let mut scene = shop();
    let waits = Some(Waits { question: question.clone(), since_us: None });
    scene.overview.agents[0].waits = waits;
    let mut view = View::new(80, 24);
    let text = view.show(&scene);
    assert!(text.lines().nth(1).unwrap().contains("…"), "{text}");
    assert!(!text.contains("make?"));
    view.keys(&scene, "\r");
    let text = view.keys(&scene, "G");
    let top = view.keys(&scene, "g");
    assert!(text.contains("messages") && top.contains("asks"), "{top}{text}");
    assert!(format!("{top}{text}").contains("make?"));
}

#[test]
fn more_alerts_than_lines_are_counted() {
    let mut scene = shop();
    for at in 0..9 {
        let waits = Some(Waits { question: format!("question {at}"), since_us: None });
        scene.overview.agents.push(zeta_core::overview::Agent {
            waits,
            ..agent(&format!("a{at}"), Liveness::Live, "", "")
        });
    }
    let text = View::new(60, 15).show(&scene);
    assert_snapshot!("many-60x15", text);
}

#[test]
fn agents_of_one_name_on_two_nodes_are_two() {
    let mut scene = shop();
    for node in ["nestor", "nina"] {
        let waits = Some(Waits { question: format!("May {node} go on?"), since_us: None });
        scene.overview.agents.push(zeta_core::overview::Agent {
            node: node.into(),
            waits,
            ..agent("twin", Liveness::Live, "", "")
        });
    }
    let found = |node: &str| zeta_core::overview::Finding {
        node: Some(node.into()),
        ..finding("lost_wrapper", "twin", &format!("lost on {node}"), "", Urgency::Stuck)
    };
    scene.overview.findings.extend([found("nestor"), found("nina")]);
    let alerts = crate::scene::alerts(&scene.overview);
    let twins = alerts.iter().filter(|alert| alert.about == "twin");
    let texts: Vec<&str> = twins.map(|alert| &*alert.text).collect();
    let wanted = ["May nestor go on?", "May nina go on?", "lost on nestor", "lost on nina"];
    assert_eq!(texts, wanted);
    // The details of one name no finding of the other.
    let mut view = View::new(80, 40);
    let text = view.keys(&scene, "/twin\r\r");
    let is_finding = |line: &&str| line.trim_start().starts_with("finding ");
    let found: Vec<&str> = text.lines().filter(is_finding).collect();
    assert!(!found.is_empty() && found.iter().all(|line| !line.contains("nina")), "{text}");
    let text = view.keys(&scene, "\u{1b}5");
    assert!(text.contains("twin@nina") && !text.contains("twin@nestor"), "{text}");
}

#[test]
fn a_thousand_agents_and_ten_thousand_changes_are_drawn_quickly_from_what_is_seen() {
    let mut scene = shop();
    for at in 0..1_000 {
        scene.overview.agents.push(agent(&format!("agent-{at:04}"), Liveness::Live, "x", "b"));
        scene.overview.leases.push(lease(&format!("lease-{at:04}"), "otto", 30, 60));
    }
    let mut view = View::new(80, 24);
    view.show(&scene);
    let text = view.keys(&scene, "G");
    assert!(text.contains("agent-0999") && text.contains("1 Agents 1007"), "{text}");
    // The cursor stays on its agent when rows before it go.
    scene.overview.agents.remove(0);
    let before = view.state.cursor().clone();
    assert!(view.show(&scene).contains("agent-0999"));
    assert_eq!(view.state.cursor().at, before.at - 1);
    let text = view.keys(&scene, "/agent-05\r");
    assert!(text.contains("100/1006"), "{text}");
}

#[test]
fn every_size_and_every_key_draws_something() {
    let scene = shop();
    let keys = "j k G g \u{1b}[5~ \u{1b}[6~ \t \u{1b}[Z / o \r \r ? \u{1b} 1 2 3 4 5 \u{1b}[D";
    for (width, height) in [(1, 1), (19, 5), (20, 6), (21, 7), (40, 8), (60, 15), (300, 90)] {
        let mut view = View::new(width, height);
        view.show(&scene);
        let mut seed = 11u64;
        let all: Vec<&str> = keys.split(' ').collect();
        for _ in 0..300 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            for key in parse(all[(seed >> 33) as usize % all.len()].as_bytes(), true).0 {
                view.state.key(key, &scene.scene(), view.room);
            }
            view.draw(&scene);
        }
    }
}

#[test]
fn keys_that_change_nothing_draw_nothing() {
    let (mut state, scene) = (State::default(), shop());
    let room = Room { rows: 10, ..Room::default() };
    assert_eq!(state.key(Key::Up, &scene.scene(), room), Effect::None);
    assert_eq!(state.key(Key::Char('x'), &scene.scene(), room), Effect::None);
    assert_eq!(state.key(Key::Down, &scene.scene(), room), Effect::Draw);
    assert_eq!(state.key(Key::Ctrl('z'), &scene.scene(), room), Effect::Suspend);
    for quit in [Key::Char('q'), Key::Ctrl('c')] {
        assert_eq!(state.key(quit, &scene.scene(), room), Effect::Quit);
    }
    state.key(Key::Char('/'), &scene.scene(), room);
    assert_eq!(
        state.key(Key::Char('q'), &scene.scene(), room),
        Effect::Draw,
        "a letter of the filter"
    );
    assert_eq!(state.shown.filter, "q");
}

#[test]
fn a_live_view_without_ages_below_a_minute_sleeps_for_long() {
    let mut scene = shop();
    scene.overview.agents.retain(|agent| agent.name == "otto");
    scene.overview.leases.clear();
    scene.overview.findings.clear();
    let mut view = View::new(80, 24);
    view.show(&scene);
    let asleep = view.next_us.unwrap() - NOW;
    assert!(asleep >= 1_700 * 1_000_000, "its beats are not shown: {asleep}");
}

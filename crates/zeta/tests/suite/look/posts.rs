//! The drawing of `zeta post plan --svg`, of six days with an outage: the one in the docs.

use std::path::Path;
use std::process::Command;

use zeta_core::schedule::state::{Assignments, KIND, Moment, Outcome, SCHEMA};
use zeta_core::schedule::{Report, State, tick};
use zeta_posts::config::Config;

use super::docs;
use super::picture::{Picture, escaped, is_of_now, words};
use crate::support::{Sandbox, can, find, run, skip, test_name};

const MINUTE_MS: u64 = 60_000;

/// The text between the tags of a drawing that people see without a pointer.
fn seen(svg: &str) -> String {
    let texts = svg.split("<text ").skip(1);
    let inner = texts.filter_map(|text| text.split_once('>')?.1.split_once('<'));
    inner.map(|(text, _)| format!("{text}\n")).collect()
}

/// Three days before now, in ticks of ten minutes: anthropic is down for eleven hours, and one tick
/// of the others fails now and then.
fn history(config: &Config, now: &Moment) -> Assignments {
    let policy = &config.policy;
    let minutes = 3 * 24 * 60 - 90;
    let mut file = Assignments {
        schema: SCHEMA,
        kind: KIND.to_owned(),
        fencing_token: 1,
        written: now.clone(),
        floor: policy.floor,
        state: State::default(),
        seen: Default::default(),
        changes: Vec::new(),
    };
    for minute in (0..=minutes).step_by(10) {
        let is_down = (400..1_060).contains(&minute);
        let report = |post: &zeta_core::schedule::Post| Report {
            persona: Some(post.persona.clone()),
            line: post.choice.line.clone(),
            outcome: match is_down && post.choice.line.as_str() == "anthropic" {
                true => Outcome::Outage,
                false => Outcome::Ok,
            },
        };
        let reports: Vec<Report> = file.state.posts.values().map(report).collect();
        let ticked = tick(policy, &file.state, &reports, 10 * MINUTE_MS);
        file.state = ticked.state;
        let at_us = now.wall_us - i64::from(minutes - minute) * 60_000_000;
        file.remember(at_us, ticked.changes);
    }
    file
}

#[test]
fn the_drawing_of_the_posts_shows_who_stood_where_and_why() {
    let sandbox = Sandbox::new();
    let registry = docs().join("examples/guard-posts");
    let config = Config::load(&registry).unwrap();
    let reading = zeta_os::host::reading();
    let now = Moment {
        boot_id: zeta_os::host::boot_id(),
        boot_ms: reading.boot_ns / 1_000_000,
        wall_us: reading.wall_us,
    };
    let store = sandbox.dir.join("store");
    std::fs::create_dir(&store).unwrap();
    let file = history(&config, &now);
    std::fs::write(store.join("guard-post-assignments.json"), file.render()).unwrap();
    let drawing = sandbox.dir.join("posts.svg");
    let plan = ["post", "plan", "--ahead", "3d", "--config", registry.to_str().unwrap()];
    let svg = ["--svg", drawing.to_str().unwrap(), "--dir", store.to_str().unwrap()];
    sandbox.ok(&[&plan[..], &svg].concat());
    let svg = std::fs::read_to_string(&drawing).unwrap();
    for part in [
        "<title>otto with anthropic high in claude-code\n",
        "\nanthropic is down</title>",
        "\nanthropic is back</title>",
        "<title>anthropic was down\n",
        "\nplanned</title>",
        "class=\"bad\" points",
        "class=\"good\" points",
    ] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    let words = words(&seen(&svg));
    let described =
        format!("<title>Guard posts</title>\n<desc>{}</desc>", escaped(&words.join(" ")));
    let bytes = svg.replacen("<title>Guard posts</title>", &described, 1).into_bytes();
    is_of_now(&Picture { file: "guard-posts.svg".to_owned(), bytes, words });
    is_xml(&drawing);
}

/// An SVG with a fault in it is shown by no browser.
fn is_xml(path: &Path) {
    let parses = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
    if !can("python3", &["--version"]) {
        return skip(test_name!(), "needs python3, to parse the drawing");
    }
    let python = find("python3").unwrap();
    let out = run(Command::new(python).args(["-c", parses, path.to_str().unwrap()]));
    assert_eq!(out.status, 0, "{out:?}");
}

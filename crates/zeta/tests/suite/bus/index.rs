//! The index vouches for nothing: whichever part of it is gone, cut, zeroed or older, and wherever
//! it came from, the answers are those of a full read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use zeta_bus::messages::follow::deliver;
use zeta_bus::messages::{Filter, list};

use super::place::Place;

const PARTS: [&str; 3] = ["state", "names", "pack"];
const BEAT: [&str; 6] =
    ["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#];

fn index(place: &Place) -> PathBuf {
    place.bus.join(".zeta/index")
}

/// The contents of all parts.
type Copy = [Vec<u8>; 3];

fn copy(place: &Place) -> Copy {
    PARTS.map(|part| std::fs::read(index(place).join(part)).unwrap())
}

/// What happens to a part.
const HARM: [&str; 5] = ["nothing", "removed", "cut", "zeros", "older"];

fn harm(path: &Path, how: &str, [now, older, oldest]: [&[u8]; 3]) {
    match how {
        "nothing" => std::fs::write(path, now).unwrap(),
        "removed" => _ = std::fs::remove_file(path),
        "cut" => std::fs::write(path, &now[..now.len() / 2]).unwrap(),
        "zeros" => std::fs::write(path, vec![0; now.len()]).unwrap(),
        "older" => std::fs::write(path, older).unwrap(),
        "oldest" => std::fs::write(path, oldest).unwrap(),
        other => panic!("{other}"),
    }
}

/// Compares the answers with the files of the bus.
fn answers(place: &Place, surface: &str, context: &str) {
    let mut files = place.files();
    files.retain(|file| file.ends_with(".json") && !file.starts_with("seen-"));
    let same = |ids: Vec<String>| {
        let mut ids: Vec<String> = ids.iter().map(|id| format!("{id}.json")).collect();
        ids.sort();
        assert_eq!(ids, files, "{context}");
    };
    let listed = list(&place.bus, &Filter::default()).unwrap();
    same(listed.messages.into_iter().map(|seen| seen.envelope.id).collect());
    assert!(listed.findings.is_empty(), "{context}: {:?}", listed.findings);
    let mut delivered = Vec::new();
    let take = |envelope: &zeta_core::bus::Envelope| {
        delivered.push(envelope.id.clone());
        Ok(true)
    };
    deliver(&place.bus, surface, None, take).unwrap();
    same(delivered);
    let refused = place.acquire(3, "otto", "IT-1");
    assert_eq!(refused["claimed_by"], serde_json::json!(["vera"]), "{context}");
    place.ends(0, &["claim", "check", "--item", "IT-2"]);
}

#[test]
fn whatever_happens_to_parts_of_the_index_the_answers_are_those_of_a_full_read() {
    let place = Place::new();
    place.ends(0, &BEAT);
    place.original_publish("vera", "claim", "IT-2");
    place.ends(3, &["claim", "check", "--item", "IT-2"]);
    let oldest = copy(&place);
    // Another one, whose lines lie at other places.
    std::fs::remove_dir_all(index(&place)).unwrap();
    place.ends(0, &BEAT);
    place.ends(0, &["bus", "list"]);
    let older = copy(&place);
    place.original_publish("vera", "claim", "IT-1");
    place.original_publish("vera", "release", "IT-2");
    place.ends(0, &BEAT);
    place.ends(3, &["claim", "check", "--item", "IT-1"]);
    let now = copy(&place);
    let each = HARM.len();
    let subsets = (0..each.pow(3))
        .map(|at| [at % each, at / each % each, at / each.pow(2)].map(|at| HARM[at]));
    let mixed = (1..8)
        .map(|at| [at & 1, at & 2, at & 4].map(|bit| ["nothing", "oldest"][usize::from(bit > 0)]));
    let subsets = subsets.chain(mixed);
    for (at, subset) in subsets.enumerate() {
        for (part, how) in subset.iter().enumerate() {
            let path = index(&place).join(PARTS[part]);
            harm(&path, how, [&now[part], &older[part], &oldest[part]]);
        }
        // A publisher adds to what it finds.
        if at % 4 == 1 {
            place.original_publish("vera", "release", "IT-2");
            place.ends(0, &BEAT);
        }
        // A claim is the first that looks.
        if at % 3 == 0 {
            place.acquire(3, "otto", "IT-1");
        }
        answers(&place, &format!("s-{at}"), &format!("{PARTS:?}: {subset:?}"));
    }
}

#[test]
fn an_index_of_another_directory_is_not_believed() {
    let place = Place::new();
    place.ends(0, &BEAT);
    place.original_publish("vera", "claim", "IT-1");
    place.ends(0, &["bus", "list"]);
    // A backup that was put back elsewhere, with other files beside the same index.
    let other = Place::new();
    let to = other.bus.display().to_string();
    let copied = std::process::Command::new("cp").arg("-a").arg(&place.bus).arg(&to).status();
    assert!(copied.unwrap().success());
    let claim = place.original_publish("vera", "release", "IT-1");
    let name = other.files().pop().unwrap();
    let release = std::fs::read(place.bus.join(format!("{claim}.json"))).unwrap();
    let id = name.trim_end_matches(".json");
    let release = String::from_utf8(release).unwrap().replace(&claim, id);
    for file in other.files() {
        let text = std::fs::read_to_string(other.bus.join(&file)).unwrap();
        if text.contains("IT-1") {
            std::fs::write(
                other.bus.join(&file),
                release.replace(id, file.trim_end_matches(".json")),
            )
            .unwrap();
        }
    }
    other.ends(0, &["claim", "check", "--item", "IT-1"]);
}

#[test]
fn an_index_that_is_removed_during_calls_ends_none_of_them() {
    let place = Place::new();
    place.ends(0, &BEAT);
    place.original_publish("vera", "claim", "IT-1");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            let mut removed = 0;
            while !ended.load(Ordering::Relaxed) {
                removed += usize::from(std::fs::remove_dir_all(index(&place)).is_ok());
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
            removed
        });
        let calls: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..40 {
                        place.ends(0, &BEAT);
                        place.ends(0, &["bus", "list"]);
                        place.acquire(3, "otto", "IT-1");
                    }
                })
            })
            .collect();
        calls.into_iter().for_each(|call| call.join().unwrap());
        ended.store(true, Ordering::Relaxed);
        assert!(remover.join().unwrap() > 20);
    });
    answers(&place, "otto", "at the end");
}

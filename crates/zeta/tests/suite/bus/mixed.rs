//! Writers that follow the original's rules beside zeta's writers, at random: no two ever hold one
//! item at once, and at the end both see the same.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::place::{Place, original_acquire, original_holders, original_publish};

#[test]
fn mixed_writers_never_hold_an_item_together() {
    let place = Place::new();
    place.ends(0, &["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#]);
    let items = ["B-1", "B-2/ü"];
    let inside: Vec<Mutex<Option<String>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let (won, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let until = Instant::now() + Duration::from_secs(6);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    std::thread::scope(|scope| {
        for number in 0..6u64 {
            let (place, inside, won, lost) = (&place, &inside, &won, &lost);
            scope.spawn(move || {
                let mut dice = fastrand::Rng::with_seed(seed.wrapping_add(number));
                let is_zeta = number % 2 == 0;
                let from = format!("agent-{number}");
                let mut token = String::new();
                while Instant::now() < until {
                    let at = dice.usize(..items.len());
                    let item = items[at];
                    let got = match is_zeta {
                        true => {
                            let args = ["claim", "acquire", "--from", &from, "--item", item];
                            let out = place.zeta(&args);
                            assert!(matches!(out.status, 0 | 3 | 6), "{out:?}");
                            token = out.out.trim().to_owned();
                            out.status == 0
                        }
                        false => original_acquire(&place.bus, &from, item),
                    };
                    if !got {
                        lost.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(dice.u64(..3)));
                        continue;
                    }
                    won.fetch_add(1, Ordering::Relaxed);
                    let before = inside[at].lock().unwrap().replace(from.clone());
                    assert_eq!(before, None, "{from} got {item} while another holds it");
                    // The original itself cannot tell two words of one millisecond apart.
                    std::thread::sleep(Duration::from_millis(dice.u64(2..5)));
                    assert_eq!(inside[at].lock().unwrap().take().as_ref(), Some(&from));
                    match is_zeta {
                        true => {
                            let args = ["claim", "release", "--from", &from, item];
                            place.ends(0, &[&args[..], &["--token", &token]].concat());
                        }
                        false => _ = original_publish(&place.bus, &from, "release", item),
                    }
                }
            });
        }
    });
    let (won, lost) = (won.into_inner(), lost.into_inner());
    println!("{won} claims, {lost} refusals, {} messages", place.files().len());
    assert!(won > 50, "{won} claims, {lost} refusals");
    for item in items {
        assert_eq!(original_holders(&place.bus, item), [""; 0], "{item}");
        assert_eq!(place.json(0, &["claim", "check", "--item", item])["claimed"], false);
    }
}

#[test]
fn a_claim_that_the_original_makes_beside_our_messages_is_never_overlooked() {
    let place = Place::new();
    let beat = ["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#];
    place.ends(0, &beat);
    place.acquire(0, "warm", "up");
    for round in 0..60 {
        let item = format!("item-{round}");
        // The three happen at once, so that the directory changes more than once in a moment.
        std::thread::scope(|scope| {
            scope.spawn(|| place.ends(0, &beat));
            scope.spawn(|| place.acquire(0, "warm", &format!("other-{round}")));
            scope.spawn(|| assert!(original_acquire(&place.bus, "lior", &item)));
        });
        let check = place.json(3, &["claim", "check", "--item", &item]);
        assert_eq!(check["claims"][0]["from"], "lior", "round {round}");
        place.acquire(3, "vera", &item);
    }
}

#[test]
fn thirty_two_writers_lose_nothing() {
    const WRITERS: usize = 32;
    const EACH: usize = 50;
    let place = Place::new();
    place.ends(0, &["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#]);
    let draft = zeta_bus::messages::NewMessage {
        from: zeta_core::bus::Address::new("otto-cli").unwrap(),
        to: zeta_core::bus::Recipient::All,
        topic: "shadow-catch".to_owned(),
        payload: serde_json::json!({ "content": "x" }),
        life_ms: None,
        unchecked: false,
        reply: None,
    };
    let ids: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    let store = || zeta_bus::messages::publish(&place.bus, &draft).unwrap().id;
                    (0..EACH).map(|_| store()).collect::<Vec<String>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let listed = place.json(0, &["bus", "list", "--topic", "shadow-catch"]);
    let mut listed: Vec<String> = listed["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap().to_owned())
        .collect();
    let mut ids = ids;
    ids.sort();
    listed.sort();
    assert_eq!(ids.len(), WRITERS * EACH);
    assert_eq!(listed, ids);
}

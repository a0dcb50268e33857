//! Tables of what follows from what was observed.

use super::node::{About, Hardware, Network, compose};
use super::receipt::{Receipt, State};
use super::*;

const POLICY: Policy = Policy { reopen: false, min_interval_s: 86_400, now_s: 1_000_000 };

fn pull(number: u64, state: PullState) -> Pull {
    Pull {
        number,
        url: format!("https://forge/pull/{number}"),
        state,
        branch: branch("node-1a"),
        from: From::Ours,
        title: title("node-1a"),
        body: body_marker("node-1a"),
    }
}

fn receipt(state: State, last_attempt_s: Option<i64>) -> Receipt {
    Receipt {
        state,
        node: "node-1a".to_owned(),
        observed_us: 0,
        node_path: node_path("ace", "node-1a"),
        pr_url: None,
        branch: None,
        detail: String::new(),
        last_attempt_s,
    }
}

fn seen(on_main: Answer<String>, pulls: Answer<Vec<Pull>>) -> Seen {
    Seen { receipt: None, on_main, pulls }
}

#[test]
fn pull_requests_of_a_node_are_known_whoever_opened_them() {
    let other = Pull {
        branch: "x".into(),
        title: "y".into(),
        body: String::new(),
        ..pull(1, PullState::Open)
    };
    let with = |branch: &str, title: &str, body: &str| Pull {
        branch: branch.into(),
        title: title.into(),
        body: body.into(),
        ..other.clone()
    };
    for good in [
        with("register-node-node-1a", "", ""),
        with("register-node-1a-20260519T101112Z", "", ""),
        with("register-node-node-1a-20260519T101112Z", "", ""),
        with("register/node-1a-20260519T101112Z", "", ""),
        with("register/node-1a-20260519-1011", "", ""),
        with("register-node-1a-20260519101112", "", ""),
        with("x", "node-register: node-1a", ""),
        with("x", "feat(node-register): node-1a self-registers via iter-5.4.1", ""),
        with("x", "renamed", "hello\n<!-- zeta-node-registration: node-1a -->\n"),
    ] {
        assert!(is_of_node(&good, "node-1a"), "{good:?}");
    }
    for bad in [
        with("register-node-node-1ab", "", ""),
        with("register-node-1a-b", "node-register: node-1a-b", ""),
        // The end of a name may look like the beginning of a date.
        with("register-node-node-1a-20260519ab", "", ""),
        with("register-node-1a-12345678901", "", ""),
        with("deregister/node-1a-20260519", "deregister(cluster-node): node-1a", ""),
        with(
            "x",
            "feat(node-register): node-1ab self-registers",
            "<!-- zeta-node-registration: node-1ab -->",
        ),
    ] {
        assert!(!is_of_node(&bad, "node-1a"), "{bad:?}");
    }
}

#[test]
fn nothing_follows_from_what_nobody_could_be_asked() {
    let unknown = || Answer::Unknown("timeout".to_owned());
    for asked in [
        seen(unknown(), Answer::Absent),
        seen(Answer::Absent, Answer::Unknown("timeout".to_owned())),
        Seen {
            receipt: Some(receipt(State::Converged, None)),
            ..seen(unknown(), Answer::Found(vec![]))
        },
    ] {
        let next = decide(&asked, Policy { reopen: true, ..POLICY });
        assert_eq!(next, Next::Stop(Stop::CouldNotAsk("timeout".to_owned())));
    }
}

#[test]
fn what_is_there_is_not_opened_again() {
    use PullState::{Closed, Merged, Open};
    let found =
        |pulls: &[Pull]| decide(&seen(Answer::Absent, Answer::Found(pulls.to_vec())), POLICY);
    let on_main = seen(Answer::Found("b10b".to_owned()), Answer::Unknown("unasked".to_owned()));
    assert_eq!(decide(&on_main, POLICY), Next::Registered("b10b".to_owned()));
    assert_eq!(found(&[pull(7, Open)]), Next::Watch(pull(7, Open)));
    assert_eq!(found(&[pull(9, Open), pull(7, Open)]), Next::Watch(pull(7, Open)));
    assert_eq!(found(&[pull(5, Closed), pull(7, Open)]), Next::Watch(pull(7, Open)));
    assert_eq!(found(&[pull(5, Closed)]), Next::Stop(Stop::Closed(pull(5, Closed))));
    let late = pull(5, Merged(999_999));
    assert_eq!(found(std::slice::from_ref(&late)), Next::Stop(Stop::Merging(late)));
    let long_ago = pull(5, Merged(1));
    assert_eq!(found(std::slice::from_ref(&long_ago)), Next::Stop(Stop::Removed(long_ago)));
    assert_eq!(found(&[]), Next::Open { after: None });
    assert_eq!(decide(&seen(Answer::Absent, Answer::Absent), POLICY), Next::Open { after: None });
}

#[test]
fn a_stranger_s_neither_hides_ours_nor_says_no() {
    use PullState::{Closed, Merged, Open};
    let stranger = |number, state| Pull { from: From::Stranger, ..pull(number, state) };
    let member = Pull { from: From::Member, ..pull(4, Closed) };
    let found =
        |pulls: &[Pull]| decide(&seen(Answer::Absent, Answer::Found(pulls.to_vec())), POLICY);
    assert_eq!(found(&[stranger(3, Open), pull(5, Open)]), Next::Watch(pull(5, Open)));
    assert_eq!(found(&[stranger(3, Open)]), Next::Watch(stranger(3, Open)));
    assert_eq!(found(&[stranger(3, Closed)]), Next::Open { after: None });
    let no = Next::Stop(Stop::Closed(member.clone()));
    assert_eq!(found(&[member, stranger(6, Closed)]), no);
    let merged = stranger(3, Merged(1));
    assert_eq!(found(std::slice::from_ref(&merged)), Next::Stop(Stop::Removed(merged)));
}

#[test]
fn a_closed_one_is_followed_only_when_asked_for() {
    let closed = pull(5, PullState::Closed);
    let asked = seen(Answer::Absent, Answer::Found(vec![closed.clone()]));
    let next = decide(&asked, Policy { reopen: true, ..POLICY });
    assert_eq!(next, Next::Open { after: Some(closed) });
}

#[test]
fn a_receipt_forbids_another_attempt_for_a_while_and_answers_nothing() {
    let with = |receipt| Seen { receipt: Some(receipt), ..seen(Answer::Absent, Answer::Absent) };
    let cases = [
        (receipt(State::Converged, None), Next::Open { after: None }),
        (receipt(State::PullFailed, Some(999_000)), Next::Stop(Stop::Throttled(85_400))),
        // The clock was ahead then, by a little or by a century, or the number is none.
        (receipt(State::PullFailed, Some(1_000_500)), Next::Open { after: None }),
        (receipt(State::PullFailed, Some(4_000_000_000)), Next::Open { after: None }),
        (receipt(State::PullFailed, Some(i64::MIN)), Next::Open { after: None }),
        (receipt(State::PullFailed, Some(1_000_000)), Next::Stop(Stop::Throttled(86_400))),
        (receipt(State::PullFailed, Some(900_000)), Next::Open { after: None }),
        // Cut off: the branch's name is fixed, so going on doubles nothing.
        (receipt(State::Registering, Some(999_999)), Next::Open { after: None }),
    ];
    for (receipt, expected) in cases {
        assert_eq!(decide(&with(receipt.clone()), POLICY), expected, "{receipt:?}");
    }
}

#[test]
fn receipts_read_back_and_old_ones_are_none() {
    let whole = Receipt {
        pr_url: Some("https://forge/pull/7".to_owned()),
        branch: Some(branch("node-1a")),
        detail: "two\nlines".to_owned(),
        ..receipt(State::PullOpened, Some(7))
    };
    let read = Receipt::parse(&whole.render());
    assert_eq!(read, Some(Receipt { detail: "two lines".to_owned(), ..whole }));
    for old in ["", "2026-05-19T10:11:12Z\n", "https://github.com/o/r/pull/7", "state=odd\n"] {
        assert_eq!(Receipt::parse(old), None, "{old:?}");
    }
}

fn about() -> About {
    About {
        node: "node-1a".to_owned(),
        maintainer: "ace".to_owned(),
        roles: vec!["worker".to_owned()],
        timestamp: "2026-05-19T10:11:12Z".to_owned(),
        expires_at: None,
        flake_commit: Some("abc".to_owned()),
        flake_host: None,
    }
}

#[test]
fn the_file_of_a_node_has_every_field_of_the_fact_sheet() {
    let about = about();
    let hardware = Hardware {
        cores: Some(2),
        network: Some(Network { ip: Some("10.0.0.2".to_owned()), mac: None }),
        ..Hardware::default()
    };
    let file = serde_json::to_value(compose(&about, hardware)).unwrap();
    assert_eq!(file["apiVersion"], "zeta.lucent-financial-group.com/v1");
    assert_eq!(file["metadata"]["namespace"], "zeta-cluster");
    assert_eq!(file["metadata"]["labels"]["zeta.lucent-financial-group.com/maintainer"], "ace");
    assert_eq!(file["spec"]["roles"][0], "worker");
    assert_eq!(file["spec"]["registration"]["flake-commit"], "abc");
    assert_eq!(
        file["spec"]["hardware"],
        serde_json::json!({ "cores": 2, "network": { "ip": "10.0.0.2" } })
    );
}

#[test]
fn an_end_is_judged_and_moved_and_nothing_else_is_touched() {
    use super::expiry::{Expiry, expiry, is_due, with_end};
    const DAY_US: i64 = 86_400_000_000;
    let end_us = crate::time::parse_utc("2026-06-30T00:00:00.000000Z").unwrap();
    let mut node = compose(&about(), Hardware::default());
    assert_eq!(expiry(&node, 0), Expiry::Never);
    node.metadata
        .annotations
        .insert(super::node::EXPIRES_AT.into(), "2026-06-30T00:00:00.000000Z".into());
    for (days, want) in [
        (-30, Expiry::Fresh),
        (-7, Expiry::Fresh),
        (-6, Expiry::Due),
        (3, Expiry::Due),
        (4, Expiry::Dead),
    ] {
        assert_eq!(expiry(&node, end_us + days * DAY_US), want, "{days}");
        assert_eq!(is_due(want), want != Expiry::Fresh);
    }
    let key = super::node::EXPIRES_AT;
    let text = format!(
        "# ours\nmetadata:\n  name: n\n  annotations:\n    x: 1\n    {key}: \"old\"\n  extra: [1]\n"
    );
    let moved = with_end(&text, "NEW").unwrap();
    assert_eq!(moved, text.replace("\"old\"", "\"NEW\""));
    let without = text.replace(&format!("    {key}: \"old\"\n"), "");
    let first = with_end(&without, "NEW").unwrap();
    assert!(first.contains(&format!("annotations:\n    {key}: \"NEW\"\n    x: 1")), "{first}");
    for odd in ["metadata: {}\n", "annotations: {}\n", "annotations:", &format!("{text}{text}")] {
        assert_eq!(with_end(odd, "NEW"), None, "{odd}");
    }
}

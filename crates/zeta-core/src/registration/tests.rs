//! Tables of what follows from what was observed.

use super::decide::LAG_S;
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
        retry_after_s: None,
        opened_url: None,
        machine: Vec::new(),
    }
}

fn seen(on_main: Answer<String>, pulls: Answer<Vec<Pull>>) -> Seen {
    Seen { receipt: None, on_main, pulls }
}

/// People, and the nodes that run an older version, look for these words.
#[test]
fn what_the_forge_shows_of_a_node_has_these_names() {
    assert_eq!(branch("node-1a"), "register-node-node-1a");
    assert_eq!(refresh_branch("node-1a"), "refresh-node-node-1a");
    assert_eq!(leave_branch("node-1a"), "deregister-node-node-1a");
    assert_eq!(title("node-1a"), "node-register: node-1a");
    assert_eq!(body_marker("node-1a"), "<!-- zeta-node-registration: node-1a -->");
    let path = node_path("ace", "node-1a");
    assert_eq!(path, "maintainers/ace/cluster-nodes/node-1a/node.yaml");
    assert_eq!(node_of_path(&path), Some("node-1a"));
    for no_node in [
        "maintainers//cluster-nodes/node-1a/node.yaml",
        "maintainers/ace/cluster-nodes//node.yaml",
        "maintainers/ace/x/cluster-nodes/node-1a/node.yaml",
        "maintainers/ace/cluster-nodes/x/node-1a/node.yaml",
        "maintainers/ace/cluster-nodes/node-1a/other.yaml",
        "other/ace/cluster-nodes/node-1a/node.yaml",
    ] {
        assert_eq!(node_of_path(no_node), None, "{no_node}");
    }
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
    let ours = with("register-node-node-1a", "node-register: x", &body_marker("x"));
    assert!(is_of_node(&ours, "node-1a"), "the forge keeps one for this branch, whatever it says");
    for bad in [
        with("register-node-node-1ab", "", ""),
        with("register-node-1a-b", "node-register: node-1a-b", ""),
        // The end of a name may look like the beginning of a date.
        with("register-node-node-1a-20260519ab", "", ""),
        with("register-node-1a-12345678901", "", ""),
        with("register-node-1a-abcdefgh-1011", "", ""),
        with("register-node-1a-20260519T", "", ""),
        // A node whose name ends in a date names itself, by any of the two.
        with("register-node-node-1a-20260519", "node-register: node-1a-20260519", ""),
        with("register-node-node-1a-20260519", "renamed", &body_marker("node-1a-20260519")),
        with("x", "node-register: node-1a", &body_marker("node-1a-20260519")),
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
    let removed = pull(5, PullState::Removed);
    assert_eq!(found(std::slice::from_ref(&removed)), Next::Stop(Stop::Removed(removed)));
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
    // Our fork was deleted since, and nothing of the answer shows that it was ours.
    let mut gone = seen(Answer::Absent, Answer::Found(vec![stranger(3, Closed)]));
    gone.receipt = Some(Receipt {
        opened_url: Some(stranger(3, Closed).url),
        ..receipt(State::Closed, Some(1))
    });
    assert_eq!(decide(&gone, POLICY), Next::Stop(Stop::Closed(stranger(3, Closed))));
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
    let wait = |rest_s, refused| Next::Stop(Stop::Throttled { rest_s, refused });
    let refused =
        |s, wait_s| Receipt { retry_after_s: Some(wait_s), ..receipt(State::PullFailed, Some(s)) };
    let cases = [
        (receipt(State::Converged, None), Next::Open { after: None }),
        (receipt(State::Converging, Some(999_000)), wait(85_400, false)),
        (receipt(State::PullFailed, Some(999_000)), wait(85_400, true)),
        // The forge said how long, or the wait grew; the policy is the most.
        (refused(999_990, 60), wait(50, true)),
        (refused(999_000, 60), Next::Open { after: None }),
        (refused(999_000, 1_000_000), wait(85_400, true)),
        (Receipt { state: State::Throttled, ..refused(999_990, 60) }, wait(50, true)),
        // The clock was ahead then, by a little or by a century, or the number is none.
        (receipt(State::PullFailed, Some(1_000_500)), Next::Open { after: None }),
        (receipt(State::PullFailed, Some(4_000_000_000)), Next::Open { after: None }),
        (receipt(State::PullFailed, Some(i64::MIN)), Next::Open { after: None }),
        (receipt(State::PullFailed, Some(1_000_000)), wait(86_400, true)),
        (receipt(State::PullFailed, Some(900_000)), Next::Open { after: None }),
        // Cut off: the branch's name is fixed, so going on doubles nothing.
        (receipt(State::Registering, Some(999_999)), Next::Open { after: None }),
    ];
    for (receipt, expected) in cases {
        assert_eq!(decide(&with(receipt.clone()), POLICY), expected, "{receipt:?}");
    }
}

#[test]
fn a_merged_one_is_waited_for_as_long_as_a_default_branch_may_lag() {
    let merged = |at_s| pull(7, PullState::Merged(at_s));
    for (age_s, lags) in [(0, true), (LAG_S - 1, true), (LAG_S, false), (LAG_S + 1, false)] {
        let pull = merged(POLICY.now_s - age_s);
        let next = decide(&seen(Answer::Absent, Answer::Found(vec![pull.clone()])), POLICY);
        let stop = if lags { Stop::Merging(pull) } else { Stop::Removed(pull) };
        assert_eq!(next, Next::Stop(stop), "{age_s}");
    }
}

#[test]
fn a_new_receipt_keeps_what_later_runs_rely_on() {
    let before = Receipt {
        retry_after_s: Some(60),
        opened_url: Some("https://forge/pull/1".to_owned()),
        detail: "refused".to_owned(),
        ..receipt(State::PullFailed, Some(77))
    };
    let new = Receipt { observed_us: 9, ..receipt(State::Throttled, Some(1)) };
    let kept = Receipt {
        state: State::Throttled,
        observed_us: 9,
        detail: String::new(),
        ..before.clone()
    };
    assert_eq!(new.clone().following(Some(&before)), kept);
    assert_eq!(new.clone().following(None), Receipt { last_attempt_s: None, ..new });
}

#[test]
fn one_refusal_costs_a_minute_and_many_cost_a_day() {
    let mut before = receipt(State::PullFailed, Some(1));
    let mut waits = Vec::new();
    for _ in 0..7 {
        before.retry_after_s = Some(decide_wait_s(Some(&before), None));
        waits.extend(before.retry_after_s);
    }
    assert_eq!(waits, [60, 300, 1_500, 7_500, 37_500, 86_400, 86_400]);
    assert_eq!(decide_wait_s(Some(&before), Some(1)), 1, "the forge said so");
    assert_eq!(decide_wait_s(None, Some(u64::MAX)), 86_400);
    assert_eq!(decide_wait_s(None, Some(0)), 1);
}

#[test]
fn receipts_of_the_original_are_understood() {
    let second = "state=converged\nobserved-at=2026-05-19T10:11:12Z\n\
                  node-path=maintainers/ace/cluster-nodes/kestrel/node.yaml\n\
                  detail=on main\nlast-pr-attempt-epoch=77\n";
    let read = Receipt::parse(second).unwrap();
    assert_eq!((read.node.as_str(), read.last_attempt_s), ("kestrel", Some(77)));
    for first in ["2026-05-19T10:11:12Z\n", "https://github.com/o/r/pull/7"] {
        assert!(Receipt::is_of_first_generation(first), "{first:?}");
    }
    for other in ["", "\n", second, "7\n", "https://a\nhttps://b\n", "\0\0"] {
        assert!(!Receipt::is_of_first_generation(other), "{other:?}");
    }
    for path in ["", "maintainers/a/cluster-nodes/node.yaml", "maintainers/a/cluster-nodes/b/c"] {
        assert_eq!(node_of_path(path), None, "{path:?}");
    }
}

#[test]
fn a_receipt_that_was_carried_to_another_machine_is_of_that_one() {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let of = |names: &[&str]| Receipt { machine: all(names), ..receipt(State::Converged, None) };
    let kept = Receipt::parse(&of(&["a", "b"]).render()).unwrap();
    assert!(!kept.is_of_another_machine(&all(&["b", "c"])), "one card was replaced");
    assert!(kept.is_of_another_machine(&all(&["c"])));
    assert!(kept.is_of_another_machine(&[]), "nothing shows that it is of this one");
    assert!(!of(&[]).is_of_another_machine(&all(&["c"])), "its writer did not say");
}

#[test]
fn receipts_read_back_and_old_ones_are_none() {
    let whole = Receipt {
        retry_after_s: Some(60),
        opened_url: Some("https://forge/pull/6".to_owned()),
        machine: vec!["a".to_owned(), "b".to_owned()],
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
        cluster_key: None,
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

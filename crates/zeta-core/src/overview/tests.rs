//! The rules of overviews, with made-up rows.

use proptest::prelude::*;

use super::changes::{Changes, apply, changes};
use super::finding::{Edits, judge_urgency, of_agent, same_file, unread_mail};
use super::order::{agent_place, lease_place, put_agent, put_lease, sort};
use super::*;
use crate::hook::edits::Edit;
use crate::time::NS_PER_MS;

fn agent(name: &str, liveness: Liveness) -> Agent {
    Agent {
        node: "n".into(),
        name: name.into(),
        liveness,
        evidence: "beat in time".into(),
        beat_at_us: Some(5),
        started_at_us: None,
        waits: None,
        status: None,
        task: None,
        branch: None,
        worktree: None,
        tool: None,
        pids: vec![7, 8],
        is_stopped: false,
        unread: 0,
    }
}

fn waits(name: &str, since_us: Option<i64>) -> Agent {
    let waits = Some(Waits { question: "run it?".into(), since_us });
    Agent { waits, ..agent(name, Liveness::Live) }
}

fn lease(name: &str, standing: &str, waiting: usize) -> Lease {
    let waiter = Waiter { agent: None, pid: 9, since_us: None };
    Lease {
        node: "n".into(),
        name: name.into(),
        token: 1,
        kind: LeaseKind::Lease,
        subject: name.into(),
        agent: "a".into(),
        standing: standing.into(),
        evidence: String::new(),
        is_free: standing == "holder_dead",
        acquired_at_us: None,
        expires_at_us: Some(9),
        grace_until_us: None,
        ttl_ms: 10,
        purpose: None,
        branch: None,
        worktree: None,
        waiters: vec![waiter; waiting],
    }
}

#[test]
fn who_waits_for_a_person_longest_comes_first_and_who_ended_last() {
    let stopped = |name, liveness| Agent { is_stopped: true, ..agent(name, liveness) };
    let ordered = vec![
        waits("longest", Some(1)),
        waits("later", Some(2)),
        waits("unknown", None),
        agent("hung", Liveness::Hung),
        stopped("late-stopped", Liveness::Late),
        stopped("stopped", Liveness::Live),
        agent("silent", Liveness::Silent),
        agent("late", Liveness::Late),
        agent("a-live", Liveness::Live),
        agent("b-live", Liveness::Live),
        stopped("gone", Liveness::Gone),
    ];
    let mut overview = Overview { agents: ordered.clone(), ..Overview::default() };
    overview.agents.reverse();
    sort(&mut overview);
    assert_eq!(overview.agents, ordered);
}

#[test]
fn what_blocks_others_comes_first() {
    let ordered = vec![
        lease("dead", "holder_dead", 2),
        lease("grace", "in_grace", 1),
        lease("busy", "held", 3),
        lease("asked", "held", 1),
        lease("forever", "overdue", 0),
        lease("free", "holder_dead", 0),
        lease("a", "held", 0),
        lease("b", "held", 0),
    ];
    let mut overview = Overview { leases: ordered.clone(), ..Overview::default() };
    overview.leases.reverse();
    sort(&mut overview);
    assert_eq!(overview.leases, ordered);
}

#[test]
fn urgency_is_a_person_then_what_is_stuck_then_a_collision() {
    for (word, waiting, urgency) in [
        ("waits_for_person", 0, Urgency::Person),
        ("hung_agent", 0, Urgency::Stuck),
        ("stopped_agent", 0, Urgency::Stuck),
        ("lost_wrapper", 0, Urgency::Stuck),
        ("dead_holder", 1, Urgency::Stuck),
        ("dead_holder", 0, Urgency::Notice),
        ("holder_not_live", 2, Urgency::Stuck),
        ("same_file", 0, Urgency::Collision),
        ("shared_branch", 3, Urgency::Collision),
        ("late_agent", 0, Urgency::Notice),
    ] {
        assert_eq!(judge_urgency(word, waiting), urgency, "{word} {waiting}");
    }
    assert!(Urgency::Person < Urgency::Stuck && Urgency::Stuck < Urgency::Collision);
}

#[test]
fn an_agent_that_waits_or_was_stopped_is_found_once() {
    let word = |agent: &Agent| of_agent(agent).map(|found| found.word);
    let stopped = Agent { is_stopped: true, ..agent("s", Liveness::Late) };
    assert_eq!(word(&agent("a", Liveness::Late)), None);
    assert_eq!(word(&waits("w", None)).as_deref(), Some("waits_for_person"));
    assert_eq!(word(&Agent { is_stopped: true, ..waits("w", None) }), word(&waits("w", None)));
    let found = of_agent(&stopped).unwrap();
    assert!(found.is_about("n", "s") && !found.is_about("m", "s") && !found.is_about("n", "t"));
    assert_eq!(
        (found.word.as_str(), found.hints[0].as_str()),
        ("stopped_agent", "let it go on: kill -CONT 7 8")
    );
    assert_eq!(word(&Agent { liveness: Liveness::Gone, ..stopped }), None);
    // A question is another program's text.
    let odd = Some(Waits { question: "\u{1b}[2J".into(), since_us: None });
    let text = of_agent(&Agent { waits: odd, ..agent("w", Liveness::Live) }).unwrap().text;
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn two_agents_of_one_node_that_write_one_file_are_found_for_half_a_minute() {
    let edit = |at_ms, path: &str| Edit { at_ms, path: path.into() };
    let one = [edit(100_000, "/a"), edit(90_000, "/b"), edit(95_000, "/a")];
    let other = [edit(110_000, "/a"), edit(99_000, "/c")];
    let all = [
        Edits { node: "n", agent: "ann", edits: &one },
        Edits { node: "n", agent: "bob", edits: &other },
        Edits { node: "m", agent: "cat", edits: &one },
    ];
    let found = |now_ms: u64| {
        let (findings, rest_ms) = same_file(&all, now_ms * NS_PER_MS);
        let about: Vec<String> = findings.iter().map(|f| f.text.clone()).collect();
        (about, rest_ms)
    };
    let text = "ann and bob write one file: /a".to_owned();
    assert_eq!(same_file(&all, 120_000 * NS_PER_MS).0[0].node.as_deref(), Some("n"));
    assert_eq!(found(120_000), (vec![text.clone()], Some(10_001)));
    assert_eq!(found(130_000), (vec![text], Some(1)));
    assert_eq!(found(130_001), (vec![], None));
    assert_eq!(found(105_000), (vec![], None), "an edit of a clock that lies ahead");
}

#[test]
fn mail_is_unread_by_nobody_if_no_such_agent_runs() {
    let agents = [agent("ann", Liveness::Live), agent("bob", Liveness::Gone)];
    let found = unread_mail([("ann", 3), ("bob", 1), ("cat", 2), ("dan", 0)], &agents);
    let about: Vec<&str> = found.iter().map(|found| found.about.as_str()).collect();
    assert_eq!(about, ["bob", "cat"]);
    // A recipient is a name on the bus, of no node.
    assert!(found[0].node.is_none() && found[0].is_about("n", "bob"));
}

#[test]
fn json_has_the_names_of_the_fields_and_leaves_out_what_is_not_known() {
    let mut overview = Overview {
        at_us: -3,
        state_dir: "/s".into(),
        agents: vec![waits("w", Some(1))],
        leases: vec![lease("l", "held", 1)],
        ..Overview::default()
    };
    let value = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let whole = value(json::overview(&overview).done());
    assert_eq!((&whole["at_us"], &whole["agents"][0]["rank"]), (&(-3).into(), &0.into()));
    assert_eq!(whole["agents"][0]["waits"]["question"], "run it?");
    assert_eq!(whole["agents"][0]["pids"], serde_json::json!([7, 8]));
    assert_eq!(whole["leases"][0]["waiters"], serde_json::json!([{"pid": 9}]));
    assert!(whole.get("node").is_none() && whole["agents"][0].get("task").is_none(), "{whole}");
    let old = overview.clone();
    assert_eq!(json::changes(&changes(&old, &overview)).done(), r#"{"now_us":-3}"#);
    overview.node = Some("n".into());
    overview.leases.clear();
    let part = value(json::changes(&changes(&old, &overview)).done());
    let gone = serde_json::json!([{"node": "n", "name": "l", "token": 1}]);
    assert_eq!(part, serde_json::json!({"now_us": -3, "node": "n", "leases_gone": gone}));
}

fn any_agent() -> impl Strategy<Value = Agent> {
    let liveness = prop::sample::select(vec![Liveness::Live, Liveness::Hung, Liveness::Gone]);
    (0..4u8, liveness, prop::option::of(0..3i64), 0..3usize).prop_map(
        |(name, liveness, since, unread)| {
            let waits = since.map(|us| Waits { question: "q".into(), since_us: Some(us) });
            Agent { waits, unread, ..agent(&format!("a{name}"), liveness) }
        },
    )
}

fn any_lease() -> impl Strategy<Value = Lease> {
    let standing = prop::sample::select(vec!["held", "in_grace", "holder_dead"]);
    (0..3u8, 1..3u64, standing, 0..3usize).prop_map(|(name, token, standing, waiting)| Lease {
        token,
        ..lease(&format!("l{name}"), standing, waiting)
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    (0..6u8, 0..3i64, "[a-b]?").prop_map(|(id, at_us, text)| Message {
        id: format!("m{id}"),
        at_us,
        topic: "text".into(),
        from: "a".into(),
        to: "b".into(),
        text,
    })
}

prop_compose! {
    fn any_overview()(
        at_us in 0..9i64,
        node in prop::option::of("n"),
        agents in prop::collection::vec(any_agent(), 0..5),
        leases in prop::collection::vec(any_lease(), 0..5),
        messages in prop::collection::vec(any_message(), 0..5),
        words in prop::collection::vec("[ab]", 0..3),
        state in prop::option::of("[ab]"),
    ) -> Overview {
        let finding = |word: String| Finding {
            urgency: judge_urgency(&word, 0),
            word,
            node: None,
            about: "x".into(),
            text: "t".into(),
            hints: vec![],
        };
        let findings = words.into_iter().map(finding).collect();
        let state_dir = String::new();
        let cluster = state.map(|state| Cluster { state, ..Cluster::default() });
        let mut all =
            Overview { at_us, state_dir, node, cluster, agents, leases, messages, findings };
        sort(&mut all);
        // A row has one key.
        let mut seen = std::collections::HashSet::new();
        all.agents.retain(|a| seen.insert(a.name.clone()));
        all.leases.retain(|l| seen.insert(format!("{} {}", l.name, l.token)));
        all.messages.retain(|m| seen.insert(m.id.clone()));
        all
    }
}

proptest! {
    #[test]
    fn the_changes_between_two_overviews_lead_from_the_one_to_the_other(
        old in any_overview(), new in any_overview()
    ) {
        let changes = changes(&old, &new);
        let mut applied = old.clone();
        apply(&mut applied, &changes);
        prop_assert_eq!(&applied, &new);
        let none = Changes { now_us: new.at_us, ..Changes::default() };
        prop_assert_eq!(&super::changes::changes(&new, &new), &none);
        prop_assert!(none.is_empty());
        prop_assert_eq!(changes.is_empty(), Overview { at_us: new.at_us, ..old } == new);
    }

    #[test]
    fn rows_that_are_put_one_by_one_stand_as_sorted(
        old in any_overview(), new in any_overview()
    ) {
        let mut agents = old.agents.clone();
        let known = |all: &[Agent], name: &str| all.iter().find(|a| a.name == name).cloned();
        for agent in &old.agents {
            put_agent(&mut agents, Some(agent), known(&new.agents, &agent.name));
        }
        for agent in new.agents.iter().filter(|a| known(&old.agents, &a.name).is_none()) {
            put_agent(&mut agents, None, Some(agent.clone()));
        }
        prop_assert_eq!(&agents, &new.agents);
        prop_assert!(agents.windows(2).all(|two| agent_place(&two[0]) <= agent_place(&two[1])));
        let mut leases = old.leases.clone();
        let known = |all: &[Lease], of: &Lease| {
            all.iter().find(|l| (&l.name, l.token) == (&of.name, of.token)).cloned()
        };
        for lease in &old.leases {
            put_lease(&mut leases, Some(lease), known(&new.leases, lease));
        }
        for lease in new.leases.iter().filter(|l| known(&old.leases, l).is_none()) {
            put_lease(&mut leases, None, Some(lease.clone()));
        }
        prop_assert_eq!(&leases, &new.leases);
        prop_assert!(leases.windows(2).all(|two| lease_place(&two[0]) <= lease_place(&two[1])));
    }
}

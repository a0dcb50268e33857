//! Scenes for the tests: values by hand, at a time that stands still.

use zeta_core::history::{Entry, Event};
use zeta_core::overview::{
    Agent, Finding, Lease, LeaseKind, Message, Overview, Urgency, Waiter, Waits,
};
use zeta_core::presence::Liveness;

use crate::scene::Scene;

/// The moment of all frames: 2026-11-22T10:11:12Z.
pub const NOW: i64 = 1_795_342_272_000_000;

fn ago(seconds: i64) -> Option<i64> {
    Some(NOW - seconds * 1_000_000)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// What a scene is made of.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub overview: Overview,
    pub log: Vec<Entry>,
}

impl Known {
    /// The scene of it.
    pub fn scene(&self) -> Scene<'_> {
        let node = self.overview.node.as_deref();
        Scene { overview: &self.overview, log: &self.log, node }
    }
}

/// An agent that works.
pub fn agent(name: &str, liveness: Liveness, task: &str, branch: &str) -> Agent {
    Agent {
        node: "nestor".into(),
        name: name.into(),
        liveness,
        evidence: "its process runs".into(),
        beat_at_us: ago(4),
        started_at_us: ago(7_500),
        waits: None,
        status: None,
        task: some(task),
        branch: some(branch),
        worktree: some(&format!("/home/shop/worktrees/{}", branch.replace('/', "-")))
            .filter(|_| !branch.is_empty()),
        tool: some("claude"),
        pids: vec![4711],
        is_stopped: false,
        unread: 0,
    }
}

/// A lease that is held, with a rest of its time.
pub fn lease(subject: &str, agent: &str, rest_s: i64, ttl_s: u64) -> Lease {
    Lease {
        node: "nestor".into(),
        name: subject.to_lowercase(),
        token: 1_795_342_000_000_001,
        kind: LeaseKind::Lease,
        subject: subject.into(),
        agent: agent.into(),
        standing: "held".into(),
        evidence: "process runs".into(),
        is_free: false,
        acquired_at_us: ago(600),
        expires_at_us: ago(-rest_s),
        grace_until_us: None,
        ttl_ms: ttl_s * 1_000,
        purpose: None,
        branch: None,
        worktree: None,
        waiters: Vec::new(),
    }
}

/// A finding.
pub fn finding(word: &str, about: &str, text: &str, hint: &str, urgency: Urgency) -> Finding {
    let hints = some(hint).into_iter().collect();
    let node = some("nestor");
    Finding { word: word.into(), node, about: about.into(), text: text.into(), hints, urgency }
}

/// The agents, leases, messages and changes of a web shop: one agent waits for a person, one hangs,
/// one was stopped, one ended, and two write one file.
pub fn shop() -> Known {
    let overview = Overview {
        at_us: NOW,
        state_dir: "/tmp/zeta-cluster-state".into(),
        node: some("nestor"),
        cluster: None,
        agents: agents(),
        leases: leases(),
        messages: messages(),
        findings: findings(),
    };
    Known { overview, log: log() }
}

fn agents() -> Vec<Agent> {
    let question = "May I delete the branch feat/old-checkout on origin?";
    let waits = Waits { question: question.into(), since_us: ago(754) };
    let mut agents = vec![
        Agent {
            waits: Some(waits),
            unread: 2,
            ..agent("rex", Liveness::Live, "", "feat/checkout")
        },
        Agent {
            evidence: "its process runs and does not beat".into(),
            beat_at_us: ago(52),
            ..agent("vera", Liveness::Hung, "tests of the cart", "fix/cart-total")
        },
        Agent { is_stopped: true, ..agent("ida", Liveness::Late, "translate the help", "docs/de") },
    ];
    for (name, task, branch) in [
        ("otto", "prices with VAT", "feat/vat"),
        ("日本-エージェント", "検索を速くする", "feat/search"),
        ("max", "prices with VAT, tests", "feat/vat-tests"),
    ] {
        agents.push(agent(name, Liveness::Live, task, branch));
    }
    let ended = "its processes have ended";
    agents.push(Agent { evidence: ended.into(), ..agent("bob", Liveness::Gone, "release", "") });
    agents.push(Agent { tool: None, ..agent("old", Liveness::Gone, "an older release", "") });
    agents
}

fn leases() -> Vec<Lease> {
    let waiter =
        |agent: &str, pid, seconds| Waiter { agent: some(agent), pid, since_us: ago(seconds) };
    let mut leases = vec![
        Lease {
            standing: "holder_dead".into(),
            is_free: true,
            evidence: "processes have ended".into(),
            purpose: some("release 4.2"),
            waiters: vec![waiter("otto", 812, 190), waiter("", 813, 61)],
            ..lease("deploy", "bob", 300, 600)
        },
        Lease {
            standing: "in_grace".into(),
            grace_until_us: ago(-40),
            ..lease("migration", "vera", -5, 120)
        },
        Lease {
            kind: LeaseKind::Claim,
            branch: some("feat/vat"),
            worktree: some("/home/shop/worktrees/feat-vat"),
            ..lease("SHOP-118", "otto", 3_500, 3_600)
        },
        Lease {
            kind: LeaseKind::Paths,
            purpose: some("the prices"),
            ..lease("src/price/** docs/price.md", "otto", 42, 60)
        },
    ];
    leases.push(Lease {
        kind: LeaseKind::Slot, ..lease("test-db", "日本-エージェント", 10, 60)
    });
    leases
}

fn findings() -> Vec<Finding> {
    vec![
        finding(
            "waits_for_person",
            "rex",
            "agent rex waits for a person: May I delete",
            "answer it in its terminal",
            Urgency::Person,
        ),
        finding(
            "hung_agent",
            "vera",
            "agent vera is hung: its process runs and does not beat",
            "examine its process",
            Urgency::Stuck,
        ),
        finding(
            "dead_holder",
            "deploy",
            "lease deploy: its holder bob is gone, and 2 wait",
            "free to take: zeta lease acquire deploy",
            Urgency::Stuck,
        ),
        finding(
            "same_file",
            "/home/shop/worktrees/fix-cart-total/src/cart.rs",
            "vera and max write one file: /home/shop/worktrees/fix-cart-total/src/cart.rs",
            "let one of them claim it: zeta claim acquire --path",
            Urgency::Collision,
        ),
        finding("dead_agent", "bob", "agent bob ended without recording it", "", Urgency::Notice),
        finding("odd_name", "x y", "\"x y\" is not a name of the standard", "", Urgency::Notice),
    ]
}

fn messages() -> Vec<Message> {
    let message = |id: &str, seconds: i64, from: &str, to: &str, text: &str| Message {
        id: id.into(),
        at_us: NOW - seconds * 1_000_000,
        topic: "note".into(),
        from: from.into(),
        to: to.into(),
        text: text.into(),
    };
    vec![
        message("a1", 90_000, "otto", "all", "the old branch is gone"),
        message("a2", 120, "otto", "rex", "the checkout needs the new prices first\nbefore Friday"),
        message("a3", 30, "日本-エージェント", "otto", "検索のテストが終わりました"),
    ]
}

fn log() -> Vec<Entry> {
    let entry = |seconds: i64, event, name: &str, agent: &str| Entry {
        agent: some(agent),
        fencing_token: Some(1_795_342_000_000_001),
        ..Entry::new("nestor", event, name, NOW - seconds * 1_000_000)
    };
    let mut over = entry(900, Event::TakenOver, "deploy", "bob").because("holder_dead");
    over.from_agent = some("alice");
    vec![
        entry(90_000, Event::Acquired, "deploy", "alice"),
        entry(3_000, Event::Released, "search-index", "日本-エージェント"),
        over,
        entry(60, Event::Broken, "migration", "vera").by("max").with_reason("it hung"),
    ]
}

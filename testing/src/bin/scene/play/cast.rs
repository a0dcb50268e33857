//! The twelve agents: one that asks its person, one that is killed, one that is stopped, two that
//! write one file, and seven at ordinary work.

use super::Outcome;

/// What keeps the session of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// `zeta run`, with this time between beats.
    ByRun(&'static str),
    /// The hooks of its tool alone.
    ByHooks,
}

/// An agent, and what it says about its work.
#[derive(Debug)]
pub(super) struct Part {
    /// Its name; one that its hooks keep gets a name that begins so.
    pub(super) name: &'static str,
    pub(super) kept: Kept,
    /// The tool whose hooks it calls.
    pub(super) tool: Option<&'static str>,
    pub(super) task: &'static str,
    pub(super) status: &'static str,
    pub(super) branch: &'static str,
    /// The directory of its worktree.
    pub(super) worktree: &'static str,
}

const fn run(name: &'static str, branch: &'static str, worktree: &'static str) -> Part {
    let (task, status) = ("", "");
    Part { name, kept: Kept::ByRun("10s"), tool: None, task, status, branch, worktree }
}

impl Part {
    const fn does(self, task: &'static str, status: &'static str) -> Part {
        Part { task, status, ..self }
    }
}

/// All agents, in the order in which they come.
pub(super) const CAST: [Part; 12] = [
    Part {
        tool: Some("claude"),
        ..run("otto", "feat/invoice", "shop-invoice").does("Pay by invoice", "pushing")
    },
    run("vera", "release/2.14", "shop-release").does("Release 2.14 to staging", "deploying"),
    Part {
        // Short, so that it is soon seen to hang.
        kept: Kept::ByRun("1s"),
        ..run("rex", "feat/orders-v2", "shop-orders")
            .does("Move orders to the new table", "migrating")
    },
    Part {
        tool: Some("claude"),
        ..run("mira", "feat/discounts", "shop-cart").does("Discounts in the cart", "editing")
    },
    Part {
        kept: Kept::ByHooks,
        tool: Some("claude"),
        ..run("claude", "feat/discounts", "shop-cart")
            .does("Rounding errors in the cart", "editing")
    },
    run("lior", "feat/search-ja", "shop-search")
        .does("検索を日本語に: search in Japanese", "editing"),
    run("nova", "feat/price-import", "shop-import").does("Nightly import of prices", "waiting"),
    run("finn", "test/checkout", "shop-e2e").does("Browser tests of the checkout", "waiting"),
    run("juno", "main", "shop").does("Merge queue", "merging"),
    run("kai", "perf/search", "shop-perf").does("Faster search for products", "measuring"),
    run("iris", "docs/api", "shop-docs").does("Pages of the public API", "writing"),
    run("nils", "feat/avif", "shop-images").does("Pictures as AVIF", "building"),
];

/// An agent of the past.
pub(super) const TARA: Part = run("tara", "main", "shop").does("Merge queue", "merging");

/// Returns the worktree of an agent.
pub(super) fn worktree_of(name: &str) -> Outcome<&'static str> {
    let part = CAST.iter().find(|part| part.name == name);
    part.map(|part| part.worktree).ok_or_else(|| format!("{name} is not in the cast").into())
}

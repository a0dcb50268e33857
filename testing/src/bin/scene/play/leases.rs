//! The forty leases of the scene: 13 plain ones, 7 slots, 12 claims of items, 8 claims of paths.

/// What is acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lease,
    /// A claim of an item, on the branch and in the worktree of its holder.
    Claim(&'static str),
    Paths,
}

/// A lease, its holder, and the agents that wait for it.
#[derive(Debug)]
pub(super) struct Lease {
    /// The name, the item, or the path.
    pub(super) name: &'static str,
    pub(super) holder: &'static str,
    kind: Kind,
    /// Options that those who wait for it give, too.
    pub(super) options: &'static str,
    /// Options of the holder.
    more: &'static str,
    purpose: &'static str,
    pub(super) waiters: &'static [&'static str],
}

const fn of(kind: Kind, name: &'static str, holder: &'static str) -> Lease {
    Lease { name, holder, kind, options: "", more: "--ttl 1h", purpose: "", waiters: &[] }
}

const fn lease(name: &'static str, holder: &'static str, purpose: &'static str) -> Lease {
    Lease { purpose, ..of(Kind::Lease, name, holder) }
}

const fn slot(name: &'static str, holder: &'static str, options: &'static str) -> Lease {
    Lease { options, ..of(Kind::Lease, name, holder) }
}

const fn claim(item: &'static str, holder: &'static str, branch: &'static str) -> Lease {
    of(Kind::Claim(branch), item, holder)
}

const fn paths(path: &'static str, holder: &'static str) -> Lease {
    of(Kind::Paths, path, holder)
}

impl Lease {
    const fn ttl(self, more: &'static str) -> Lease {
        Lease { more, ..self }
    }

    const fn waited_for_by(self, waiters: &'static [&'static str]) -> Lease {
        Lease { waiters, ..self }
    }

    /// Whether it is a claim, whose lease has another name.
    pub(super) fn is_claim(&self) -> bool {
        self.kind != Kind::Lease
    }

    /// The command that acquires it.
    pub(super) fn command(&self, worktree: &str) -> String {
        let (name, more, options) = (super::quoted(self.name), self.more, self.options);
        match self.kind {
            Kind::Lease => {
                let purpose = super::quoted(self.purpose);
                format!("zeta lease acquire {name} {more} {options} --purpose {purpose}")
            }
            Kind::Claim(branch) => {
                let worktree = super::quoted(worktree);
                format!("zeta claim acquire {name} --branch {branch} --worktree {worktree} {more}")
            }
            Kind::Paths => format!("zeta claim acquire --path {name} {options} {more}"),
        }
    }
}

/// All leases, in the order in which they are acquired.
pub(super) const LEASES: [Lease; 40] = [
    lease("deploy-staging", "vera", "2.14 to staging")
        .ttl("--ttl 90m")
        .waited_for_by(&["nova", "finn"]),
    // Its holder is stopped: the first is in its grace for hours, the other one is overdue.
    lease("db-migration", "rex", "orders to orders_v2")
        .ttl("--ttl 2s --grace 4h")
        .waited_for_by(&["kai"]),
    lease("nightly-report", "rex", "figures of yesterday")
        .ttl("--ttl 2s --grace 1s --policy never"),
    lease("merge-main", "juno", "merges SHOP-224")
        .ttl("--ttl 90m")
        .waited_for_by(&["lior", "iris"]),
    lease("payment-sandbox", "otto", "invoices of the test shop")
        .ttl("--ttl 80m")
        .waited_for_by(&["finn"]),
    lease("release-notes", "iris", "2.14").ttl("--ttl 80m"),
    lease("browser-profile", "finn", "checkout as a guest").ttl("--ttl 75m"),
    lease("schema-dump", "nova", "before the import").ttl("--ttl 70m"),
    lease("image-worker", "nils", "AVIF of 1,204 pictures").ttl("--ttl 2h"),
    lease("translations", "lior", "412 texts").ttl("--ttl 2h"),
    lease("search-index", "kai", "builds it anew").ttl("--ttl 90m"),
    lease("docs-site", "iris", "preview of the API pages").ttl("--ttl 3h"),
    lease("cdn-purge", "juno", "after the merge").ttl("--ttl 1h"),
    slot("build", "lior", "--slots 3"),
    slot("build", "nils", "--slots 3"),
    slot("build", "kai", "--slots 3").waited_for_by(&["iris"]),
    slot("browser-tests", "finn", "--slots 5"),
    slot("browser-tests", "otto", "--slots 5"),
    slot("browser-tests", "mira", "--slots 5"),
    slot("browser-tests", "nova", "--slots 5"),
    claim("SHOP-231", "otto", "feat/invoice"),
    claim("SHOP-230", "vera", "release/2.14"),
    claim("SHOP-218", "rex", "feat/orders-v2"),
    claim("SHOP-228", "mira", "feat/discounts"),
    claim("SHOP-229", "claude", "feat/discounts"),
    claim("SHOP-240", "lior", "feat/search-ja"),
    claim("SHOP-219", "nova", "feat/price-import"),
    claim("SHOP-222", "finn", "test/checkout"),
    claim("SHOP-224", "juno", "main"),
    claim("SHOP-226", "kai", "perf/search"),
    claim("SHOP-237", "iris", "docs/api"),
    claim("SHOP-233", "nils", "feat/avif"),
    paths("src/checkout/**", "otto"),
    paths(":/db/migrations/", "rex"),
    paths("src/search/**", "lior"),
    paths("src/import/**", "nova"),
    paths("tests/e2e/**", "finn"),
    paths("docs/**", "iris"),
    Lease { options: "--shared", ..paths("package.json", "kai") },
    Lease { options: "--shared", ..paths("package.json", "nils") },
];

//! What was before: leases that were released, taken over from a dead agent, broken, handed over,
//! and left to expire. The history of the state directory shows it.

/// A step of an agent: its command, so many minutes ago.
pub(super) struct Step {
    pub(super) minutes_ago: u32,
    pub(super) agent: &'static str,
    pub(super) command: &'static str,
}

const fn step(minutes_ago: u32, agent: &'static str, command: &'static str) -> Step {
    Step { minutes_ago, agent, command }
}

/// In place of a command: the agent is killed, and another one takes over what it holds.
pub(super) const KILL: &str = "kill";

/// All steps, in their order. A command keeps its token in `T`.
pub(super) const PAST: [Step; 36] = [
    step(118, "nova", "T=$(zeta lease acquire deploy-staging --purpose '2.13.4 to staging')"),
    step(116, "lior", "T=$(zeta lease acquire merge-main --purpose 'merges SHOP-216')"),
    step(108, "lior", "zeta lease release merge-main --token $T"),
    step(104, "nova", "zeta lease release deploy-staging --token $T"),
    step(103, "finn", "T=$(zeta lease acquire deploy-staging --purpose 'tests of 2.13.4')"),
    step(101, "kai", "T=$(zeta lease acquire merge-main --purpose 'merges SHOP-217')"),
    step(99, "mira", "T=$(zeta lease acquire payment-sandbox --purpose 'vouchers')"),
    step(97, "juno", "zeta claim acquire SHOP-221 --branch main >/dev/null"),
    step(96, "kai", "zeta lease release merge-main --token $T"),
    step(95, "iris", "T=$(zeta lease acquire release-notes --purpose '2.13')"),
    step(
        94,
        "nils",
        "env -u ZETA_SESSION zeta --as ann lease acquire search-index --ttl 100ms >/dev/null",
    ),
    step(92, "finn", "zeta lease release deploy-staging --token $T"),
    step(90, "rex", "T=$(zeta lease acquire db-migration --purpose 'orders, dry run')"),
    step(88, "nils", "T=$(zeta lease acquire image-worker --purpose 'WebP')"),
    step(86, "tara", "zeta lease acquire merge-main --purpose 'merges SHOP-220' >/dev/null"),
    step(85, "otto", "T=$(zeta lease acquire build --slots 3)"),
    step(84, "mira", "zeta lease release payment-sandbox --token $T"),
    step(83, "kai", "zeta claim acquire SHOP-224 --branch main >/dev/null"),
    step(81, "otto", "zeta lease release build --token $T"),
    step(80, "iris", "zeta --as ann lease break release-notes --expect $T --reason 'out already'"),
    step(78, "kai", "sleep 0.2; T=$(zeta lease acquire search-index --purpose 'synonyms')"),
    step(77, "tara", KILL),
    step(76, "juno", "T=$(zeta lease acquire merge-main --purpose 'merges SHOP-220')"),
    step(75, "rex", "zeta lease release db-migration --token $T"),
    step(74, "mira", "T=$(zeta lease acquire build --slots 3)"),
    step(73, "otto", "zeta claim acquire --path src/checkout/form.ts >/dev/null"),
    step(72, "vera", "T=$(zeta lease acquire deploy-staging --purpose '2.14-rc1 to staging')"),
    step(71, "mira", "zeta lease release build --token $T"),
    step(70, "juno", "zeta claim release SHOP-221"),
    step(69, "otto", "zeta claim release --path src/checkout/form.ts"),
    step(68, "nils", "zeta lease release image-worker --token $T"),
    step(67, "kai", "zeta lease release search-index --token $T"),
    step(66, "juno", "zeta lease release merge-main --token $T"),
    step(65, "vera", "zeta lease release deploy-staging --token $T"),
    step(64, "iris", "zeta persona clear tara >/dev/null"),
    step(63, "kai", "zeta -q claim handover SHOP-224 --to juno >/dev/null"),
];

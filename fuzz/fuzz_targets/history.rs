//! See `crates/zeta/tests/suite/fuzz/checks.rs`, which is shared with the tests.
#![no_main]
#![expect(dead_code, reason = "each target uses one of the checks")]

#[path = "../../crates/zeta/tests/suite/fuzz/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::history(bytes));

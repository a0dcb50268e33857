//! Shows an agent as present without `zeta run`: `be_present AGENT BEATS` beats once a second.
//!
//! `zeta status` shows the agent as *live* while it beats, and as *late* after two missed beats.

use std::time::Duration;

use zeta::config::Config;
use zeta::environment::{self, Overrides};
use zeta_core::time::format_utc;
use zeta_os::error::Result;
use zeta_state::presence::heartbeat::beat;

const EVERY: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let agent = args.next().unwrap_or_else(|| "example".to_owned());
    let beats: u32 = args.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let overrides = Overrides { agent: Some(agent), ..Overrides::default() };
    let ctx = environment::context(overrides, &Config::load()?)?;
    let node = ctx.open()?;
    for number in 0..beats {
        if number > 0 {
            std::thread::sleep(EVERY);
        }
        let at_us = beat(&node, Some(EVERY.as_millis() as u64))?;
        println!("{} beat at {}", ctx.agent, format_utc(at_us));
    }
    Ok(())
}

//! Holds a lease while this process works: `hold_a_lease NAME`.
//!
//! The grant is bound to this process. If the process dies, the lease is free at once, and the next
//! process in the queue gets it.

use std::time::Duration;

use zeta::config::Config;
use zeta::environment::{self, Overrides};
use zeta_core::evidence::Processes;
use zeta_core::name::RecordName;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::process::identify_self;
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions, new_request};

fn main() -> Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "deploy".to_owned());
    let lease = RecordName::new("lease", &name)?;
    let ctx = environment::context(Overrides::default(), &Config::load()?)?;
    let node = ctx.open()?;

    let request = new_request(&ctx, lease.clone(), 60_000)?;
    let mut wait = WaitOptions {
        limit_ms: Some(30_000),
        on_wait: &mut |_, held| println!("waiting; the holder has {:?} ms left", held.rest_ms),
    };
    let mut handle = LeaseHandle::new(&node, &lease);
    let outcome = handle.acquire(&request, &mut wait, &mut |record| {
        record.processes = Processes { own: Some(identify_self()), ..Processes::default() };
        Ok(())
    })?;
    let Outcome::Granted { record, .. } = outcome else {
        return Err(Error::new(Kind::Busy, format!("{name} is held by another process")));
    };
    // A protected resource compares this number, and refuses a lower one.
    println!("{name} is mine, with fencing token {}", record.fencing_token);

    std::thread::sleep(Duration::from_millis(100)); // the work
    if handle.renew(record.fencing_token, Duration::from_secs(1))?.is_err() {
        return Err(Error::new(Kind::Lost, format!("{name} was lost: stop working")));
    }
    let stood = handle.release(record.fencing_token)?;
    println!("released: {}", stood.is_ok());
    Ok(())
}

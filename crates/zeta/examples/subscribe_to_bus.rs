//! Reads the messages that this subscriber has not received yet: `subscribe_to_bus SURFACE`.
//!
//! A message counts as delivered when the closure returns true. After false it is delivered again,
//! and after five failures it becomes a dead letter.

use zeta::environment::bus_dir;
use zeta_bus::messages::follow::deliver;
use zeta_os::error::Result;

fn main() -> Result<()> {
    let surface = std::env::args().nth(1).unwrap_or_else(|| "example".to_owned());
    let (deliveries, findings) = deliver(&bus_dir(None), &surface, None, |message| {
        println!("{} wrote about {}: {}", message.from, message.topic, message.payload);
        Ok(true)
    })?;
    println!("{} delivered", deliveries.len());
    for finding in findings {
        eprintln!("not a message: {finding}");
    }
    Ok(())
}

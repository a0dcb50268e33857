//! What a service manager is told, and what of that an agent does not inherit.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::{Guard, Post, write_program};
use crate::support::LIMIT;

#[test]
fn a_service_manager_hears_that_the_post_is_ready_who_stands_there_and_that_it_works() {
    let guard = Guard::new(1, "").only("otto");
    let agent = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nenv | grep -c '^NOTIFY\\|^WATCHDOG' >>log\n\
                 echo begin >>log\nsleep 1\n";
    write_program(&guard.agent(), agent);
    let path = guard.sandbox.dir.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = guard.cmd(&["run", "1"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let post = Post::of(&mut command, guard.notes_path(1));
    let told = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut all = Vec::new();
    let until = Instant::now() + LIMIT;
    // A second of work has four beats of 0.2 s or more.
    let beats = |all: &[String]| all.iter().filter(|line| *line == "WATCHDOG=1").count();
    while beats(&all) < 6 || guard.count("begin") < 1 {
        assert!(Instant::now() < until, "{all:?}");
        all.push(told());
    }
    assert!(all.contains(&"READY=1".to_owned()), "{all:?}");
    let stands = "STATUS=otto stands at post 1 with a high in cli";
    assert!(all.iter().any(|line| line == stands), "{all:?}");
    assert_eq!(guard.log()[0], "0", "the agent could speak for the post: {:?}", guard.log());
    assert_eq!(post.end(), 0);
    manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    while all.last().unwrap() != "STOPPING=1" {
        all.push(told());
    }
}

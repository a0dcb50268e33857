//! Every rule of `zeta`, pure: a function gets what was seen and what time it is, and answers.
//!
//! No function here reads a clock, a file, a socket, the environment or a random number, so every
//! rule can be tested as a table and searched as a model. Read the modules in this order:
//!
//! 1. [`name`]: what a node, an agent, a lease and a marker may be called.
//! 2. [`time`]: time as a value that is handed in; durations and their text.
//! 3. [`record`]: the flat text of every record on disk, and what makes one damaged.
//! 4. [`layout`]: the only place that knows a file name of the state directory.
//! 5. [`evidence`]: is a recorded process alive, dead or unknown; is a record of this boot.
//! 6. [`lease`]: the lease record and every decision about it.
//! 7. [`presence`]: the persona record and how alive its agent is.
//! 8. [`clean`]: what may be removed, and what stays.
//! 9. [`bus`]: messages, their topics, and what the claim messages of an item mean together.
//! 10. [`registration`]: how a node joins, by one pull request.
//! 11. [`machine`]: what tells this machine from every other one.
//! 12. [`creds`]: credentials in a sealed blob, and what may be in it.
//! 13. [`json`] and [`shell`]: one object under construction; a text as one word of a command.
//! 14. [`hook`]: what agent tools report before they act, and what they are answered.
//! 15. [`signal`]: which signals a wrapper passes on.
//! 16. [`pattern`]: patterns of paths, and whether two of them share a path.
//! 17. [`sum`]: sums that tell damage.
//! 18. [`mcp`]: how agents are shown what other agents wrote.
//! 19. [`terminal`]: what the bytes of a terminal say.
//! 20. [`overview`]: what is known of a state directory, as people look at it.
//! 21. [`history`]: who held which lease when, and how that ended.
//! 22. [`web`]: which requests the page of all that answers.
//! 23. [`cluster`]: the same across machines that share a store.
//! 24. [`svg`]: what drawings have in common.
//! 25. [`schedule`]: which persona stands at which guard post of a node.
//! 26. [`repair`]: what a persona may repair.
//! 27. [`signature`]: which agent signed a commit.
//! 28. [`fat`]: files in the partition of an install stick.
//! 29. [`disk`]: disks, and whether one may be overwritten.
//! 30. [`stick`]: what is put on an install stick besides its image.
//! 31. [`flash`]: how an image is written to a stick.
//! 32. [`install`]: the steps of the installation of a node.
#![forbid(unsafe_code)]

pub mod bus;
pub mod clean;
pub mod cluster;
pub mod creds;
pub mod disk;
pub mod evidence;
pub mod fat;
pub mod flash;
pub mod history;
pub mod hook;
pub mod install;
pub mod json;
pub mod layout;
pub mod lease;
pub mod machine;
pub mod mcp;
pub mod name;
pub mod overview;
pub mod pattern;
pub mod presence;
pub mod record;
pub mod registration;
pub mod repair;
pub mod schedule;
pub mod shell;
pub mod signal;
pub mod signature;
pub mod stick;
pub mod sum;
pub mod svg;
pub mod terminal;
pub mod time;
pub mod trust;
pub mod web;

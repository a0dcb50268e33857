//! Registration at a forge, against a stand-in of GitHub whose requests and answers are checked
//! against GitHub's own published description.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

#[expect(dead_code, reason = "a stage of the other tests, of which these need a part")]
#[path = "../it/stage.rs"]
mod stage;

mod cut;
mod forge;
mod hostile;
mod hub;
mod life;
mod machine;
mod register;
mod schema;
mod standin;
mod tls;
mod token;

//! Registration at a forge, against a fake of GitHub whose requests and answers are checked
//! against GitHub's own published description.

mod cut;
pub mod fake_github;
mod faults;
mod forge;
pub mod github_model;
mod hostile;
mod identity;
mod life;
pub mod machine;
mod register;
pub mod schema;
pub mod served;
mod tls;
mod token;
mod user_git;

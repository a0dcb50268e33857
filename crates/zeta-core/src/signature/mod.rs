//! Signed commits: a block of trailers says which agent acted, under whose authority.
//!
//! The page `docs/signature.md` is the grammar. Everything here is pure: a message goes in, and a
//! judgement comes out.
//!
//! - [`trailer`]: the trailers of a message, as git itself reads them.
//! - [`block`]: the ten keys, and what is wrong with a block.
//! - [`check`]: one message, judged in both ways of reading.
//! - [`co_author`]: which names and addresses are those of agents.
//! - [`audit`]: the class of a commit of a history.
//! - [`message`]: a block is put into a message.
//! - [`beat`]: signed commits as signs of life.

pub mod audit;
pub mod beat;
pub mod block;
pub mod check;
pub mod co_author;
pub mod message;
#[cfg(test)]
mod tests;
pub mod trailer;

pub use self::block::{Block, Fault, Key};

//! One function per thing that zeta can do: read, ask the core, carry out. Nothing here prints.

pub mod acquire;
pub mod beat;
pub mod bus;
pub mod claim;
pub mod clean;
pub mod creds;
pub mod doctor;
pub mod document;
pub mod exec;
pub mod init;
pub mod install;
pub mod lease;
mod listing;
pub mod node;
pub mod run;
pub mod session;
pub mod status;
pub mod view;

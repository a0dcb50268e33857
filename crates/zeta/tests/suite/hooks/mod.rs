//! `zeta hook`: what agent tools are answered, and how it gets into their files.

mod attention;
mod busy;
mod commands;
mod install;
mod mail;
mod plugin;
pub(crate) mod run;
mod shell;
mod whose;

//! `zeta hook`: what agent tools are answered, and how it gets into their files.

mod install;
mod run;

//! Creates, cleans and examines the state directory.

pub mod clean;
pub mod doctor;
pub mod init;
pub mod report;
pub mod unit_files;

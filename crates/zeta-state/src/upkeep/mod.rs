//! Making the state directory, cleaning it, and examining it.

pub mod clean;
pub mod doctor;
pub mod init;
pub mod report;
pub mod unit_files;

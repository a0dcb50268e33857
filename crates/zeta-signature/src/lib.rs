//! Signed commits of a repository: reading them from git, and the hooks that add and check blocks.
//! What a message means is decided by [`zeta_core::signature`].
#![forbid(unsafe_code)]

//! The one binary: parse, run, exit.

use zeta::allocator::Large;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: Large<dlmalloc::GlobalDlmalloc> = Large(dlmalloc::GlobalDlmalloc);

#[cfg(not(target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: Large<std::alloc::System> = Large(std::alloc::System);

fn main() -> std::process::ExitCode {
    zeta::cli::main(std::env::args_os()).into()
}

//! The one binary: parse, run, exit.

#[cfg(target_env = "musl")]
mod arena;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: arena::Arena = arena::Arena::new();

fn main() -> std::process::ExitCode {
    zeta::cli::main(std::env::args_os()).into()
}

//! The one binary: parse, run, exit.

fn main() -> std::process::ExitCode {
    zeta::cli::main(std::env::args_os()).into()
}

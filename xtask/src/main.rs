//! The project's chores, so that a person, a developer's hook and CI all run the same thing.

mod agents;
mod attacks;
mod bench;
mod beside;
mod book;
mod boot;
mod ci;
mod cluster;
mod costs;
mod counts;
mod credits;
mod cuts;
mod dist;
mod elf;
mod litter;
mod mutants;
mod nats_server;
mod needs;
mod npm_file;
mod packages;
mod pictures;
mod python;
mod run;
mod seeded;
mod stage;
mod suite;
mod tidy;
mod torture;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>

  test    set up what the tests need, then run every test and doc test
  ci      fmt, clippy, tests, doc tests, docs and tidy: what a change must pass
  tidy    the rules of STYLE.md that no compiler checks
  evidence   write docs/evidence.md: the tests, the seeded bug and the figure of each rule
  bench   measure beside the anchors and write the figures into docs/performance.md
          bench scale   what many nodes cost a server, into docs/scale.md
          bench NAME    one bench alone, which only prints: bridge, cluster_lease, …
  seeded-bugs [PART]   put known bugs into a copy, one at a time; the tests must catch each;
          PART is one of a name, or of the path of a file
  mutants [PART]   change decisions and publishing in small ways; the tests must notice 95 %
  mutants --sample [SEED]   the ten of the core that a run of ci tried, or those of this commit
  torture kill, stop and rob real processes that take leases; see docs/reliability.md
  cluster   kill, stop, cut off and fill up servers of NATS while clients take leases of the
          cluster, in network namespaces; see docs/reliability.md
  agents [TOOL…] [--install] [--write]   real agent tools from npm, with the hooks, against a
          stand-in of their models; --install only brings them, --write renews the table; 'mcp' are
          the Python and the TypeScript client of the server; --mail=COUNT sends Claude Code,
          Codex and Gemini CLI so many messages, and times the turns that they begin
  attacks play the attack table here and print it; see docs/adversarial.md
  vm [NAME]   play it on a kernel of its own (qemu), with both settings of fs.protected_*, and
              set the clock there
  cuts [--rounds N] [--order ours|textbook]   cut the power of a virtual machine that saves on FAT
  install build the static release binary and install it where cargo install puts programs
  dist    build the static release binary into dist/, and its packages for Debian, pip and npm
  book    build docs/ as web pages into target/book; a link that leads nowhere is an error
  pictures   make the pictures of the docs anew, from what the live view and the page show
  costs   count what each verb costs and compare with xtask/costs.tsv; --write writes that anew
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => suite::run(),
        ["ci"] => ci::run(),
        ["tidy"] => tidy::run(),
        ["evidence"] => tidy::evidence::run(),
        ["costs"] => costs::run(false),
        ["costs", "--write"] => costs::run(true),
        ["bench"] => bench::run(),
        ["bench", "scale"] => bench::scale(),
        ["bench", name] => bench::one(name),
        ["seeded-bugs"] => seeded::run(None),
        ["seeded-bugs", name] => seeded::run(Some(name)),
        ["mutants"] => mutants::run(None),
        ["mutants", "--sample"] => mutants::sample(None),
        ["mutants", "--sample", seed] => mutants::sample(Some(seed)),
        ["mutants", name] => mutants::run(Some(name)),
        ["torture", args @ ..] => torture::run(args),
        ["cluster", args @ ..] => cluster::run(args),
        ["agents", args @ ..] => agents::run(args),
        ["attacks"] => attacks::run(),
        ["vm"] => vm::run(""),
        ["vm", name] => vm::run(name),
        ["cuts", args @ ..] => cuts::run(args),
        ["book"] => book::run(),
        ["pictures"] => pictures::run(),
        ["install"] => dist::install(None).map(|()| true),
        ["dist"] => dist::run().map(|()| true),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // The failures are printed already, and the counts must stay the last lines.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Measures zeta and the anchors in one run and writes the figures into `docs/performance.md`, so
//! that the page is never out of date.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::{dist, nats_server, needs, run};

/// What many nodes cost, and the page for it.
const SCALE: &str = "scale";
const SCALE_PAGE: &str = "docs/scale.md";
const CLIENT: &str = "zeta-anchors";
const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- written by 'cargo xtask bench' -->\n";
const END: &str = "<!-- end of what 'cargo xtask bench' wrote -->\n";

/// The benches, in the order of the page.
const BENCHES: [&str; 16] = [
    "oneshot",
    "peers",
    "library",
    "servers",
    "contended",
    "status",
    "watching",
    "overview",
    "page",
    "bus",
    "posts",
    "signature",
    "creds",
    "flash",
    "cluster_lease",
    SCALE,
];

/// `cargo xtask bench`: provides the anchors, builds, measures, writes the page. True if no gate
/// was missed.
pub fn run() -> Result<bool> {
    needs::provide_anchors()?;
    let anchors = run::target_dir().join("anchors");
    libraries(&anchors);
    clients(&anchors)?;
    dist::run()?;
    let (table, plan) = measure(&BENCHES, &anchors)?;
    write(PAGE, &figures(&table, &machine()))?;
    write(SCALE_PAGE, &scale_figures(&table, &plan))?;
    let missed = table.lines().filter(|line| line.ends_with("\tMISSED")).count();
    println!("\nbench: written to {PAGE}; {missed} gates missed");
    Ok(missed == 0)
}

/// `cargo xtask bench scale`: measures what many nodes cost a server, and writes that page alone.
pub fn scale() -> Result<bool> {
    needs::provide_anchors()?;
    let (table, plan) = measure(&[SCALE], &run::target_dir().join("anchors"))?;
    write(SCALE_PAGE, &scale_figures(&table, &plan))?;
    Ok(true)
}

/// `cargo xtask bench NAME`: runs one bench, which prints what it measures.
pub fn one(bench: &str) -> Result<bool> {
    needs::provide_anchors()?;
    let anchors = run::target_dir().join("anchors");
    if bench == "cluster_lease" || bench == "servers" {
        clients(&anchors)?;
    }
    let (table, _) = measure(&[bench], &anchors)?;
    Ok(!table.lines().any(|line| line.ends_with("\tMISSED")))
}

/// Runs benches; returns the rows that they printed, and the plan for many nodes.
fn measure(benches: &[&str], anchors: &Path) -> Result<(String, String)> {
    nats_server::provide();
    let files = ["bench-table.tsv", "scale-table.md"].map(|name| run::target_dir().join(name));
    for file in &files {
        fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
    }
    for bench in benches {
        let mut command = run::cargo(&["bench", "--package", "zeta", "--bench", bench]);
        command.env("ZETA_BENCH_TABLE", &files[0]).env("ZETA_SCALE_TABLE", &files[1]);
        command.env("ZETA_ANCHORS", anchors).env(nats_server::VARIABLE, nats_server::place());
        ensure!(run::succeeds(command)?, "the bench {bench} failed; the page is as it was");
    }
    Ok((fs::read_to_string(&files[0])?, fs::read_to_string(&files[1])?))
}

/// The rows of the bench of many nodes, which is the last one, and what follows from them.
fn scale_figures(table: &str, plan: &str) -> String {
    let first = table.lines().position(|line| line.starts_with("#\ta cluster of many nodes"));
    let rows: Vec<&str> = table.lines().skip(first.unwrap_or(usize::MAX)).collect();
    let measured = figures(&rows.join("\n"), &machine());
    format!("{measured}\n## What follows for 10 to 10,000 nodes\n\n{}\n", plan.trim_end())
}

fn write(page: &str, figures: &str) -> Result<()> {
    let path = run::root().join(page);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {page}"))?;
    Ok(fs::write(&path, replaced(&old, figures)?)?)
}

/// Installs libraries of other languages that people use for locks; the bench names those that are
/// missing.
fn libraries(anchors: &Path) {
    let place = |name: &str| anchors.join(name).display().to_string();
    let pip = ["-m", "pip", "install", "--quiet", "--upgrade", "--target"];
    let mut pip = run::program("python3", &pip);
    pip.arg(place("python")).arg("filelock");
    let npm = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
    let mut npm = run::program("npm", &npm);
    npm.arg(place("node")).args(["proper-lockfile", "bun"]);
    for command in [pip, npm] {
        if !matches!(run::succeeds(command), Ok(true)) {
            println!("bench: an anchor could not be installed; it will be named as missing");
        }
    }
}

/// Builds clients of NATS and etcd: a package outside of the workspace, because only the bench
/// needs it.
fn clients(anchors: &Path) -> Result<()> {
    let manifest = run::root().join("anchors/Cargo.toml").display().to_string();
    let mut build = run::cargo(&["build", "--release", "--locked", "--manifest-path", &manifest]);
    build.env("CARGO_TARGET_DIR", anchors.join("target"));
    let place = anchors.join(CLIENT);
    let _ = fs::remove_file(&place);
    if !matches!(run::succeeds(build), Ok(true)) {
        println!("bench: the clients of NATS and etcd were not built; both are named as missing");
        return Ok(());
    }
    let built = anchors.join("target/release").join(CLIENT);
    fs::copy(built, &place).with_context(|| format!("cannot write {}", place.display()))?;
    Ok(())
}

/// Describes the machine in one line, as far as it is known.
fn machine() -> String {
    let says = |name: &str, args: &[&str]| {
        run::answer(run::program(name, args)).unwrap_or_default().trim().to_owned()
    };
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let release = says("uname", &["-r"]);
    let release: Vec<&str> = release.split('.').take(2).collect();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} cores ({}), Linux {}, {}, load average {} at the end, {}",
        says("nproc", &[]),
        model.map_or("unknown", |(_, name)| name),
        release.join("."),
        says("rustc", &["--version"]),
        load.split(' ').next().unwrap_or("?"),
        says("date", &["-u", "+%Y-%m-%d"]),
    )
}

/// Formats the tables in Markdown.
fn figures(table: &str, machine: &str) -> String {
    let mut text = format!("**Machine:** {machine}.\n");
    for line in table.lines() {
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        match fields.as_slice() {
            ["#", title] => {
                let _ = write!(
                    text,
                    "\n### {title}\n\n| what | zeta | anchor | value | gate | stretch | met |\n\
                     | --- | --- | --- | --- | --- | --- | --- |\n"
                );
            }
            ["", rest @ ..] => {
                let rest = rest.join(" | ").replace("MISSED", "**missed**");
                let _ = writeln!(text, "| {rest} |");
            }
            _ => {}
        }
    }
    text
}

fn replaced(page: &str, figures: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for figures")?;
    let (_, after) = rest.split_once(END).context("the place for figures has no end")?;
    Ok(format!("{before}{BEGIN}{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_the_place_of_the_old_ones() {
        let table = "#\tloops\n\tadd\t1 us\t2 us\t0.500\t<=0.600\t-\tgate\n\
                     \tsub\t3 us\t2 us\t1.500\t<=1\t-\tMISSED\n";
        let text = figures(table, "2 cores");
        assert!(text.contains("### loops\n"), "{text}");
        assert!(text.contains("| add | 1 us | 2 us | 0.500 | <=0.600 | - | gate |"), "{text}");
        assert!(text.contains("**missed** |"), "{text}");
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replaced(&page, "new\n").unwrap(), format!("a\n{BEGIN}new\n{END}b\n"));
        assert!(replaced("nothing", "new").is_err());
    }
}

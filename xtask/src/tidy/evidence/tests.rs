//! What the check of the evidence must find, each on pages that are otherwise in order.

use super::*;

const STANDARD: &str = "\
# Standard

## 1. Files

- **S1.** A rule goes on
  over two lines. A second sentence.
- **S2.** Another one, see S1 and **bold** text.

| | what | then |
|---|---|---|
| **R1** | **Above.** Each directory. |  |
| **S3** | no record | free |

```sh
# - **S9.** not a rule
```
";

const PROMISES: &str = "\
# Promises

## 8. What is not promised

1. **N1. A title.** More of it.
   **P1.** A promise of its own
2. Not a number.
";

const CODE: &str = "\
#[test]
#[ignore]
// Why.
fn proves() {
}

fn proves_nothing() {}
";

const MUTANTS: &str = "pub enum Mutant {\n    /// Why.\n    NoFlock,\n}\n";

const HEAD: &str = "number\ttests\tseeded bug\tfigure\n";

const GOOD: &str = "\
S1\tproves; faults\tnothing is locked\tA1; reliability: Fig
S2\tMISSING: the other half\tmodel: NoFlock\t– nothing to measure
S3\tproves\t– a definition\t– nothing to measure
R1\tproves\tMISSING\tA1
P1\tproves\t– a definition\tMISSING
N1\t– cannot be shown\t– not promised\t– not promised
";

fn page(path: &str, text: impl Into<String>) -> Page {
    Page { path: path.to_owned(), text: text.into() }
}

/// A checkout with this data file, and with the table that belongs to it.
fn checkout(data: &str) -> Vec<Page> {
    let faults: String =
        FAULT_TESTS.iter().map(|name| format!("#[test]\nfn {name}() {{}}\n")).collect();
    let mut pages = vec![
        page("docs/STANDARD.md", STANDARD),
        page("docs/concurrency.md", PROMISES),
        page("docs/reliability.md", "# R\n\n## Figures\n\n```\n# A code block\n```\n"),
        page("docs/performance.md", "# P\n"),
        page("docs/adversarial.md", "# A\n\n| A1 | an attack | test |\n"),
        page("crates/a/tests/a.rs", CODE),
        page("crates/a/tests/faults.rs", faults),
        page("crates/a/tests/model/mutant.rs", MUTANTS),
        page(DATA, format!("{HEAD}{data}")),
    ];
    let mut ignored = Vec::new();
    let numbers = numbers(&pages, &mut ignored);
    let rows = rows(&pages, &mut ignored);
    let table = render(&pages, &numbers, &rows);
    pages.push(page(TABLE, table));
    pages
}

fn findings_of(pages: &[Page]) -> Vec<String> {
    let mut findings = Vec::new();
    check(pages, &mut findings);
    findings.iter().map(ToString::to_string).collect()
}

/// The data file with one text replaced must give this one finding.
#[track_caller]
fn expect(from: &str, to: &str, finding: &str) {
    assert!(GOOD.contains(from), "{from:?}");
    let found = findings_of(&checkout(&GOOD.replacen(from, to, 1)));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(finding), "{found:?} lacks {finding:?}");
}

#[test]
fn what_agrees_gives_no_finding() {
    assert_eq!(findings_of(&checkout(GOOD)), Vec::<String>::new());
}

#[test]
fn numbers_are_read_with_their_first_sentence() {
    let mut findings = Vec::new();
    let numbers = numbers(&checkout(GOOD), &mut findings);
    let read: Vec<_> = numbers.iter().map(|n| (n.name.as_str(), n.text.as_str())).collect();
    assert_eq!(
        read,
        [
            ("S1", "A rule goes on over two lines"),
            ("S2", "Another one, see S1 and bold text"),
            ("R1", "Above"),
            ("S3", "no record: free"),
            ("N1", "A title"),
            ("P1", "A promise of its own"),
        ]
    );
    assert_eq!(numbers[0].section, "1. Files");
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn every_number_has_a_line_and_every_line_a_number() {
    let without = GOOD.lines().filter(|line| !line.starts_with("S2")).collect::<Vec<_>>();
    assert_eq!(
        findings_of(&checkout(&without.join("\n"))),
        ["docs/STANDARD.md:7: S2 has no line in docs/evidence.tsv"]
    );
    let more = format!("{GOOD}S8\tproves\tMISSING\tA1\n");
    assert_eq!(
        findings_of(&checkout(&more)),
        ["docs/evidence.tsv:8: 'S8' is no number of docs/STANDARD.md or docs/concurrency.md"]
    );
    let twice = format!("{GOOD}S1\tproves\tMISSING\tA1\n");
    assert_eq!(findings_of(&checkout(&twice)), ["docs/evidence.tsv:8: S1 has two lines"]);
}

#[test]
fn a_number_is_defined_once() {
    let mut pages = checkout(GOOD);
    pages[1].text.push_str("\n- **S1.** Again.\n");
    let found = findings_of(&pages);
    assert!(
        found[0].contains("docs/concurrency.md:9: the number S1 is defined twice"),
        "{found:?}"
    );
}

#[test]
fn what_is_named_exists() {
    expect("proves; faults", "proves_nothing; faults", "no test has the name 'proves_nothing'");
    expect("nothing is locked", "nothing is lockd", "no seeded bug");
    expect("model: NoFlock", "model: Other", "no seeded bug and no rule of the model");
    expect("reliability: Fig", "reliability: A code", "no heading and no attack");
    expect("A1;", "A2;", "no heading and no attack is 'A2'");
    let mut pages = checkout(GOOD);
    pages[5].text.push_str(CODE);
    assert!(findings_of(&pages)[0].contains("2 tests have the name 'proves'"));
    let mut pages = checkout(GOOD);
    pages[6].text = pages[6].text.replacen("#[test]\n", "", 1);
    let found = findings_of(&pages);
    assert!(found[0].contains("the fault suite has no test 'a_fault_at_any_call_of_acquire"));
}

#[test]
fn no_cell_is_empty_and_no_dash_is_without_a_reason() {
    expect("R1\tproves\tMISSING", "R1\tproves\t", "R1 has an empty cell");
    expect("– a definition", "–", "S3 has a dash without a reason");
    let short = findings_of(&checkout(&GOOD.replacen("\tA1; rel", "", 1)));
    assert!(short.iter().any(|found| found.contains("a line has four cells")), "{short:?}");
}

#[test]
fn a_table_that_was_not_written_anew_is_a_finding() {
    let mut pages = checkout(GOOD);
    pages[8].text = pages[8].text.replacen("A1; reliability: Fig", "A1", 1);
    assert_eq!(
        findings_of(&pages),
        ["docs/evidence.md:1: the page is stale: run 'cargo xtask evidence'"]
    );
    pages.pop();
    assert!(findings_of(&pages)[0].contains("the page is stale"));
}

#[test]
fn what_is_missing_is_seen() {
    let pages = checkout(GOOD);
    let table = &pages.last().unwrap().text;
    for part in [
        "6 numbers; 3 lack nothing, 1 lack a test, 1 a seeded bug, 1 a figure.",
        "| S1 | A rule goes on over two lines | `proves`<br>`faults` | nothing is locked | \
         [A1](adversarial.md#the-attack-table)<br>[Fig](reliability.md#figures) |",
        "| S2 | Another one, see S1 and bold text | 🔴 **MISSING**: the other half | \
         *model:* NoFlock | – nothing to measure |",
        "[1. Files](STANDARD.md#1-files)",
        "[8. What is not promised](concurrency.md#8-what-is-not-promised)",
    ] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn a_long_sentence_is_cut_at_a_word_and_never_inside_code() {
    let long = format!("{} and `a code span that is long` ends", "word ".repeat(20).trim());
    assert_eq!(shortened(&long), format!("{} and …", "word ".repeat(20).trim()));
    assert_eq!(shortened("short"), "short");
}

//! `zeta doctor`: what is wrong, why, and what to do.

use clap::{Args, Command};
use zeta_core::record::{printable, quote};

use super::{Call, Noun};
use zeta_core::json::Object;
use zeta_os::error::{Kind, Result};
use zeta_state::upkeep::doctor::{Diagnosis, Finding, doctor};

pub(super) const NOUN: Noun = Noun {
    name: "doctor",
    about: "Modes, owners, namespace, ageing, clocks, leftovers: what is wrong and what to do",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
It works on trees that every other verb refuses, and changes nothing without --fix. To see whether
a service and a shell look at the same directory, compare their dev_ino.

Exit status: 0 nothing is unsafe or broken (there may be warnings), 7 something is.

Examples:
  zeta doctor
  zeta doctor --fix
  zeta doctor --json")]
struct DoctorArgs {
    /// Do what 'zeta clean' does, and write a missing README.md or local-node
    #[arg(long)]
    fix: bool,
}

fn build(verb: Command) -> Command {
    DoctorArgs::augment_args(verb)
}

fn run(call: &Call) -> Result<u8> {
    let args: DoctorArgs = call.args()?;
    let diagnosis = match call.context() {
        Ok(ctx) => doctor(&ctx, args.fix),
        // A wrong call is the caller's; what the machine refuses is a finding.
        Err(error) if error.kind == Kind::Usage => return Err(error),
        Err(error) => Diagnosis::of_error(&error),
    };
    call.out.either(|| object(&diagnosis), || text(&diagnosis))?;
    match diagnosis.is_sound() {
        true => Ok(0),
        false => Ok(Kind::Unsafe.status()),
    }
}

fn object(diagnosis: &Diagnosis) -> Object {
    let mut facts = Object::new();
    for (key, value) in &diagnosis.facts {
        facts.text(key, value);
    }
    let finding = |finding: &Finding| {
        let mut object = Object::new();
        object.text("severity", finding.severity.word());
        object.text("finding", finding.finding);
        object.text("reason", &finding.reason);
        object.text("remedy", &finding.remedy);
        object.done()
    };
    let mut object = Object::new();
    object.flag("sound", diagnosis.is_sound());
    object.raw("facts", &facts.done());
    object.list("findings", diagnosis.findings.iter().map(finding));
    object.list("fixed", diagnosis.fixed.iter().map(|line| quote(line)));
    object
}

fn text(diagnosis: &Diagnosis) -> String {
    let facts = diagnosis.facts.iter();
    let mut lines: Vec<String> =
        facts.map(|(key, value)| format!("{key:<18} {}", printable(value))).collect();
    lines.extend(diagnosis.fixed.iter().map(|line| format!("fixed              {line}")));
    for Finding { severity, finding, reason, remedy } in &diagnosis.findings {
        lines.push(format!("{:<8} {finding}: {}", severity.word(), printable(reason)));
        lines.push(format!("         -> {}", printable(remedy)));
    }
    lines.push(match (diagnosis.is_sound(), diagnosis.findings.len()) {
        (true, 0) => "nothing is wrong".to_owned(),
        (true, _) => "nothing is unsafe or broken".to_owned(),
        (false, _) => "something is unsafe or broken".to_owned(),
    });
    lines.join("\n")
}

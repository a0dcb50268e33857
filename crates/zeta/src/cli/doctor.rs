//! `zeta doctor`: reports what is wrong, why, and what to do.

use clap::{Args, Command};

use super::{Call, Noun};
use zeta_os::error::{Kind, Result};
use zeta_state::upkeep::doctor::report::{doctor_json, doctor_text};
use zeta_state::upkeep::doctor::{Diagnosis, doctor};

pub(super) const NOUN: Noun = Noun {
    name: "doctor",
    about: "Check modes, owners, namespaces, clocks, leftovers and more: what is wrong, what to do",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
The doctor also examines the bus, and state directories that every other verb refuses. It changes
nothing without --fix. To see whether a service and a shell use the same directory, compare their
dev_ino.

Exit status: 0 nothing is unsafe or broken (there may be warnings); 7 something is.

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
        Ok(ctx) => {
            let mut diagnosis = doctor(&ctx, args.fix);
            zeta_bus::doctor::examine(&ctx, &mut diagnosis);
            diagnosis
        }
        // A wrong call is the caller's error; a refusal by the machine is a finding.
        Err(error) if error.kind == Kind::Usage => return Err(error),
        Err(error) => Diagnosis::of_error(&error),
    };
    call.out.either(|| doctor_json(&diagnosis), || doctor_text(&diagnosis))?;
    match diagnosis.is_sound() {
        true => Ok(0),
        false => Ok(Kind::Unsafe.status()),
    }
}

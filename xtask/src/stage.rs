//! The stages of a long command, with the time that each one took.

use std::fs;
use std::time::Instant;

use anyhow::Result;

/// The stages that were run.
#[derive(Default)]
pub struct Stages(Vec<Stage>);

struct Stage {
    name: &'static str,
    good: bool,
    seconds: f64,
    /// What its programs took of the processors, in seconds.
    processor: f64,
}

impl Stages {
    /// Runs a stage. The ones after it are run, too, if it is not good.
    pub fn take(&mut self, name: &'static str, run: impl FnOnce() -> Result<bool>) -> Result<()> {
        println!("\n=== {name}");
        let (start, before) = (Instant::now(), processor_seconds());
        let good = run()?;
        let seconds = start.elapsed().as_secs_f64();
        self.0.push(Stage { name, good, seconds, processor: processor_seconds() - before });
        Ok(())
    }

    /// Reports whether every stage was good.
    pub fn good(&self) -> bool {
        self.0.iter().all(|stage| stage.good)
    }

    /// Prints a line for each stage, and their sum.
    pub fn print(&self) {
        println!("\n        {:<10} {:>9} {:>13}", "stage", "seconds", "of processor");
        for Stage { name, good, seconds, processor } in &self.0 {
            let verdict = if *good { "ok    " } else { "FAILED" };
            println!("{verdict}  {name:<10} {seconds:>9.1} {processor:>13.1}");
        }
        let sum = |part: fn(&Stage) -> f64| self.0.iter().map(part).sum::<f64>();
        let (seconds, processor) = (sum(|stage| stage.seconds), sum(|stage| stage.processor));
        println!("        {:<10} {seconds:>9.1} {processor:>13.1}", "all");
    }
}

/// What the programs that ended, and that were waited for, took of the processors.
fn processor_seconds() -> f64 {
    fs::read_to_string("/proc/self/stat").map_or(0.0, |stat| ended_children(&stat))
}

/// Reads `cutime` and `cstime` of proc(5), which count in hundredths of a second.
fn ended_children(stat: &str) -> f64 {
    // The name of the program stands in parentheses, and may hold blanks.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let times = fields.split(' ').skip(13).take(2);
    times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_ended_programs_is_read_behind_a_name_with_blanks() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 4 81 0 9 51 52 150 275 20 0 1 0 1141 8 9\n";
        assert!((ended_children(stat) - 4.25).abs() < 1e-9);
        assert!(ended_children("") == 0.0);
    }

    #[test]
    fn a_stage_that_failed_is_kept_and_the_next_one_is_run() {
        let mut stages = Stages::default();
        stages.take("first", || Ok(false)).unwrap();
        let mut ran = false;
        stages.take("second", || Ok(std::mem::replace(&mut ran, true) || ran)).unwrap();
        assert!(ran && !stages.good());
    }
}

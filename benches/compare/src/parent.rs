//! The parent's part: which child runs when, and what becomes of its sample.

use std::{
    env,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use clap::ValueEnum;

use crate::{
    Options, Result,
    drive::Sample,
    measure::now,
    plan::{Contender, Plan},
    table::{self, Column},
};

/// How long a run that was disturbed waits before it is made again.
const CALM: Duration = Duration::from_secs(2);

/// Above this share of a core, something else used the machine.
const DISTURBED: f64 = 0.1;

/// How often it is looked whether a child has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The core that the network is given. The parent only waits, so the first is left to everything else.
const CORE: &str = "1";

/// What is added to the seed of a network that did not come together.
const OTHER_SEED: u64 = 1000;

#[derive(Debug)]
pub(crate) struct Parent {
    contenders: Vec<Contender>,
    runs: u32,
    retries: u32,
    plan: Plan,
    can_pin: bool,
}

impl Parent {
    pub(crate) fn new(options: &Options, plan: Plan) -> Self {
        let is_wanted = |one: &&Contender| options.only.is_empty() || options.only.contains(*one);
        let contenders = Contender::value_variants().iter().filter(is_wanted).copied().collect();
        let mut probe = Command::new("taskset");
        probe.args(["-c", CORE, "true"]).stderr(Stdio::null());
        let can_pin = probe.status().is_ok_and(|status| status.success());
        Self { contenders, runs: options.runs, retries: options.retries, plan, can_pin }
    }

    /// All contenders in turns: A B C, C B A, A B C, .., so that going first, should it matter, favours none.
    pub(crate) fn run(&self) -> Result<()> {
        if !self.can_pin {
            println!("Not pinned: `taskset` is missing or there is no second core.");
        }
        let mut columns: Vec<Column> =
            self.contenders.iter().map(|&contender| Column::new(contender)).collect();
        for run in 0..self.runs {
            let plan = Plan { seed: self.plan.seed.wrapping_add(run.into()), ..self.plan };
            let mut turns: Vec<&mut Column> = columns.iter_mut().collect();
            if run % 2 == 1 {
                turns.reverse();
            }
            for column in turns {
                eprintln!("{}: run {} of {}", column.contender.title(), run + 1, self.runs);
                let sample = self.sample(column.contender, plan).or_else(|error| {
                    // A network that does not come together says something, too; another gets its turn.
                    eprintln!("{error}");
                    column.failed += 1;
                    let seed = plan.seed.wrapping_add(OTHER_SEED);
                    self.sample(column.contender, Plan { seed, ..plan })
                })?;
                column.samples.push(sample);
            }
        }
        table::print(&columns, &self.plan);
        Ok(())
    }

    /// One run, made again while something else uses the machine.
    fn sample(&self, contender: Contender, plan: Plan) -> Result<Sample> {
        let mut sample = self.child(contender, plan)?;
        for _ in 0..self.retries {
            if sample.others <= DISTURBED {
                break;
            }
            eprintln!("disturbed: something else used {:.0}% of a core", sample.others * 100.0);
            thread::sleep(CALM);
            sample = self.child(contender, plan)?;
        }
        Ok(sample)
    }

    /// Starts this program with a descriptor limit that all links fit in, and reads what it prints. The
    /// shell and `taskset` replace themselves with what they start, so the child is the one that is measured.
    fn child(&self, contender: Contender, plan: Plan) -> Result<Sample> {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "ulimit -n 20000 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"; exec \"$@\"",
            "sh",
        ]);
        if self.can_pin {
            command.args(["taskset", "-c", CORE]);
        }
        command.arg(env::current_exe()?).args(["run", &contender.name()]).args(plan.to_args());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let begin = now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begin.elapsed() > plan.limit() {
                child.kill()?;
                child.wait()?;
                return Err(format!("{} does not end, and was killed", contender.name()).into());
            }
            thread::sleep(LOOK);
        };
        // One line, which the pipe has held.
        let mut said = String::new();
        child.stdout.take().ok_or("no stdout of the child")?.read_to_string(&mut said)?;
        if !status.success() {
            return Err(format!("{} failed: {status}", contender.name()).into());
        }
        Ok(serde_json::from_str(&said)?)
    }
}

//! The parent's part: which child runs when, against which other.

use std::{net::SocketAddr, thread, time::Duration};

use serde::de::DeserializeOwned;

use crate::{
    Options, Result,
    cases::{BROADCAST, CASES, Case, HOPS, Network},
    child::{self, Cores, Program, Server},
    load::{Load, Plan, Sample, hold::PING_EVERY},
    measure::Run,
    table::{self, Held, Row, Setting},
};

/// How long a run that was disturbed waits before it is made again.
const CALM: Duration = Duration::from_secs(2);

/// The name that `--only` knows the comparison of worker counts by.
const WORKERS: &str = "workers";

/// Seconds that held sessions have to settle before they are measured.
const SETTLE: f64 = 5.0;

/// Descriptors that a child has besides those of its sessions, and some to spare.
const OTHER_DESCRIPTORS: u64 = 100;

pub(crate) struct Bench {
    options: Options,
    can_pin: bool,
}

impl Bench {
    pub(crate) fn new(options: Options) -> Self {
        let can_pin = child::can_pin();
        if !can_pin {
            println!(
                "Not pinned: `taskset` is missing or there is no second core, so server and load share what there is."
            );
        }
        Self { options, can_pin }
    }

    pub(crate) fn run(&self) -> Result<()> {
        if let Some(sessions) = self.options.hold {
            return self.hold(sessions);
        }
        let alone = self.options.baseline.is_none();
        let with_workers = alone && self.wants(WORKERS);
        let cases: Vec<_> = CASES.into_iter().filter(|case| self.includes(case)).collect();
        let wanted = |network: &Network| alone && self.wants(network.name());
        let hops: Vec<_> = HOPS.into_iter().filter(wanted).collect();
        let broadcast: Vec<_> = BROADCAST.into_iter().filter(wanted).collect();
        if cases.is_empty() && hops.is_empty() && broadcast.is_empty() && !with_workers {
            return Err(format!("no load is called {:?}", self.options.only).into());
        }
        let mut rows = Vec::new();
        for case in cases {
            rows.push(self.compare(case)?);
        }
        if !rows.is_empty() {
            table::print_rows(&rows, self.names());
        }
        if with_workers {
            table::print_settings("ping-deep by workers (pongs/s ↑)", &self.workers()?);
        }
        if !hops.is_empty() {
            table::print_hops(&self.networks(&hops)?);
        }
        if !broadcast.is_empty() {
            table::print_broadcast(&self.networks(&broadcast)?);
        }
        Ok(())
    }

    /// A baseline may know no encryption, or no routing: then such a load is run only if it is asked for
    /// as such.
    fn includes(&self, case: &Case) -> bool {
        let names = ["tls", "relay"];
        let asked =
            self.options.only.iter().any(|part| names.iter().any(|name| part.starts_with(name)));
        let runs = !case.load.is_encrypted() || self.options.baseline.is_none() || asked;
        runs && self.wants(case.name())
    }

    fn wants(&self, name: &str) -> bool {
        let only = &self.options.only;
        only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
    }

    const fn names(&self) -> [&'static str; 2] {
        match self.options.baseline {
            Some(_) => ["this build", "baseline"],
            None => ["node", "yardstick"],
        }
    }

    /// What is compared in this load.
    fn sides(&self, load: Load) -> Result<[Program; 2]> {
        let mut node = vec!["serve-node", "--workers=1"];
        if load == Load::Relay {
            node.push("--overlay");
        }
        if let Some(path) = &self.options.baseline {
            return Ok([Program::own(&node)?, Program::other(path.clone(), &node)]);
        }
        let every = format!("--ping-every={}", PING_EVERY.as_secs());
        let mut yardstick = vec!["serve-yardstick"];
        if load.is_encrypted() {
            yardstick.push("--tls");
        }
        if load == Load::TlsHold {
            yardstick.push(&every);
        }
        if load == Load::Relay {
            yardstick.push("--relay");
        }
        let yardstick = Program::own(&yardstick)?;
        let node = if self.options.itself { yardstick.clone() } else { Program::own(&node)? };
        Ok([node, yardstick])
    }

    /// One load against both servers in turns: A B, B A, A B, .., so that going first, should it matter,
    /// favours neither.
    fn compare(&self, case: Case) -> Result<Row> {
        let Case { load, title, generator } = case;
        if matches!(load, Load::Idle | Load::TlsIdle) {
            has_descriptors(self.options.sessions)?;
        }
        let sides = self.sides(load)?;
        let mut samples = [Vec::new(), Vec::new()];
        for run in 1..=self.options.runs {
            eprintln!("{title}: run {run} of {}", self.options.runs);
            let mut turns: Vec<_> = sides.iter().zip(&mut samples).collect();
            if run % 2 == 0 {
                turns.reverse();
            }
            for (program, samples) in turns {
                samples.push(self.sample(load, program, Some("0"), generator)?);
            }
        }
        let [left, right] = samples;
        Ok(Row { title: title.to_owned(), left, right })
    }

    /// The node with one and two workers. On two cores, the second worker and the load generator share one.
    fn workers(&self) -> Result<Vec<Setting>> {
        let kinds: [(&str, usize, Cores, Cores); 4] = [
            ("1 worker, pinned: server on core 0, load on core 1", 1, Some("0"), Some("1")),
            ("1 worker, not pinned", 1, None, None),
            (
                "2 workers, pinned: server on cores 0 and 1, load on core 1",
                2,
                Some("0,1"),
                Some("1"),
            ),
            ("2 workers, not pinned", 2, None, None),
        ];
        let mut settings =
            kinds.map(|(title, ..)| Setting { title: title.to_owned(), samples: Vec::new() });
        for run in 1..=self.options.runs {
            eprintln!("{WORKERS}: run {run} of {}", self.options.runs);
            for (setting, (_, workers, server, load)) in settings.iter_mut().zip(kinds) {
                let node = Program::own(&["serve-node", &format!("--workers={workers}")])?;
                setting.samples.push(self.sample(Load::PingDeep, &node, server, load)?);
            }
        }
        Ok(settings.into())
    }

    /// What is found in each of these networks, in turns.
    fn networks<T: DeserializeOwned + Run>(
        &self,
        networks: &[Network],
    ) -> Result<Vec<(&'static str, Vec<T>)>> {
        let Options { warmup, secs, .. } = self.options;
        let mut rows: Vec<_> = networks.iter().map(|network| (network.title, Vec::new())).collect();
        for run in 1..=self.options.runs {
            for (network, (title, found)) in networks.iter().zip(&mut rows) {
                eprintln!("{title}: run {run} of {}", self.options.runs);
                let options = [format!("--warmup={warmup}"), format!("--secs={secs}")];
                let options = options.iter().map(String::as_str);
                let args: Vec<_> = network.part.iter().copied().chain(options).collect();
                let (program, cores) = (Program::own(&args)?, self.pin(network.cores));
                found.push(self.calm(|| child::said(cores, &program))?);
            }
        }
        Ok(rows)
    }

    /// Thousands of encrypted sessions for minutes, once with each server.
    fn hold(&self, sessions: u32) -> Result<()> {
        has_descriptors(sessions)?;
        let secs = self.options.hold_secs;
        let plan = Plan { sessions: sessions as usize, secs, ..self.plan(Load::TlsHold) };
        let plan = Plan { warmup: SETTLE, ..plan };
        let mut samples = Vec::new();
        for (program, name) in self.sides(Load::TlsHold)?.iter().zip(self.names()) {
            eprintln!("hold: {sessions} sessions for {secs} s, {name}");
            let sample = self.attempt(&plan, program, Some("0"), Some("1"))?;
            samples.push((name, sample));
        }
        table::print_held(&Held { sessions, secs, every: PING_EVERY, samples });
        Ok(())
    }

    fn sample(
        &self,
        load: Load,
        program: &Program,
        server: Cores,
        generator: Cores,
    ) -> Result<Sample> {
        let plan = self.plan(load);
        self.calm(|| self.attempt(&plan, program, server, generator))
    }

    /// One run, made again while something else keeps the machine busy and there are retries left.
    fn calm<T: Run>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        for _ in 0..self.options.retries {
            let run = attempt()?;
            if !run.is_disturbed() {
                return Ok(run);
            }
            let busy = run.others_busy();
            eprintln!("  disturbed: {busy:.1} cores were busy with something else; again");
            thread::sleep(CALM);
        }
        attempt()
    }

    fn pin(&self, cores: Cores) -> Cores {
        cores.filter(|_| self.can_pin)
    }

    fn plan(&self, load: Load) -> Plan {
        Plan {
            load,
            server: SocketAddr::from(([0; 4], 0)),
            server_pid: 0,
            warmup: self.options.warmup,
            secs: self.options.secs,
            sessions: self.options.sessions as usize,
        }
    }

    /// A fresh server, one load, and the server's end.
    fn attempt(
        &self,
        plan: &Plan,
        program: &Program,
        server: Cores,
        generator: Cores,
    ) -> Result<Sample> {
        Server::start(self.pin(server), program)?.measure(self.pin(generator), plan)
    }
}

/// Refuses what would end in the middle of the run, and with a riddle.
fn has_descriptors(sessions: u32) -> Result<()> {
    let (limit, wanted) = (child::descriptor_limit()?, u64::from(sessions) + OTHER_DESCRIPTORS);
    if limit < wanted {
        return Err(format!(
            "{sessions} sessions need {wanted} descriptors in each process, and the hard limit is {limit} \
             (`ulimit -Hn`): raise it, or ask for fewer sessions"
        )
        .into());
    }
    Ok(())
}

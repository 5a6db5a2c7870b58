//! The measured side of a benchmark: named cases, run in batches when the runner asks for them.
//!
//! The runner writes `<case> <milliseconds>` and reads one number: the case's nanoseconds per unit over a batch of about
//! that length, or whatever the case measures. It asks all cases of all programs in turn, round after round, so that
//! whatever else the machine does touches all of them alike.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead, Write};

use crate::clock::thread_cpu;

/// Runs `n` iterations and returns the nanoseconds they took.
type Batch<'a> = Box<dyn FnMut(u64) -> u64 + 'a>;

/// The cases of one program.
#[derive(Default)]
pub struct Worker<'a> {
    cases: BTreeMap<&'static str, Case<'a>>,
}

enum Case<'a> {
    Timed {
        units: f64,
        iterations: Option<u64>,
        batch: Batch<'a>,
    },
    Value(Box<dyn FnMut() -> f64 + 'a>),
}

impl<'a> Worker<'a> {
    /// A case that times itself; an iteration handles `units` units.
    pub fn timed(&mut self, name: &'static str, units: usize, batch: impl FnMut(u64) -> u64 + 'a) {
        let case = Case::Timed {
            units: units as f64,
            iterations: None,
            batch: Box::new(batch),
        };
        self.cases.insert(name, case);
    }

    /// A case that is one call, by the thread's CPU time.
    pub fn call<R>(&mut self, name: &'static str, units: usize, call: impl FnMut() -> R + 'a) {
        self.prepared(name, units, || (), call);
    }

    /// The same, `prepare`d before each batch, outside the measured time.
    pub fn prepared<R>(
        &mut self,
        name: &'static str,
        units: usize,
        mut prepare: impl FnMut() + 'a,
        mut call: impl FnMut() -> R + 'a,
    ) {
        self.timed(name, units, move |iterations| {
            prepare();
            let start = thread_cpu();
            for _ in 0..iterations {
                black_box(call());
            }
            thread_cpu() - start
        });
    }

    /// A case that uses up what `make` makes outside the measured time.
    pub fn consume<T, R>(
        &mut self,
        name: &'static str,
        units: usize,
        mut make: impl FnMut() -> T + 'a,
        mut consume: impl FnMut(T) -> R + 'a,
    ) {
        const MADE_AT_ONCE: u64 = 16;
        self.timed(name, units, move |iterations| {
            let (mut nanos, mut left) = (0, iterations);
            while left > 0 {
                let made: Vec<T> = (0..left.min(MADE_AT_ONCE)).map(|_| make()).collect();
                left -= made.len() as u64;
                let start = thread_cpu();
                for item in made {
                    black_box(consume(item));
                }
                nanos += thread_cpu() - start;
            }
            nanos
        });
    }

    /// A case that is no time.
    pub fn value(&mut self, name: &'static str, measure: impl FnMut() -> f64 + 'a) {
        self.cases.insert(name, Case::Value(Box::new(measure)));
    }

    /// Answers the runner until it closes the pipe.
    pub fn serve(mut self) {
        let mut out = std::io::stdout();
        for line in std::io::stdin().lock().lines() {
            let line = line.expect("the runner's pipe is readable");
            let (name, milliseconds) = line.split_once(' ').expect("a case and milliseconds");
            let milliseconds: u64 = milliseconds.parse().expect("whole milliseconds");
            let answer = match self.cases.get_mut(name) {
                Some(case) => format!("{:.6}", case.measure(milliseconds * 1_000_000)),
                None => format!("error: there is no case {name}"),
            };
            writeln!(out, "{answer}").expect("the runner listens");
            out.flush().expect("the runner listens");
        }
    }
}

impl Case<'_> {
    fn measure(&mut self, nanos: u64) -> f64 {
        match self {
            Self::Value(measure) => measure(),
            Self::Timed {
                units,
                iterations,
                batch,
            } => {
                let iterations = *iterations.get_or_insert_with(|| iterations_for(nanos, batch));
                batch(iterations) as f64 / (iterations as f64 * *units)
            }
        }
    }
}

/// How many iterations take about `nanos`; warms the case up by the way.
fn iterations_for(nanos: u64, batch: &mut Batch<'_>) -> u64 {
    let mut iterations = 1;
    loop {
        let took = batch(iterations).max(1);
        if took >= nanos / 4 || iterations >= 1 << 30 {
            let wanted = u128::from(iterations) * u128::from(nanos) / u128::from(took);
            return u64::try_from(wanted).unwrap_or(1).max(1);
        }
        iterations *= 4;
    }
}

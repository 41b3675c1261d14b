//! Many runs, at once or in a row, and what is used meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::job::Job;
use super::table::{Bound, Row, growing, render, rows};

/// Figures of one moment, in the same order each time.
pub(crate) type Sample = Vec<(&'static str, Bound, f64)>;

/// How often figures are taken while runs go on, and how long servers have afterwards.
const PAUSE: Duration = Duration::from_millis(500);
const SETTLED: Duration = Duration::from_secs(3);

/// Figures of runs in a row are taken so often.
const SAMPLES: usize = 10;

/// Programs in Go keep the threads that they had at most for a while.
pub(crate) const THREADS: &str = "its threads";

const WARNING: &str = "::warning";

/// How many runs. `LOAD_RUNS` has another number, for a trial; the page stays as it is then.
pub(crate) fn runs(number: usize) -> usize {
    std::env::var("LOAD_RUNS").map_or(number, |number| number.parse().unwrap())
}

/// Shows a table, and with `WRITE_TABLES=1` writes it. Figures are others each time, so that they are not compared.
pub(crate) fn publish(page: &str, mark: &str, table: &str) {
    println!("{mark}:\n{table}");
    if std::env::var_os("WRITE_TABLES").is_some() && std::env::var_os("LOAD_RUNS").is_none() {
        let (after, before) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, rest) = text.split_once(&after).expect(mark);
        let (_, tail) = rest.split_once(&before).expect(mark);
        std::fs::write(path, [head, &after, table, &before, tail].concat()).unwrap();
    }
}

/// Runs that all began at once.
pub(crate) struct Crowd {
    pub jobs: Vec<Job>,
    /// From the common begin to the end of each, in order.
    ends: Vec<Duration>,
    figures: Vec<Row>,
}

impl Crowd {
    pub(crate) fn run(
        number: usize,
        run: impl Fn(usize) -> Job + Sync,
        sample: impl Fn() -> Sample + Sync,
    ) -> Self {
        let before = sample();
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        let (jobs, most) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut most = sample();
                while !over.load(Ordering::Relaxed) {
                    for (most, now) in most.iter_mut().zip(sample()) {
                        most.2 = most.2.max(now.2);
                    }
                    std::thread::sleep(PAUSE);
                }
                most
            });
            let run = &run;
            let jobs: Vec<_> = (1..=number)
                .map(|index| scope.spawn(move || (run(index), begun.elapsed())))
                .collect();
            let jobs: Vec<_> = jobs.into_iter().map(|job| job.join()).collect();
            over.store(true, Ordering::Relaxed);
            (jobs, watch.join().unwrap())
        });
        let jobs: Vec<(Job, Duration)> = jobs.into_iter().map(Result::unwrap).collect();
        std::thread::sleep(SETTLED);
        let figures = rows(&[before, most, sample()]);
        let (jobs, mut ends): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        ends.sort();
        Self {
            jobs,
            ends,
            figures,
        }
    }

    /// What all did, and what was used before, meanwhile and after.
    pub(crate) fn table(&self) -> String {
        let jobs = &self.jobs;
        let count = |is: fn(&Job) -> bool| jobs.iter().filter(|job| is(job)).count() as f64;
        let ended = |end: Option<&Duration>| end.unwrap().as_secs_f64();
        let rows = [
            ("runs that pushed what they say", jobs.len() as f64),
            ("by the push engine", count(Job::is_by_engine)),
            ("with a warning", count(|job| job.log.contains(WARNING))),
            ("the first has ended after (s)", ended(self.ends.first())),
            ("all have ended after (s)", ended(self.ends.last())),
            ("memory of the largest (MB)", memory(jobs)),
        ];
        let rows = rows.map(|(name, value)| Row {
            name,
            bound: Bound::Free,
            values: vec![value],
        });
        let head = render(&[format!("{} at once", jobs.len())], &rows);
        let moments = ["before", "at most", "after"].map(str::to_owned);
        head + &render(&moments, &self.figures)
    }

    /// What is more afterwards than before.
    pub(crate) fn growing(&self) -> Vec<String> {
        let figures = self.figures.iter().filter(|row| row.name != THREADS);
        let ends = figures.map(|row| Row {
            values: vec![row.values[0], row.values[2]],
            ..row.clone()
        });
        growing(&ends.collect::<Vec<_>>())
    }
}

/// Runs one after the other.
pub(crate) struct InARow {
    columns: Vec<String>,
    pub rows: Vec<Row>,
}

impl InARow {
    pub(crate) fn run(
        number: usize,
        run: impl Fn(usize) -> Job,
        sample: impl Fn() -> Sample,
    ) -> Self {
        let each = number.div_ceil(SAMPLES);
        let (mut columns, mut samples, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
        for index in 1..=number {
            jobs.push(run(index));
            if index % each != 0 {
                continue;
            }
            std::thread::sleep(SETTLED);
            let mut took: Vec<f64> = jobs.iter().map(|job| job.took.as_secs_f64()).collect();
            took.sort_by(f64::total_cmp);
            let warnings = jobs.iter().filter(|job| job.log.contains(WARNING)).count();
            let mut figures: Sample = vec![
                ("a run, median (s)", Bound::Level, took[took.len() / 2]),
                ("runs with a warning", Bound::Same, warnings as f64),
                ("memory of the largest (MB)", Bound::Level, memory(&jobs)),
            ];
            figures.extend(sample());
            println!("{index}: {figures:?}");
            columns.push(format!("run {index}"));
            samples.push(figures);
            jobs.clear();
        }
        Self {
            columns,
            rows: rows(&samples),
        }
    }

    pub(crate) fn table(&self) -> String {
        render(&self.columns, &self.rows)
    }

    /// How much a row has grown.
    pub(crate) fn growth(&self, name: &str) -> f64 {
        let row = self.rows.iter().find(|row| row.name == name).unwrap();
        row.values.last().unwrap() - row.values.first().unwrap()
    }
}

/// Of the largest process of ours (MB).
fn memory(jobs: &[Job]) -> f64 {
    let most = jobs.iter().map(|job| job.memory).max().unwrap();
    most as f64 * 1024.0 / 1e6
}

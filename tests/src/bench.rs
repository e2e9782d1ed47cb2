//! What the benchmarks share: samples, and the lines in which they say what they found.
//!
//! Nothing here knows what is measured. A benchmark takes its own side and its baseline in turn within
//! one run, because the machine is never equally busy twice; it compares medians, and says both.
//! A goal that is missed is told and is no error: the numbers depend on the machine, an error does not.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::world::random;

/// The file to which closing lines are added, for whoever runs several benchmarks.
pub const FIGURES_FILE: &str = "SAM_FIGURES";

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// It stands here for comparison.
    None,
}

impl Goal {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Self::AtMost(most) if value <= most => "met",
            Self::AtLeast(least) if value >= least => "met",
            Self::None => "-",
            Self::AtMost(_) | Self::AtLeast(_) => "short",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<={most}"),
            Self::AtLeast(least) => write!(f, ">={least}"),
            Self::None => f.write_str("-"),
        }
    }
}

/// The closing lines of a benchmark.
#[derive(Debug, Default)]
pub struct Figures {
    values: BTreeMap<String, f64>,
    lines: Vec<String>,
}

impl Figures {
    pub fn add(&mut self, name: &str, value: f64, unit: &str, goal: Goal) {
        let verdict = goal.verdict(value);
        // Ratios and milliseconds need decimals, counts do not.
        let n_decimals = if value.abs() < 100.0 { 2 } else { 0 };
        self.lines.push(format!("figure {name} {value:.n_decimals$} {unit} goal {goal} {verdict}"));
        self.values.insert(name.to_owned(), value);
    }

    /// What was added under a name, to set something else against it.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// Says them all, and adds them to the file that the environment names.
    pub fn close(self) -> Result<()> {
        for line in &self.lines {
            say(line);
        }
        if let Some(path) = std::env::var_os(FIGURES_FILE) {
            let mut file = File::options().create(true).append(true).open(path)?;
            writeln!(file, "{}", self.lines.join("\n"))?;
        }
        Ok(())
    }
}

/// Measured values of one kind.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        assert!(value.is_finite(), "a measured value is a number");
        self.0.push(value);
    }

    pub fn push_ms(&mut self, period: Duration) {
        self.push(period.as_secs_f64() * 1000.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    /// The smallest value that so many percent do not exceed (nearest rank).
    pub fn percentile(&self, percent: f64) -> f64 {
        assert!(!self.0.is_empty(), "nothing was measured");
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let below = sorted.len() as f64 * percent / 100.0;
        let passed = sorted.iter().enumerate().position(|(n, _)| (n + 1) as f64 >= below);
        sorted[passed.unwrap_or(sorted.len() - 1)]
    }
}

/// Runs something and tells how long it took.
pub async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(Duration, T)> {
    let begun = Instant::now();
    let done = work.await?;
    Ok((begun.elapsed(), done))
}

/// A folder that goes when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sam-bench-{name}-{}", random()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a program to its end and gives back what it printed.
pub fn run(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {words:?}: {complaint}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Tells the person at the terminal something.
#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
pub fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::{Goal, Samples};

    fn samples(values: impl IntoIterator<Item = f64>) -> Samples {
        let mut samples = Samples::default();
        values.into_iter().for_each(|value| samples.push(value));
        samples
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred = samples((1..=100).rev().map(f64::from));
        assert_eq!(hundred.median(), 50.0);
        assert_eq!(hundred.percentile(99.0), 99.0);
        assert_eq!(hundred.percentile(100.0), 100.0);
        assert_eq!(samples([7.0]).percentile(95.0), 7.0);
    }

    #[test]
    fn a_goal_that_is_missed_is_short() {
        assert_eq!(Goal::AtMost(1.5).verdict(1.5), "met");
        assert_eq!(Goal::AtMost(1.5).verdict(1.6), "short");
        assert_eq!(Goal::AtLeast(5.0).verdict(4.9), "short");
        assert_eq!(Goal::None.verdict(4.9), "-");
    }
}

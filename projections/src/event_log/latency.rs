//! How long appends take, from the door to the disk: a histogram that anybody may read.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets in seconds. What takes longer is only in the count.
pub const APPEND_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Counters of a running log.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    buckets: [AtomicU64; APPEND_SECONDS.len()],
    count: AtomicU64,
    sum_micros: AtomicU64,
}

/// What the counters say at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct AppendLatencies {
    /// For each bound of [`APPEND_SECONDS`]: appends that took at most so long.
    pub cumulative: [u64; APPEND_SECONDS.len()],
    pub count: u64,
    pub sum: Duration,
}

impl Latencies {
    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(index) = APPEND_SECONDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[index].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> AppendLatencies {
        let mut n_so_far = 0;
        let cumulative = self.buckets.each_ref().map(|bucket| {
            n_so_far += bucket.load(Ordering::Relaxed);
            n_so_far
        });
        let count = self.count.load(Ordering::Relaxed).max(n_so_far);
        let sum = Duration::from_micros(self.sum_micros.load(Ordering::Relaxed));
        AppendLatencies { cumulative, count, sum }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{APPEND_SECONDS, Latencies};

    #[test]
    fn each_append_is_counted_in_its_bucket_and_in_those_above() {
        let latencies = Latencies::default();
        latencies.observe(Duration::from_micros(700));
        latencies.observe(Duration::from_millis(15));
        latencies.observe(Duration::from_secs(60));
        let read = latencies.read();
        assert_eq!(read.count, 3);
        assert_eq!(read.cumulative[0], 0);
        assert_eq!(read.cumulative[1], 1);
        assert_eq!(read.cumulative[APPEND_SECONDS.len() - 1], 2);
        assert_eq!(read.sum, Duration::from_micros(60_015_700));
    }
}

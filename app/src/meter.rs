//! A transfer rate from a running total. Owns no clock.

/// Time over which the rate is averaged. Long enough that one chunk of 256 KiB does not look like a burst.
const WINDOW_MS: u64 = 5_000;

/// Samples kept: one a second over the window, and some for a timer that runs late. The oldest goes first.
const MAX_SAMPLES: usize = 16;

/// Running totals of the last `WINDOW_MS`.
#[derive(Debug, Default, Clone)]
pub struct Meter {
    samples: Vec<(u64, u64)>,
}

impl Meter {
    /// Takes in the total at `now_ms`. A total that shrank (the counter restarted) forgets what was before.
    pub fn record(&mut self, now_ms: u64, total: u64) {
        if self.samples.last().is_some_and(|&(_, last)| total < last) {
            self.samples.clear();
        }
        self.samples
            .retain(|&(at, _)| now_ms.saturating_sub(at) <= WINDOW_MS);
        if self.samples.len() == MAX_SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push((now_ms, total));
    }

    /// Bytes per second over the window; 0 until two samples lie apart.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        let (Some(&(from, old)), Some(&(to, new))) = (self.samples.first(), self.samples.last())
        else {
            return 0;
        };
        (new - old)
            .saturating_mul(1000)
            .checked_div(to.saturating_sub(from))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(samples: &[(u64, u64)], want: u64) {
        let mut meter = Meter::default();
        for &(now, total) in samples {
            meter.record(now, total);
        }
        assert_eq!(meter.per_second(), want, "{samples:?}");
    }

    #[test]
    fn one_sample_is_no_rate() {
        check(&[], 0);
        check(&[(0, 500)], 0);
        check(&[(7, 500), (7, 900)], 0);
    }

    #[test]
    fn the_rate_is_the_growth_over_the_window() {
        check(&[(0, 0), (1000, 2000)], 2000);
        check(&[(0, 0), (1000, 2000), (2000, 2000)], 1000);
    }

    #[test]
    fn a_silence_longer_than_the_window_ends_the_rate() {
        check(&[(0, 0), (1000, 9000), (7000, 9000)], 0);
    }

    #[test]
    fn a_counter_that_restarts_starts_over() {
        check(&[(0, 9000), (1000, 100), (2000, 600)], 500);
    }

    #[test]
    fn samples_are_bounded() {
        let mut meter = Meter::default();
        for now in 0..1000 {
            meter.record(now, now);
        }
        assert!(meter.samples.len() <= MAX_SAMPLES);
    }
}

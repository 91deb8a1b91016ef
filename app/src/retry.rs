//! After a stream broke: whether to start it anew, and whether a report of the service worker still explains it.
//!
//! Decides only; `ui/watch/player` waits and loads.
//!
//! # Invariants
//!
//! - Starting anew is no progress by itself: a player that paused, or that has frames stored, gets them again and
//!   again from this device. So only [`stream::ATTEMPTS`] follow each other until playback got further or a source
//!   delivered.

use sluice_core::{
    bridge::{Failure, Missing, Origin},
    chunk::CHUNK_LEN,
};

use crate::failure::stream;

/// Seconds by which playback must pass the place where it broke: less may be a seek to the nearest frame.
const FURTHER_SECONDS: f64 = 1.0;

/// Bytes that count as a source being back: 16 chunks. A start anew reads fewer of them ahead, so that it is no
/// progress either where this device can store nothing and fetches the same ones each time.
const DELIVERED_LEN: u64 = 16 * CHUNK_LEN;

/// The starts anew that followed each other without progress.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Retry {
    attempts: u32,
    /// Position in seconds where the first of them broke.
    broke_at: f64,
    /// Bytes that had come over the network when the latest of them broke.
    downloaded: u64,
}

impl Retry {
    /// The stream broke at second `at`, after `downloaded` bytes over the network since the page was opened. Returns
    /// how many attempts went before the one that is due, or `None` if there were enough.
    pub fn broke(&mut self, at: f64, downloaded: u64) -> Option<u32> {
        let further = at > self.broke_at + FURTHER_SECONDS;
        let delivered = downloaded.saturating_sub(self.downloaded) >= DELIVERED_LEN;
        if self.attempts == 0 || further || delivered {
            self.attempts = 0;
            self.broke_at = at;
        }
        self.downloaded = downloaded;
        let before = self.attempts;
        self.attempts = before.saturating_add(1);
        (before < stream::ATTEMPTS).then_some(before)
    }
}

/// The service worker's latest report of a block that it could not get, and what was heard since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    failure: Failure,
    overtaken: bool,
}

impl Report {
    /// A report that just came.
    #[must_use]
    pub fn new(failure: Failure) -> Self {
        Self {
            failure,
            overtaken: false,
        }
    }

    /// Something was delivered after it. From the store that says nothing; else the source may be back, or was asked
    /// ahead for the next chunk.
    pub fn delivered(&mut self, origin: Origin) {
        self.overtaken |= origin != Origin::Store;
    }

    /// The byte of the file to ask for before the report is believed: the failure may be over. `None` if it is not
    /// in doubt.
    #[must_use]
    pub fn doubtful_at(&self) -> Option<u64> {
        match self.failure.what {
            Missing::Chunk(_, index) if self.overtaken => Some(index.0.saturating_mul(CHUNK_LEN)),
            _ => None,
        }
    }

    /// What was reported.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.failure
    }
}

#[cfg(test)]
mod tests {
    use sluice_core::{
        chunk::{ChunkIndex, FileIndex},
        link::{ContentId, Digest},
    };

    use super::*;

    /// What becomes due after each break, given as position and bytes downloaded.
    #[track_caller]
    fn check(breaks: &[(f64, u64)], due: &[Option<u32>]) {
        let mut retry = Retry::default();
        let answers: Vec<_> = breaks
            .iter()
            .map(|&(at, downloaded)| retry.broke(at, downloaded))
            .collect();
        assert_eq!(answers, due);
    }

    const ENOUGH: [Option<u32>; 5] = [Some(0), Some(1), Some(2), None, None];

    #[test]
    fn a_player_that_gets_no_further_is_left_after_three_attempts() {
        check(&[(60.0, 9_000_000); 5], &ENOUGH);
        check(&[(0.0, 0); 5], &ENOUGH);
    }

    #[test]
    fn frames_from_the_store_and_chunks_fetched_again_are_no_progress() {
        let same = [60.0, 60.3, 60.5, 60.9, 60.4].map(|at| (at, 0));
        check(&same, &ENOUGH);
        let again = [0, 1, 2, 3, 4].map(|times| (60.0, times * 10 * CHUNK_LEN));
        check(&again, &ENOUGH);
    }

    #[test]
    fn another_place_further_on_has_its_own_attempts() {
        check(
            &[(60.0, 0), (60.0, 0), (90.0, 0), (90.0, 0)],
            &[Some(0), Some(1), Some(0), Some(1)],
        );
        check(
            &[(60.0, 0), (60.0, 0), (60.0, 0), (60.0, 0), (62.0, 0)],
            &[Some(0), Some(1), Some(2), None, Some(0)],
        );
    }

    #[test]
    fn seeking_back_is_no_progress() {
        check(
            &[(60.0, 0), (0.0, 0), (60.0, 0), (0.0, 0), (60.0, 0)],
            &ENOUGH,
        );
    }

    #[test]
    fn a_source_that_delivered_while_paused_gives_new_attempts() {
        check(
            &[
                (60.0, 0),
                (60.0, 0),
                (60.0, DELIVERED_LEN),
                (60.0, DELIVERED_LEN),
            ],
            &[Some(0), Some(1), Some(0), Some(1)],
        );
    }

    fn report(what: Missing) -> Report {
        Report::new(Failure {
            content: ContentId(Digest::of(b"work")),
            what,
            tried: Vec::new(),
        })
    }

    const AHEAD: Missing = Missing::Chunk(FileIndex(0), ChunkIndex(9));

    #[test]
    fn a_report_is_believed_until_a_source_delivers() {
        let mut report = report(AHEAD);
        assert_eq!(report.doubtful_at(), None);
        report.delivered(Origin::Store);
        assert_eq!(report.doubtful_at(), None);
        report.delivered(Origin::Gateway);
        report.delivered(Origin::Store);
        assert_eq!(report.doubtful_at(), Some(9 * CHUNK_LEN));
    }

    #[test]
    fn what_is_no_chunk_does_not_recover() {
        for what in [
            Missing::Manifest,
            Missing::Page,
            Missing::Key,
            Missing::File,
        ] {
            let mut report = report(what);
            report.delivered(Origin::Relay);
            assert_eq!(report.doubtful_at(), None);
        }
    }
}

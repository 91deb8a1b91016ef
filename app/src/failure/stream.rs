//! The service worker's report of a block that could not be had, in words; and whether waiting may help.

use sluice_core::bridge::{Attempt, Failure, Missing, Origin, Trouble};

/// Times the player asks again by itself before the panel comes.
pub const ATTEMPTS: u32 = 3;

/// Seconds before each of these attempts: a relay that restarts is back within the second.
#[must_use]
pub fn pause_before(attempt: u32) -> u32 {
    3u32.saturating_pow(attempt.min(ATTEMPTS))
}

/// What was missing and what each source said about it, one sentence each.
#[must_use]
pub fn tried(failure: &Failure) -> Vec<String> {
    let mut lines = vec![format!("Needed {}.", missing(failure.what))];
    lines.extend(failure.tried.iter().map(attempt));
    lines
}

/// Whether asking again may help by itself: some source was only out of reach, and none lied.
#[must_use]
pub fn may_pass(failure: &Failure) -> bool {
    !matches!(failure.what, Missing::Key | Missing::File)
        && failure.tried.iter().any(|attempt| {
            matches!(
                attempt.trouble,
                Trouble::Silent | Trouble::Unreachable | Trouble::Busy
            )
        })
        && !failure
            .tried
            .iter()
            .any(|attempt| attempt.trouble == Trouble::Wrong)
}

/// Whether the node was not among those asked, and could have it.
#[must_use]
pub fn spares_node(failure: &Failure) -> bool {
    !matches!(failure.what, Missing::Key | Missing::File)
        && !failure
            .tried
            .iter()
            .any(|attempt| matches!(attempt.origin, Origin::Relay | Origin::Peer))
}

fn missing(what: Missing) -> String {
    match what {
        Missing::Manifest => "the manifest".to_owned(),
        Missing::Page => "a hash page".to_owned(),
        Missing::Chunk(_, index) => format!("chunk {}", index.0),
        Missing::Key => "a key that opens the chunks; the published one does not".to_owned(),
        Missing::File => "a file that this work does not have".to_owned(),
        Missing::Block => "a card or picture".to_owned(),
    }
}

fn attempt(attempt: &Attempt) -> String {
    let who = match attempt.origin {
        Origin::Store => "This device",
        Origin::Peer => "Other tabs",
        Origin::Relay => "The relay over libp2p",
        Origin::Gateway => "The relay over HTTP",
    };
    let said = match attempt.trouble {
        Trouble::Absent => "does not have it",
        Trouble::Silent => "did not answer in time",
        Trouble::Unreachable => "could not be reached",
        Trouble::Wrong => "sent bytes that do not match their hash; they were refused",
        Trouble::Busy => "has no room right now",
    };
    format!("{who}: {said}.")
}

#[cfg(test)]
mod tests {
    use sluice_core::{
        chunk::{ChunkIndex, FileIndex},
        link::{ContentId, Digest},
    };

    use super::*;

    fn failure(what: Missing, tried: &[(Origin, Trouble)]) -> Failure {
        Failure {
            content: ContentId(Digest::of(b"work")),
            what,
            tried: tried
                .iter()
                .map(|&(origin, trouble)| Attempt { origin, trouble })
                .collect(),
        }
    }

    const CHUNK: Missing = Missing::Chunk(FileIndex(0), ChunkIndex(3));

    #[test]
    fn each_source_gets_its_sentence() {
        let lines = tried(&failure(
            CHUNK,
            &[
                (Origin::Store, Trouble::Absent),
                (Origin::Gateway, Trouble::Unreachable),
            ],
        ));
        assert_eq!(
            lines,
            [
                "Needed chunk 3.",
                "This device: does not have it.",
                "The relay over HTTP: could not be reached."
            ]
        );
    }

    #[test]
    fn an_unreachable_relay_may_come_back() {
        assert!(may_pass(&failure(
            CHUNK,
            &[
                (Origin::Store, Trouble::Absent),
                (Origin::Gateway, Trouble::Silent)
            ]
        )));
    }

    #[test]
    fn lies_absence_and_wrong_keys_do_not_mend_themselves() {
        assert!(!may_pass(&failure(
            CHUNK,
            &[
                (Origin::Relay, Trouble::Silent),
                (Origin::Gateway, Trouble::Wrong)
            ]
        )));
        assert!(!may_pass(&failure(
            CHUNK,
            &[(Origin::Gateway, Trouble::Absent)]
        )));
        assert!(!may_pass(&failure(
            Missing::Key,
            &[(Origin::Gateway, Trouble::Silent)]
        )));
        assert!(!may_pass(&failure(Missing::File, &[])));
    }

    #[test]
    fn a_node_that_was_not_asked_is_worth_asking() {
        let gateway = (Origin::Gateway, Trouble::Wrong);
        assert!(spares_node(&failure(CHUNK, &[gateway])));
        assert!(!spares_node(&failure(
            CHUNK,
            &[gateway, (Origin::Relay, Trouble::Absent)]
        )));
        assert!(!spares_node(&failure(Missing::File, &[])));
    }

    #[test]
    fn the_pauses_grow_and_end() {
        assert_eq!(
            (0..ATTEMPTS).map(pause_before).collect::<Vec<_>>(),
            [1, 3, 9]
        );
        assert_eq!(pause_before(u32::MAX), pause_before(ATTEMPTS));
    }
}

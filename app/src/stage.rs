//! What is happening while someone waits, in words. Never a spinner alone, never a guess.

use crate::format;

/// Seconds after which the elapsed time is shown: earlier it would only flicker.
const SHOW_SECONDS_AFTER: u64 = 2;

/// Seconds after which a wait is long enough to say what might be wrong.
const SLOW_AFTER: u64 = 8;

/// One thing a viewer can be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The service worker installs or takes control of this page.
    Worker,
    /// Manifest and card are on their way from this device or the relay.
    Manifest,
    /// The gateway did not deliver; the node is started and asked.
    Node,
    /// The player asked for the file; no frame is there yet.
    FirstChunk,
    /// Playback ran dry at this second of the video.
    Rebuffering {
        /// Position in whole seconds.
        at: u64,
    },
}

impl Stage {
    /// What happens now. `relay` is the host this page came from.
    #[must_use]
    pub fn sentence(self, relay: &str) -> String {
        match self {
            Self::Worker => {
                "Starting the service worker, which checks and opens the video.".to_owned()
            }
            Self::Manifest => format!("Fetching the manifest from {relay}."),
            Self::Node => format!("{relay} did not deliver over HTTP. Asking over libp2p."),
            Self::FirstChunk => "Waiting for the first chunk.".to_owned(),
            Self::Rebuffering { at } => format!("Waiting for the chunk at {}.", format::clock(at)),
        }
    }

    /// The elapsed time, once there is enough of it to matter.
    #[must_use]
    pub fn elapsed(seconds: u64) -> Option<String> {
        (seconds >= SHOW_SECONDS_AFTER).then(|| format!("{seconds} s"))
    }

    /// What may be behind a long wait, and that it still goes on.
    #[must_use]
    pub fn hint(self, seconds: u64) -> Option<&'static str> {
        if seconds < SLOW_AFTER {
            return None;
        }
        Some(match self {
            Self::Worker => {
                "This happens once per browser. If it does not end, another tab of this site may hold an old version: close it."
            }
            Self::Manifest => "The relay has not answered yet. Still asking.",
            Self::Node | Self::FirstChunk | Self::Rebuffering { .. } => {
                "Every source is slow or silent. Still asking all of them; playback goes on by itself."
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [Stage; 5] = [
        Stage::Worker,
        Stage::Manifest,
        Stage::Node,
        Stage::FirstChunk,
        Stage::Rebuffering { at: 83 },
    ];

    #[test]
    fn every_wait_is_a_short_sentence() {
        for stage in EVERY {
            let sentence = stage.sentence("relay.example");
            assert!(sentence.ends_with('.') && sentence.len() < 80, "{sentence}");
        }
    }

    #[test]
    fn the_source_and_the_place_are_named() {
        assert!(
            Stage::Manifest
                .sentence("relay.example")
                .contains("relay.example")
        );
        assert!(Stage::Rebuffering { at: 83 }.sentence("").contains("1:23"));
    }

    #[test]
    fn short_waits_show_no_clock_and_long_ones_a_reason() {
        assert_eq!(Stage::elapsed(1), None);
        assert_eq!(Stage::elapsed(12).as_deref(), Some("12 s"));
        for stage in EVERY {
            assert_eq!(stage.hint(1), None);
            assert!(stage.hint(60).is_some());
        }
    }
}

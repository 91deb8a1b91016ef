//! What went wrong, as a person needs it: what it is, what was tried, what to do now.
//!
//! One enum for every page, so that there is one panel. Causes are told apart here; how they are found out is
//! the business of the pages.

use crate::format;

pub mod stream;

/// Why this browser, here, gives no service worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWorker {
    /// Plain http to somewhere that is not this machine.
    Insecure,
    /// A browser built into another application.
    InApp,
    /// The browser has none, or has it switched off (some private windows).
    Absent,
}

impl NoWorker {
    /// Tells the reason from what the page can see. `user_agent` only picks the words, never what is offered.
    #[must_use]
    pub fn tell(secure: bool, user_agent: &str) -> Self {
        // Names that applications with a built-in browser put into its user agent.
        const IN_APP: [&str; 11] = [
            "FBAN",
            "FBAV",
            "Instagram",
            "Line/",
            "Twitter",
            "TikTok",
            "musical_ly",
            "Snapchat",
            "MicroMessenger",
            "Telegram",
            "; wv)",
        ];
        if !secure {
            Self::Insecure
        } else if IN_APP.iter().any(|name| user_agent.contains(name)) {
            Self::InApp
        } else {
            Self::Absent
        }
    }
}

/// A failure a person sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The link's id is no content id.
    MalformedId {
        /// As it stood in the link.
        given: String,
    },
    /// Nobody we asked has this work: never published here, removed, or a typing error that still parses.
    UnknownWork {
        /// The content id.
        id: String,
        /// Who was asked.
        relay: String,
    },
    /// The relay did not answer.
    Unreachable {
        /// Host of the relay.
        relay: String,
        /// Whether the browser itself says that it has no network.
        offline: bool,
    },
    /// The relay answered, with an error.
    RelayError {
        /// Host of the relay.
        relay: String,
        /// What it said.
        detail: String,
    },
    /// Something came, and it is not what its hash or its signature promise.
    Refused {
        /// What the check said.
        why: String,
    },
    /// The bytes are fine; this browser cannot show them.
    NotPlayable {
        /// Path of the file in the work.
        path: String,
        /// Its media type.
        media_type: String,
    },
    /// The work has no file that a browser plays.
    NothingToPlay {
        /// How many files it has.
        files: usize,
    },
    /// Playback stopped because a chunk could not be had.
    Stream {
        /// What was needed and what each source said, one sentence each.
        tried: Vec<String>,
    },
    /// The browser gives no service worker here.
    NoWorker(NoWorker),
    /// The service worker would not start.
    WorkerFailed {
        /// What the browser said.
        why: String,
    },
    /// There is no such page.
    NoPage {
        /// The path asked for.
        path: String,
    },
    /// The list of stored works could not be read or changed.
    Storage {
        /// What the browser said.
        why: String,
    },
}

impl Failure {
    /// The headline.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::MalformedId { .. } => "This link is not complete",
            Self::UnknownWork { .. } => "No such work here",
            Self::Unreachable { offline: true, .. } => "You are offline",
            Self::Unreachable { offline: false, .. } => "The relay does not answer",
            Self::RelayError { .. } => "The relay has a problem",
            Self::Refused { .. } => "What came was refused",
            Self::NotPlayable { .. } => "This browser cannot play this file",
            Self::NothingToPlay { .. } => "Nothing to play in this work",
            Self::Stream { .. } => "Playback stopped",
            Self::NoWorker(_) => "Open this link in another browser",
            Self::WorkerFailed { .. } => "The service worker did not start",
            Self::NoPage { .. } => "No such page",
            Self::Storage { .. } => "The storage of this browser failed",
        }
    }

    /// What was tried and what came of it, one sentence each, in order.
    #[must_use]
    pub fn tried(&self) -> Vec<String> {
        match self {
            Self::MalformedId { given } => {
                vec![format!(
                    "Read the id “{}”: it is not a content id.",
                    format::shortened(given)
                )]
            }
            Self::UnknownWork { id, relay } => vec![
                format!(
                    "Looked for {} on this device: not stored.",
                    format::shortened(id)
                ),
                format!(
                    "Asked {relay}: it does not have it. The work was removed, or never published there."
                ),
            ],
            Self::Unreachable { relay, offline } => vec![
                "Looked on this device: not everything that is needed is stored.".to_owned(),
                if *offline {
                    format!("The browser has no network, so {relay} was not asked.")
                } else {
                    format!("Asked {relay}: no answer.")
                },
            ],
            Self::RelayError { relay, detail } => vec![format!("Asked {relay}: {detail}")],
            Self::Refused { why } => vec![
                format!("Checked what came: {why}."),
                "Nothing of it was stored or played.".to_owned(),
            ],
            Self::NotPlayable { path, media_type } => vec![
                format!("Fetched and opened {path}: its bytes are as published."),
                format!("Gave it to this browser, which does not play this {media_type}."),
            ],
            Self::NothingToPlay { files } => vec![format!(
                "Read the manifest: {}, none of them a video or sound.",
                format::counted(*files as u64, "file", "files")
            )],
            Self::Stream { tried } => tried.clone(),
            Self::NoWorker(NoWorker::Insecure) => {
                vec![
                    "This page came over plain http, where browsers give no service worker."
                        .to_owned(),
                ]
            }
            Self::NoWorker(NoWorker::InApp) => {
                vec![
                    "This is a browser inside another application; it has no service worker."
                        .to_owned(),
                ]
            }
            Self::NoWorker(NoWorker::Absent) => {
                vec![
                    "This browser has no service worker, or this window has it switched off."
                        .to_owned(),
                ]
            }
            Self::WorkerFailed { why } => vec![format!("Registered /sw.js: {}", sentence(why))],
            Self::NoPage { path } => vec![format!("Looked for {path}: no page has this address.")],
            Self::Storage { why } => {
                vec![format!("Asked the browser's storage: {}", sentence(why))]
            }
        }
    }

    /// What to do now.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::MalformedId { .. } => "Copy the whole link again from where you found it.",
            Self::UnknownWork { .. } => {
                "Check the link, or ask who sent it whether the work is still published."
            }
            Self::Unreachable { offline: true, .. } => {
                "Connect to a network, then try again. Works stored on this device still play."
            }
            Self::Unreachable { offline: false, .. } => {
                "Check your connection, then try again. Works stored on this device still play."
            }
            Self::RelayError { .. } => {
                "Wait a moment, then try again. If it stays, tell whoever runs the relay."
            }
            Self::Refused { .. } => {
                "Try again: another source may have the true bytes. If it stays, the relay's copy is damaged."
            }
            Self::NotPlayable { .. } => {
                "Open this page in another browser, or choose another file if the work has several."
            }
            Self::NothingToPlay { .. } => {
                "Ask its creator to publish the work with an MP4 or WebM file."
            }
            Self::Stream { .. } => "Try again: playback goes on where it stopped.",
            Self::NoWorker(NoWorker::Insecure) => {
                "Open it with https:// in front. On the machine that runs the relay, http://localhost works too."
            }
            Self::NoWorker(NoWorker::InApp) => {
                "Copy the link and open it in Chrome, Edge, Firefox or Safari itself: often “Open in browser” in the menu above."
            }
            Self::NoWorker(NoWorker::Absent) => {
                "Copy the link and open it in a current Chrome, Edge, Firefox or Safari, in an ordinary window."
            }
            Self::WorkerFailed { .. } => {
                "Try again. If it stays, allow this site to store data, or leave the private window."
            }
            Self::NoPage { .. } => "Go to the library and start from there.",
            Self::Storage { .. } => {
                "Try again. If it stays, restart the browser or free some space on this device."
            }
        }
    }

    /// Whether trying again can change anything.
    #[must_use]
    pub fn retries(&self) -> bool {
        match self {
            Self::MalformedId { .. }
            | Self::NothingToPlay { .. }
            | Self::NoPage { .. }
            | Self::NoWorker(_) => false,
            Self::UnknownWork { .. }
            | Self::Unreachable { .. }
            | Self::RelayError { .. }
            | Self::Refused { .. }
            | Self::NotPlayable { .. }
            | Self::Stream { .. }
            | Self::WorkerFailed { .. }
            | Self::Storage { .. } => true,
        }
    }
}

/// Makes one sentence of a lower-case error message.
#[must_use]
pub fn sentence(message: &str) -> String {
    let message = message.trim();
    let mut letters = message.chars();
    let Some(first) = letters.next() else {
        return "No reason was given.".to_owned();
    };
    let end = if message.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{end}", first.to_ascii_uppercase(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<Failure> {
        let text = || "text".to_owned();
        vec![
            Failure::MalformedId { given: text() },
            Failure::UnknownWork {
                id: text(),
                relay: text(),
            },
            Failure::Unreachable {
                relay: text(),
                offline: true,
            },
            Failure::Unreachable {
                relay: text(),
                offline: false,
            },
            Failure::RelayError {
                relay: text(),
                detail: "It is full.".to_owned(),
            },
            Failure::Refused { why: text() },
            Failure::NotPlayable {
                path: text(),
                media_type: text(),
            },
            Failure::NothingToPlay { files: 1 },
            Failure::Stream {
                tried: vec![sentence("no answer")],
            },
            Failure::NoWorker(NoWorker::Insecure),
            Failure::NoWorker(NoWorker::InApp),
            Failure::NoWorker(NoWorker::Absent),
            Failure::WorkerFailed { why: String::new() },
            Failure::NoPage { path: text() },
            Failure::Storage { why: text() },
        ]
    }

    #[test]
    fn every_failure_says_what_was_tried_and_what_to_do() {
        for failure in every() {
            assert!(!failure.title().ends_with('.'), "{failure:?}");
            assert!(failure.advice().ends_with('.'), "{failure:?}");
            let tried = failure.tried();
            assert!(
                !tried.is_empty() && tried.iter().all(|line| line.ends_with('.')),
                "{tried:?}"
            );
        }
    }

    #[test]
    fn a_bad_link_cannot_be_retried_and_a_silent_relay_can() {
        assert!(!Failure::MalformedId { given: "x".into() }.retries());
        assert!(
            Failure::Unreachable {
                relay: "r".into(),
                offline: false
            }
            .retries()
        );
    }

    #[test]
    fn an_insecure_page_is_told_apart_from_an_in_app_browser() {
        assert_eq!(NoWorker::tell(false, "Instagram"), NoWorker::Insecure);
        assert_eq!(
            NoWorker::tell(true, "Mozilla/5.0 (iPhone) Instagram 300"),
            NoWorker::InApp
        );
        assert_eq!(
            NoWorker::tell(true, "Mozilla/5.0 Firefox/153"),
            NoWorker::Absent
        );
    }

    #[test]
    fn messages_become_sentences_once() {
        assert_eq!(sentence("no answer"), "No answer.");
        assert_eq!(sentence("It is full."), "It is full.");
        assert_eq!(sentence("  "), "No reason was given.");
    }
}

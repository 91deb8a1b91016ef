//! Decides which source to ask for one block, when to ask a second, and when to give up.
//!
//! Owns no socket and no clock. To drive a [`Fetcher`]: take [`Fetcher::poll`] until it returns
//! `None`, sleep until [`Fetcher::deadline`] or an answer, report it with [`Fetcher::handle`].
//!
//! # Invariants
//!
//! - No source is asked twice for the same block.
//! - A source that stays silent past its patience is *hedged*, not abandoned: the next one is asked
//!   beside it and whoever answers first wins, so a slow peer never stalls playback.
//! - It ends: with a delivery, or with [`Output::Exhausted`] at the latest `GIVE_UP_MS` after the
//!   last source was asked.

use crate::{
    UnixMillis,
    bridge::{Attempt, Origin, Trouble},
};

/// Patience with the node before the gateway is asked too, in milliseconds, when the player waits.
///
/// A relay on another continent answers within 300 ms plus the time of 256 KiB.
pub const URGENT_PATIENCE_MS: u64 = 600;

/// The same for read-ahead: nobody waits yet, and a hedge costs the relay a second copy.
pub const AHEAD_PATIENCE_MS: u64 = 3_000;

/// Silence after the last source was asked until the fetch fails, in milliseconds.
pub const GIVE_UP_MS: u64 = 20_000;

const _: () = assert!(URGENT_PATIENCE_MS < AHEAD_PATIENCE_MS && AHEAD_PATIENCE_MS < GIVE_UP_MS);

/// Somebody who can be asked for blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The libp2p node, which has peers and relays of its own.
    Node,
    /// The relay's HTTP gateway: the source of last resort.
    Gateway,
}

impl Source {
    /// What it is called in a report when it did not deliver.
    pub const fn origin(self) -> Origin {
        match self {
            Self::Node => Origin::Relay,
            Self::Gateway => Origin::Gateway,
        }
    }
}

/// How much hurry there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing has been shown yet: the first bytes of a playback.
    First,
    /// The player waits for it.
    Now,
    /// Read-ahead.
    Ahead,
}

impl Urgency {
    const fn patience_ms(self) -> u64 {
        match self {
            Self::First | Self::Now => URGENT_PATIENCE_MS,
            Self::Ahead => AHEAD_PATIENCE_MS,
        }
    }
}

/// How often a driver whose plan lacks the node looks whether it came up, in milliseconds.
pub const OFFER_EVERY_MS: u64 = 300;

/// The sources to ask, in order.
///
/// The gateway comes first for the first bytes: HTTP answers in one round trip on a warm
/// connection. After that the node does, so that peers and not servers carry the load.
pub fn plan(urgency: Urgency, node_is_online: bool) -> &'static [Source] {
    match (node_is_online, urgency) {
        (false, _) => &[Source::Gateway],
        (true, Urgency::First) => &[Source::Gateway, Source::Node],
        (true, Urgency::Now | Urgency::Ahead) => &[Source::Node, Source::Gateway],
    }
}

/// Silence on the way to the node after which it is taken for dead, in milliseconds.
pub const DEAD_AFTER_MS: u64 = 5_000;

const _: () = assert!(DEAD_AFTER_MS > AHEAD_PATIENCE_MS);

/// Tells a node that is gone from one whose questions are dropped: a seek drops many at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silence {
    heard: Option<UnixMillis>,
    /// When the first question was put that got no answer and no other word in fair time.
    since: Option<UnixMillis>,
}

impl Silence {
    /// Anything came from the node at `now`.
    pub const fn heard(&mut self, now: UnixMillis) {
        self.heard = Some(now);
        self.since = None;
    }

    /// A question put at `asked` is given up at `now`. Whether the node is dead.
    pub fn abandoned(&mut self, asked: UnixMillis, now: UnixMillis) -> bool {
        let spoke_since = self.heard.is_some_and(|heard| heard >= asked);
        if spoke_since || now < asked.plus(URGENT_PATIENCE_MS) {
            return false;
        }
        let since = *self.since.get_or_insert(asked);
        now >= since.plus(DEAD_AFTER_MS)
    }
}

/// Something that happened outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The source delivered, and the hash was right.
    Delivered(Source),
    /// The source did not deliver.
    Failed(Source, Trouble),
    /// One more source can be asked from now on: a node came up. Known ones change nothing.
    Offer(Source),
    /// The player now waits for it, or a seek made it the next one.
    Hurry(Urgency),
    /// Time passed; nothing else happened.
    Tick,
}

/// Something the driver must now do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask this source.
    Ask(Source),
    /// Tell this source that its answer is no longer wanted.
    Cancel(Source),
    /// Nobody delivered; this is what each said.
    Exhausted(Vec<Attempt>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asked,
    Failed(Trouble),
}

/// The fetch of one block.
#[derive(Debug)]
pub struct Fetcher {
    sources: Vec<(Source, State)>,
    patience_ms: u64,
    /// When a source was last asked.
    asked_at: UnixMillis,
    /// When the next source is asked, or the fetch given up.
    deadline: Option<UnixMillis>,
    /// Set once a source delivered or all are exhausted.
    ending: Option<Ending>,
    now: UnixMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Delivered,
    Exhausting,
    Reported,
}

impl Fetcher {
    /// A fetch that starts at `now` and asks `sources` in order, each at most once.
    pub fn new(sources: &[Source], urgency: Urgency, now: UnixMillis) -> Self {
        Self {
            sources: sources
                .iter()
                .map(|source| (*source, State::Idle))
                .collect(),
            patience_ms: urgency.patience_ms(),
            asked_at: now,
            deadline: Some(now),
            ending: None,
            now,
        }
    }

    /// Takes in an event that happened at `now`.
    pub fn handle(&mut self, input: Input, now: UnixMillis) {
        self.now = now;
        match input {
            Input::Delivered(source) => {
                self.set(source, State::Idle);
                if self.ending.is_none() {
                    self.ending = Some(Ending::Delivered);
                    self.deadline = None;
                }
            }
            Input::Failed(source, trouble) => {
                self.set(source, State::Failed(trouble));
                if self.ending.is_none() && self.any_idle() {
                    self.deadline = Some(now);
                }
            }
            Input::Offer(source) if !self.sources.iter().any(|(known, _)| *known == source) => {
                self.sources.push((source, State::Idle));
                // It is asked when the one before it has had its time, which may be now.
                let due = self.asked_at.plus(self.patience_ms);
                if self.ending.is_none() {
                    self.deadline = self.deadline.map(|deadline| deadline.min(due));
                }
            }
            Input::Hurry(urgency) if urgency.patience_ms() < self.patience_ms => {
                let gained = self.patience_ms - urgency.patience_ms();
                self.patience_ms = urgency.patience_ms();
                if self.ending.is_none() && self.any_idle() {
                    let sooner = |at: UnixMillis| UnixMillis(at.0.saturating_sub(gained));
                    self.deadline = self.deadline.map(sooner);
                }
            }
            Input::Offer(_) | Input::Hurry(_) | Input::Tick => {}
        }
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        match self.ending {
            Some(Ending::Delivered) => return self.cancel_asked(),
            Some(Ending::Exhausting) => {
                return self.cancel_asked().or_else(|| {
                    self.ending = Some(Ending::Reported);
                    Some(Output::Exhausted(self.attempts()))
                });
            }
            Some(Ending::Reported) => return None,
            None => {}
        }
        let nobody_left = self
            .sources
            .iter()
            .all(|(_, s)| matches!(s, State::Failed(_)));
        let due = self.deadline.is_some_and(|deadline| self.now >= deadline);
        if !nobody_left && !due {
            return None;
        }
        if let Some((source, state)) = self.sources.iter_mut().find(|(_, s)| *s == State::Idle) {
            *state = State::Asked;
            let source = *source;
            let patience_ms = if self.any_idle() {
                self.patience_ms
            } else {
                GIVE_UP_MS
            };
            self.asked_at = self.now;
            self.deadline = Some(self.now.plus(patience_ms));
            return Some(Output::Ask(source));
        }
        self.ending = Some(Ending::Exhausting);
        self.deadline = None;
        // Whoever was asked and said nothing is silent from here on.
        for (_, state) in &mut self.sources {
            if *state == State::Asked {
                *state = State::Failed(Trouble::Silent);
            }
        }
        self.poll()
    }

    /// When to send the next [`Input::Tick`]; `None` once finished.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.deadline
    }

    fn any_idle(&self) -> bool {
        self.sources.iter().any(|(_, state)| *state == State::Idle)
    }

    fn set(&mut self, source: Source, new: State) {
        if let Some((_, state)) = self.sources.iter_mut().find(|(s, _)| *s == source) {
            *state = new;
        }
    }

    fn cancel_asked(&mut self) -> Option<Output> {
        let (source, state) = self.sources.iter_mut().find(|(_, s)| *s == State::Asked)?;
        *state = State::Idle;
        Some(Output::Cancel(*source))
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.sources
            .iter()
            .filter_map(|(source, state)| match state {
                State::Failed(trouble) => Some(Attempt {
                    origin: source.origin(),
                    trouble: *trouble,
                }),
                State::Idle | State::Asked => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: UnixMillis = UnixMillis(1_000_000);
    const BOTH: &[Source] = &[Source::Node, Source::Gateway];

    fn drain(fetcher: &mut Fetcher) -> Vec<Output> {
        std::iter::from_fn(|| fetcher.poll()).collect()
    }

    fn started(urgency: Urgency) -> Fetcher {
        let mut fetcher = Fetcher::new(BOTH, urgency, T0);
        assert_eq!(drain(&mut fetcher), [Output::Ask(Source::Node)]);
        fetcher
    }

    #[test]
    fn silent_source_is_hedged_at_its_deadline_and_not_before() {
        let mut fetcher = started(Urgency::Now);
        fetcher.handle(Input::Tick, T0.plus(URGENT_PATIENCE_MS - 1));
        assert_eq!(drain(&mut fetcher), []);
        fetcher.handle(Input::Tick, T0.plus(URGENT_PATIENCE_MS));
        assert_eq!(drain(&mut fetcher), [Output::Ask(Source::Gateway)]);
    }

    #[test]
    fn read_ahead_has_more_patience() {
        let mut fetcher = started(Urgency::Ahead);
        fetcher.handle(Input::Tick, T0.plus(URGENT_PATIENCE_MS));
        assert_eq!(drain(&mut fetcher), []);
        assert_eq!(fetcher.deadline(), Some(T0.plus(AHEAD_PATIENCE_MS)));
    }

    #[test]
    fn a_block_the_player_comes_to_wait_for_loses_its_patience() {
        let mut fetcher = started(Urgency::Ahead);
        fetcher.handle(Input::Hurry(Urgency::Now), T0.plus(100));
        assert_eq!(fetcher.deadline(), Some(T0.plus(URGENT_PATIENCE_MS)));
        fetcher.handle(Input::Hurry(Urgency::Ahead), T0.plus(200));
        assert_eq!(fetcher.deadline(), Some(T0.plus(URGENT_PATIENCE_MS)));
        fetcher.handle(Input::Tick, T0.plus(URGENT_PATIENCE_MS));
        assert_eq!(drain(&mut fetcher), [Output::Ask(Source::Gateway)]);
    }

    #[test]
    fn a_node_that_comes_up_is_asked_once_the_gateway_had_its_time() {
        let mut fetcher = Fetcher::new(&[Source::Gateway], Urgency::Now, T0);
        assert_eq!(drain(&mut fetcher), [Output::Ask(Source::Gateway)]);
        fetcher.handle(Input::Offer(Source::Node), T0.plus(100));
        fetcher.handle(Input::Offer(Source::Node), T0.plus(200));
        assert_eq!(drain(&mut fetcher), []);
        assert_eq!(fetcher.deadline(), Some(T0.plus(URGENT_PATIENCE_MS)));
        fetcher.handle(Input::Tick, T0.plus(URGENT_PATIENCE_MS));
        assert_eq!(drain(&mut fetcher), [Output::Ask(Source::Node)]);
        assert_eq!(
            fetcher.deadline(),
            Some(T0.plus(URGENT_PATIENCE_MS + GIVE_UP_MS))
        );
    }

    #[test]
    fn only_lasting_silence_is_death() {
        let mut silence = Silence::default();
        // A seek drops questions that were hardly asked.
        for at in 0..20 {
            assert!(!silence.abandoned(T0, T0.plus(at)));
        }
        // Slow, but it speaks.
        assert!(!silence.abandoned(T0, T0.plus(URGENT_PATIENCE_MS)));
        silence.heard(T0.plus(700));
        assert!(!silence.abandoned(T0, T0.plus(DEAD_AFTER_MS + 600)));
        // Not a word since a question was put.
        let asked = T0.plus(1_000);
        assert!(!silence.abandoned(asked, asked.plus(URGENT_PATIENCE_MS)));
        assert!(silence.abandoned(asked.plus(2_000), asked.plus(DEAD_AFTER_MS)));
    }

    #[test]
    fn a_failed_source_is_replaced_at_once() {
        let mut fetcher = started(Urgency::Ahead);
        fetcher.handle(Input::Failed(Source::Node, Trouble::Wrong), T0.plus(1));
        assert_eq!(drain(&mut fetcher), [Output::Ask(Source::Gateway)]);
    }

    #[test]
    fn the_slower_of_two_is_cancelled() {
        let mut fetcher = started(Urgency::Now);
        fetcher.handle(Input::Tick, T0.plus(URGENT_PATIENCE_MS));
        drain(&mut fetcher);
        fetcher.handle(Input::Delivered(Source::Gateway), T0.plus(700));
        assert_eq!(drain(&mut fetcher), [Output::Cancel(Source::Node)]);
        assert_eq!(fetcher.deadline(), None);
    }

    #[test]
    fn the_first_source_may_still_win_after_the_hedge() {
        let mut fetcher = started(Urgency::Now);
        fetcher.handle(Input::Tick, T0.plus(URGENT_PATIENCE_MS));
        drain(&mut fetcher);
        fetcher.handle(
            Input::Failed(Source::Gateway, Trouble::Absent),
            T0.plus(700),
        );
        assert_eq!(drain(&mut fetcher), []);
        fetcher.handle(Input::Delivered(Source::Node), T0.plus(800));
        assert_eq!(drain(&mut fetcher), []);
        assert_eq!(fetcher.deadline(), None);
    }

    #[test]
    fn when_all_failed_each_answer_is_reported() {
        let mut fetcher = started(Urgency::Now);
        fetcher.handle(Input::Failed(Source::Node, Trouble::Wrong), T0.plus(1));
        drain(&mut fetcher);
        fetcher.handle(Input::Failed(Source::Gateway, Trouble::Absent), T0.plus(2));
        assert_eq!(
            drain(&mut fetcher),
            [Output::Exhausted(vec![
                Attempt {
                    origin: Origin::Relay,
                    trouble: Trouble::Wrong
                },
                Attempt {
                    origin: Origin::Gateway,
                    trouble: Trouble::Absent
                },
            ])]
        );
    }

    #[test]
    fn silence_of_all_ends_too() {
        let mut fetcher = Fetcher::new(&[Source::Gateway], Urgency::First, T0);
        drain(&mut fetcher);
        fetcher.handle(Input::Tick, T0.plus(GIVE_UP_MS));
        assert_eq!(
            drain(&mut fetcher),
            [Output::Exhausted(vec![Attempt {
                origin: Origin::Gateway,
                trouble: Trouble::Silent
            }])]
        );
        assert_eq!(fetcher.deadline(), None);
    }

    #[test]
    fn first_bytes_come_from_the_gateway_and_later_ones_from_the_node() {
        assert_eq!(plan(Urgency::First, true)[0], Source::Gateway);
        assert_eq!(plan(Urgency::Now, true)[0], Source::Node);
        assert_eq!(plan(Urgency::Ahead, false), [Source::Gateway]);
    }

    proptest! {
        #[test]
        fn no_source_is_asked_twice_and_it_ends(events in prop::collection::vec((0u8..5, 0u64..5000), 0..40)) {
            let mut fetcher = Fetcher::new(BOTH, Urgency::Now, T0);
            let mut now = T0;
            let mut asked = Vec::new();
            for (event, wait) in events {
                for output in drain(&mut fetcher) {
                    if let Output::Ask(source) = output {
                        prop_assert!(!asked.contains(&source));
                        asked.push(source);
                    }
                }
                now = now.plus(wait);
                let source = if event % 2 == 0 { Source::Node } else { Source::Gateway };
                match event {
                    0 | 1 if asked.contains(&source) =>
                        fetcher.handle(Input::Failed(source, Trouble::Absent), now),
                    2 if asked.contains(&source) => fetcher.handle(Input::Delivered(source), now),
                    _ => fetcher.handle(Input::Tick, now),
                }
            }
            for _ in 0..4 {
                drain(&mut fetcher);
                now = now.plus(GIVE_UP_MS);
                fetcher.handle(Input::Tick, now);
            }
            drain(&mut fetcher);
            prop_assert_eq!(fetcher.deadline(), None);
        }
    }
}

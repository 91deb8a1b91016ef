//! Decides which self-signed certificates a WebTransport listener keeps, makes and announces.
//!
//! Browsers accept a certificate by its hash only if it is valid for at most 14 days, so there
//! are always two: the *current* one is served, the *next* one is announced beside it. An address
//! handed out today therefore works for at least one whole lifetime. This module is pure: it makes
//! no key, reads no clock and touches no disk; `certificates.rs` does.
//!
//! # Invariants
//!
//! - The current certificate is valid at `now`, and so is it for clients whose clocks are off by
//!   [`SKEW_SECONDS`], unless our own clock was set back.
//! - The next certificate is valid [`SKEW_SECONDS`] before the current one stops being served, and
//!   outlives it.
//! - Nothing is replaced early: a certificate that browsers accept is served until its end.
//!
//! Spec: <https://github.com/libp2p/specs/tree/master/webtransport#certificates>.

/// Longest validity that browsers accept with `serverCertificateHashes`: 14 days, in seconds
/// ([W3C WebTransport, custom certificate requirements]).
///
/// [W3C WebTransport, custom certificate requirements]: https://www.w3.org/TR/webtransport/#custom-certificate-requirements
pub(crate) const MAX_LIFETIME_SECONDS: i64 = 14 * 24 * 60 * 60;

/// Validity of the certificates we make. One minute below the limit: X.509 counts both ends in, and
/// implementations disagree about the last second.
pub(crate) const LIFETIME_SECONDS: i64 = MAX_LIFETIME_SECONDS - 60;

/// How far a client's clock may be off, in seconds: one hour, as in go-libp2p. A certificate is
/// served from this long after its start until this long before its end.
pub(crate) const SKEW_SECONDS: i64 = 60 * 60;

// A certificate must be servable for some time.
const _: () = assert!(LIFETIME_SECONDS > 4 * SKEW_SECONDS);
const _: () = assert!(LIFETIME_SECONDS < MAX_LIFETIME_SECONDS);

/// When a certificate is valid, in seconds since the epoch. Both ends count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// First valid second.
    pub(crate) from: i64,
    /// Last valid second.
    pub(crate) until: i64,
}

impl Validity {
    /// A whole lifetime from `from`.
    fn starting(from: i64) -> Self {
        Self {
            from,
            until: from.saturating_add(LIFETIME_SECONDS),
        }
    }

    /// Whether a browser would accept the length of it at all.
    fn is_acceptable(self) -> bool {
        self.until > self.from && self.until.saturating_sub(self.from) <= MAX_LIFETIME_SECONDS
    }

    /// First second at which it is no longer served.
    fn served_until(self) -> i64 {
        self.until.saturating_sub(SKEW_SECONDS)
    }

    /// Whether it may be served at `now`.
    fn is_servable(self, now: i64) -> bool {
        self.is_acceptable() && self.from <= now && now < self.served_until()
    }

    /// Whether it can take over from `current` without a gap.
    fn follows(self, current: Self) -> bool {
        self.is_acceptable()
            && self.from.saturating_add(SKEW_SECONDS) <= current.served_until()
            && self.until > current.until
    }
}

/// Where a certificate of a [`Plan`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The one at this index of those at hand.
    Keep(usize),
    /// A new one of this validity, with a new key.
    Make(Validity),
}

/// What to serve and to announce, and what becomes of the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Served, and announced first.
    pub(crate) current: Source,
    /// Announced second.
    pub(crate) next: Source,
    /// The one served last before, if it is at hand. Never served again, but its hash is still
    /// reported in the Noise handshake: clients that dial with an address of its time name it.
    pub(crate) previous: Option<usize>,
    /// Some certificate at hand begins in the future and was dropped: the clock was wrong when it
    /// was made, or is wrong now.
    pub(crate) clock_is_suspect: bool,
    /// First second at which another decision is due.
    pub(crate) due: i64,
}

/// Decides, given the certificates at hand and the time, both in seconds since the epoch.
///
/// Calling it again with the result and the same `now` changes nothing.
pub(crate) fn decide(at_hand: &[Validity], now: i64) -> Plan {
    let earliest_end = |accept: &dyn Fn(Validity) -> bool| {
        at_hand
            .iter()
            .enumerate()
            .filter(|(_, validity)| accept(**validity))
            .min_by_key(|(_, validity)| validity.until)
            .map(|(index, validity)| (Source::Keep(index), *validity))
    };
    let make = |from| {
        let validity = Validity::starting(from);
        (Source::Make(validity), validity)
    };

    let (current, serving) = earliest_end(&|validity| validity.is_servable(now))
        .unwrap_or_else(|| make(now.saturating_sub(SKEW_SECONDS)));
    let (next, _) = earliest_end(&|validity| validity.follows(serving))
        .unwrap_or_else(|| make(serving.served_until().saturating_sub(SKEW_SECONDS)));

    let is_used = |index| [current, next].contains(&Source::Keep(index));
    let previous = at_hand
        .iter()
        .enumerate()
        .filter(|(index, validity)| !is_used(*index) && validity.served_until() <= now)
        .max_by_key(|(_, validity)| validity.until)
        .map(|(index, _)| index);
    let clock_is_suspect = at_hand
        .iter()
        .enumerate()
        .any(|(index, validity)| !is_used(index) && validity.from > now);

    Plan {
        current,
        next,
        previous,
        clock_is_suspect,
        due: serving.served_until(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 24 * 60 * 60;

    fn fresh(now: i64) -> (Validity, Validity) {
        let current = Validity::starting(now - SKEW_SECONDS);
        (
            current,
            Validity::starting(current.until - 2 * SKEW_SECONDS),
        )
    }

    /// The one place that calls the API; every test below is data.
    #[track_caller]
    fn check(at_hand: &[Validity], now: i64, current: Source, next: Source) -> Plan {
        let plan = decide(at_hand, now);
        assert_eq!(
            (plan.current, plan.next),
            (current, next),
            "{at_hand:?} at {now}"
        );
        plan
    }

    #[test]
    fn with_nothing_at_hand_two_are_made_that_overlap() {
        let (current, next) = fresh(NOW);
        let plan = check(&[], NOW, Source::Make(current), Source::Make(next));
        assert!(!plan.clock_is_suspect);
        assert_eq!(plan.due, current.until - SKEW_SECONDS);
    }

    #[test]
    fn nothing_changes_while_the_current_one_is_good() {
        let (current, next) = fresh(NOW);
        for now in [
            NOW,
            NOW + DAY,
            NOW + 13 * DAY,
            current.until - SKEW_SECONDS - 1,
        ] {
            check(&[current, next], now, Source::Keep(0), Source::Keep(1));
        }
    }

    #[test]
    fn the_next_one_takes_over_in_the_very_second_and_a_new_next_is_made() {
        let (current, next) = fresh(NOW);
        let now = current.until - SKEW_SECONDS;
        let after = Validity::starting(next.until - 2 * SKEW_SECONDS);
        let plan = check(&[current, next], now, Source::Keep(1), Source::Make(after));
        assert_eq!(plan.previous, Some(0));
    }

    #[test]
    fn order_at_hand_does_not_matter() {
        let (current, next) = fresh(NOW);
        check(&[next, current], NOW, Source::Keep(1), Source::Keep(0));
    }

    #[test]
    fn after_a_long_stop_both_are_replaced_and_the_last_is_remembered() {
        let (current, next) = fresh(NOW);
        let now = NOW + 60 * DAY;
        let (a, b) = fresh(now);
        let plan = check(&[current, next], now, Source::Make(a), Source::Make(b));
        assert_eq!(plan.previous, Some(1));
        assert!(!plan.clock_is_suspect);
    }

    #[test]
    fn certificates_from_the_far_future_are_dropped_and_reported() {
        let (current, next) = fresh(NOW + 365 * DAY);
        let (a, b) = fresh(NOW);
        let plan = check(&[current, next], NOW, Source::Make(a), Source::Make(b));
        assert_eq!(plan.previous, None);
        assert!(plan.clock_is_suspect);
    }

    #[test]
    fn a_certificate_from_the_near_future_becomes_the_next_one() {
        let (future, after) = fresh(NOW + 3 * DAY);
        let (a, _) = fresh(NOW);
        check(&[future, after], NOW, Source::Make(a), Source::Keep(0));
    }

    #[test]
    fn a_clock_set_back_within_the_skew_changes_nothing() {
        let (current, next) = fresh(NOW);
        let now = NOW - SKEW_SECONDS;
        check(&[current, next], now, Source::Keep(0), Source::Keep(1));
    }

    #[test]
    fn a_validity_no_browser_accepts_is_dropped() {
        let long = Validity {
            from: NOW - DAY,
            until: NOW + MAX_LIFETIME_SECONDS,
        };
        let backwards = Validity {
            from: NOW + DAY,
            until: NOW - DAY,
        };
        let (a, b) = fresh(NOW);
        check(&[long, backwards], NOW, Source::Make(a), Source::Make(b));
    }

    #[test]
    fn a_clock_at_the_epoch_still_gets_two_certificates() {
        let (a, b) = fresh(0);
        check(&[], 0, Source::Make(a), Source::Make(b));
    }

    proptest! {
        #[test]
        fn whatever_is_at_hand_the_plan_is_servable_gapless_and_stable(
            ends in proptest::collection::vec((-40i64..40, 0i64..20), 0..6),
            now in -40i64..40,
        ) {
            let at_hand: Vec<_> = ends
                .iter()
                .map(|(from, len)| Validity {
                    from: NOW + from * DAY,
                    until: NOW + (from + len) * DAY,
                })
                .collect();
            let now = NOW + now * DAY;
            let plan = decide(&at_hand, now);
            let get = |source| match source {
                Source::Keep(index) => at_hand[index],
                Source::Make(validity) => validity,
            };
            let (current, next) = (get(plan.current), get(plan.next));
            prop_assert!(current.is_servable(now));
            prop_assert!(next.follows(current));
            prop_assert!(plan.due > now);
            prop_assert!(next.is_servable(plan.due));
            let again = decide(&[current, next], now);
            prop_assert_eq!((again.current, again.next), (Source::Keep(0), Source::Keep(1)));
        }

        #[test]
        fn any_numbers_do_not_panic(
            at_hand in proptest::collection::vec((any::<i64>(), any::<i64>()), 0..6),
            now: i64,
        ) {
            let at_hand: Vec<_> = at_hand
                .into_iter()
                .map(|(from, until)| Validity { from, until })
                .collect();
            decide(&at_hand, now);
        }
    }
}

//! The browser's clock and timers, for code that passes `now` on to `core`.

use std::time::Duration;

use sluice_core::UnixMillis;

/// The wall clock.
pub fn now() -> UnixMillis {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole positive milliseconds"
    )]
    #[expect(clippy::cast_sign_loss, reason = "the epoch lies in the past")]
    UnixMillis(js_sys::Date::now() as u64)
}

/// Waits until `deadline`; at once when it has passed. Hidden pages are woken once a second.
pub async fn until(deadline: UnixMillis) {
    let ms = deadline.0.saturating_sub(now().0);
    gloo::timers::future::sleep(Duration::from_millis(ms)).await;
}

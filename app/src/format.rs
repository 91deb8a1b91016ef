//! Numbers as people read them. Integers only: float formatting would cost the shell kilobytes.

/// Bytes in decimal units with at most two significant decimals' worth of noise: `999 B`, `1.2 MB`, `48 GB`.
///
/// Rounds down, so a partly stored work never reads as complete.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = 1000u64;
    let mut name = 0;
    while count / unit >= 1000 && name + 1 < UNITS.len() {
        unit *= 1000;
        name += 1;
    }
    let whole = count / unit;
    if whole >= 10 {
        return format!("{whole} {}", UNITS[name]);
    }
    // `count % unit` is below 10^15, so ten times it fits.
    format!("{whole}.{} {}", count % unit * 10 / unit, UNITS[name])
}

/// A transfer rate in bytes per second.
#[must_use]
pub fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// A position in a video: `0:07`, `12:30`, `1:02:03`.
#[must_use]
pub fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `part` of `whole` in whole percent, rounded down; 0 when there is no whole.
#[must_use]
pub fn percent(part: u64, whole: u64) -> u64 {
    // 128 bits: a petabyte times 100 would fit 64, a hostile length need not.
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

/// A long identifier with its middle left out, for places where it is a label and not a value.
#[must_use]
pub fn shortened(id: &str) -> String {
    const KEPT: usize = 8;
    let count = id.chars().count();
    if count <= 2 * KEPT + 1 {
        return id.to_owned();
    }
    let head: String = id.chars().take(KEPT).collect();
    let tail: String = id.chars().skip(count - KEPT).collect();
    format!("{head}…{tail}")
}

/// `1 peer`, `2 peers`.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A number of JavaScript as a whole one, rounded down; not-a-number, negative and endless count as 0.
#[must_use]
pub fn whole(number: f64) -> u64 {
    if number.is_finite() && number > 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and finite, and `as` saturates"
        )]
        let whole = number as u64;
        whole
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bytes(count: u64, want: &str) {
        assert_eq!(bytes(count), want);
    }

    #[test]
    fn small_counts_are_exact() {
        check_bytes(0, "0 B");
        check_bytes(3, "3 B");
        check_bytes(999, "999 B");
    }

    #[test]
    fn large_counts_keep_one_decimal_below_ten_and_round_down() {
        check_bytes(1000, "1.0 kB");
        check_bytes(1999, "1.9 kB");
        check_bytes(262_144, "262 kB");
        check_bytes(9_999_999, "9.9 MB");
        check_bytes(50_000_000, "50 MB");
        check_bytes(999_999_999_999, "999 GB");
    }

    #[test]
    fn the_largest_count_has_a_name_too() {
        check_bytes(u64::MAX, "18446 PB");
    }

    #[test]
    fn a_rate_is_bytes_per_second() {
        assert_eq!(rate(1_500_000), "1.5 MB/s");
    }

    #[test]
    fn hours_appear_only_when_there_are_some() {
        assert_eq!(clock(7), "0:07");
        assert_eq!(clock(750), "12:30");
        assert_eq!(clock(3723), "1:02:03");
    }

    #[test]
    fn nothing_of_nothing_is_zero_percent() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn long_identifiers_keep_both_ends() {
        assert_eq!(shortened("bafyr"), "bafyr");
        assert_eq!(shortened("bafyr4iabcdefghijklmnopq"), "bafyr4ia…jklmnopq");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "peer", "peers"), "1 peer");
        assert_eq!(counted(0, "peer", "peers"), "0 peers");
    }

    #[test]
    fn numbers_that_count_nothing_read_zero() {
        assert_eq!(whole(f64::NAN), 0);
        assert_eq!(whole(f64::INFINITY), 0);
        assert_eq!(whole(-1.0), 0);
        assert_eq!(whole(12.9), 12);
    }
}

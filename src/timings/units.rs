//! Durations and sizes as text.

use std::time::Duration;

/// `0.4 s`, `12.3 s`, `3 m 05 s`, `1 h 02 m`.
pub(crate) fn duration(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    let seconds = (duration.as_millis() + 500) / 1000;
    if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else if seconds < 3600 {
        format!("{} m {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60)
    }
}

/// The same with a space that keeps number and unit on one line of a table.
pub(crate) fn unbroken(time: Duration) -> String {
    duration(time).replace(' ', "\u{a0}")
}

/// Decimal units, as registries count: `512 B`, `1.2 kB`, `34.5 MB`, `1.23 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.2} GB", number / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits_or_so() {
        let cases = [
            (0, "0.0 s"),
            (49, "0.0 s"),
            (12_345, "12.3 s"),
            (59_949, "59.9 s"),
            (59_950, "1 m 00 s"),
            (185_000, "3 m 05 s"),
            (3_725_000, "1 h 02 m"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn sizes_are_decimal() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_234, "1.2 kB"),
            (34_500_000, "34.5 MB"),
            (4_130_000_000, "4.13 GB"),
        ];
        for (size, text) in cases {
            assert_eq!(bytes(size), text);
        }
    }
}

//! Dates in [Moment's format](https://momentjs.com/docs/#/displaying/format/), English locale: a timestamp, a time zone
//! and a format in, text out. Total: what is no token is printed as it stands, as Moment does.
//!
//! Times have milliseconds, as JavaScript's have. Offsets and abbreviations come from the bundled tz database.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const MONTHS: &str =
    "January February March April May June July August September October November December";
const WEEKDAYS: &str = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday";

/// Every token but single characters and brackets, in the order in which they are tried.
const TOKENS: &str = "Hmmss Hmm hmmss hmm Mo MMMM MMM MM M Do DDDo DDDD DDD DD D dddd ddd dd do d wo w| ww w Wo W| WW W \
    Qo Q NNNNN NNNN NNN NN N YYYYYY YYYYY YYYY YY yyyy yyy yy yo y ggggg gggg gg GGGGG GGGG GG e E a A hh h HH H kk k mm m \
    ss s SSSSSSSSS SSSSSSSS SSSSSSS SSSSSS SSSSS SSSS SSS SS S x X zz ZZ";

/// The locale's own formats.
const LOCALE_TOKENS: [(&str, &str); 10] = [
    ("LTS", "h:mm:ss A"),
    ("LT", "h:mm A"),
    ("LLLL", "dddd, MMMM D, YYYY h:mm A"),
    ("LLL", "MMMM D, YYYY h:mm A"),
    ("LL", "MMMM D, YYYY"),
    ("L", "MM/DD/YYYY"),
    ("llll", "ddd, MMM D, YYYY h:mm A"),
    ("lll", "MMM D, YYYY h:mm A"),
    ("ll", "MMM D, YYYY"),
    ("l", "M/D/YYYY"),
];

/// Prints a moment as it is in a time zone.
pub(crate) fn format(moment: Timestamp, zone: &TimeZone, format: &str) -> String {
    let at = Moment::new(moment, zone);
    let expanded = expand_locale_tokens(format);
    let mut out = String::with_capacity(expanded.len());
    let mut rest = expanded.as_str();
    while let Some(first) = rest.chars().next() {
        if let Some(length) = bracketed(rest) {
            let (literal, after) = split(rest, length);
            let literal = literal.strip_prefix('[').unwrap_or(literal);
            out.push_str(literal.strip_suffix(']').unwrap_or(literal));
            rest = after;
        } else if first == '\\' {
            let (_, after) = split(rest, 1);
            let (literal, after) = split(after, token_length(after));
            out.push_str(&literal.replace('\\', ""));
            rest = after;
        } else {
            let (token, after) = split(rest, token_length(rest));
            at.print(token, &mut out);
            rest = after;
        }
    }
    out
}

fn expand_locale_tokens(format: &str) -> String {
    let mut out = String::with_capacity(format.len());
    let mut rest = format;
    while !rest.is_empty() {
        let escaped = rest.strip_prefix('\\').map_or(0, |after| {
            LOCALE_TOKENS
                .iter()
                .find(|(token, _)| after.starts_with(token))
                .map_or(0, |(token, _)| 1 + token.len())
        });
        let literal = bracketed(rest).unwrap_or(escaped);
        if literal > 0 {
            let (kept, after) = split(rest, literal);
            out.push_str(kept);
            rest = after;
        } else if let Some((token, long)) = LOCALE_TOKENS
            .iter()
            .find(|(token, _)| rest.starts_with(token))
        {
            out.push_str(long);
            rest = split(rest, token.len()).1;
        } else {
            let (kept, after) = split(rest, first_length(rest));
            out.push_str(kept);
            rest = after;
        }
    }
    out
}

/// The length of a `[literal]` at the start: up to the last `]` before another `[`.
fn bracketed(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('[')?;
    let (inside, _) = inside.split_at(inside.find('[').unwrap_or(inside.len()));
    inside.rfind(']').map(|end| end + 2)
}

fn token_length(text: &str) -> usize {
    TOKENS
        .split(' ')
        .find(|token| text.starts_with(token))
        .map_or_else(|| first_length(text), |token| token.len())
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Cuts where a character ends, which the callers know.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// One moment in one zone, taken apart.
struct Moment {
    date: Date,
    hour: i64,
    minute: i64,
    second: i64,
    millisecond: i64,
    epoch_milliseconds: i64,
    offset_minutes: i64,
    zone: String,
}

impl Moment {
    fn new(moment: Timestamp, zone: &TimeZone) -> Self {
        let info = zone.to_offset_info(moment);
        let local = info.offset().to_datetime(moment);
        let epoch_milliseconds = moment.as_millisecond();
        Self {
            date: local.date(),
            hour: local.hour().into(),
            minute: local.minute().into(),
            second: local.second().into(),
            millisecond: epoch_milliseconds.rem_euclid(1000),
            epoch_milliseconds,
            offset_minutes: i64::from(info.offset().seconds()) / 60,
            zone: info.abbreviation().to_owned(),
        }
    }

    fn print(&self, token: &str, out: &mut String) {
        let year = i64::from(self.date.year());
        let month = i64::from(self.date.month());
        let day = i64::from(self.date.day());
        let day_of_year = i64::from(self.date.day_of_year());
        let weekday = i64::from(self.date.weekday().to_sunday_zero_offset());
        let half_day = match self.hour % 12 {
            0 => 12,
            hour => hour,
        };
        let twenty_four = if self.hour == 0 { 24 } else { self.hour };
        let month_name = name(MONTHS, month - 1);
        let weekday_name = name(WEEKDAYS, weekday);
        match token {
            "M" => number(out, month, 1),
            "Mo" => ordinal(out, month),
            "MM" => number(out, month, 2),
            "MMM" => out.extend(month_name.chars().take(3)),
            "MMMM" => out.push_str(month_name),
            "Q" => number(out, (month + 2) / 3, 1),
            "Qo" => ordinal(out, (month + 2) / 3),
            "D" => number(out, day, 1),
            "Do" => ordinal(out, day),
            "DD" => number(out, day, 2),
            "DDD" => number(out, day_of_year, 1),
            "DDDo" => ordinal(out, day_of_year),
            "DDDD" => number(out, day_of_year, 3),
            "d" | "e" => number(out, weekday, 1),
            "do" => ordinal(out, weekday),
            "dd" => out.extend(weekday_name.chars().take(2)),
            "ddd" => out.extend(weekday_name.chars().take(3)),
            "dddd" => out.push_str(weekday_name),
            "E" => number(out, if weekday == 0 { 7 } else { weekday }, 1),
            "w" => number(out, self.week().1, 1),
            "wo" => ordinal(out, self.week().1),
            "ww" => number(out, self.week().1, 2),
            "W" => number(out, self.iso_week().1, 1),
            "Wo" => ordinal(out, self.iso_week().1),
            "WW" => number(out, self.iso_week().1, 2),
            "gg" => number(out, self.week().0 % 100, 2),
            "gggg" => number(out, self.week().0, 4),
            "ggggg" => number(out, self.week().0, 5),
            "GG" => number(out, self.iso_week().0 % 100, 2),
            "GGGG" => number(out, self.iso_week().0, 4),
            "GGGGG" => number(out, self.iso_week().0, 5),
            "YY" => number(out, year % 100, 2),
            "Y" | "YYYY" | "yyyy" => number(out, year, 4),
            "YYYYY" => number(out, year, 5),
            "YYYYYY" => {
                out.push('+');
                number(out, year, 6);
            }
            "y" | "yy" | "yyy" => number(out, year, token.len()),
            "yo" => ordinal(out, year),
            "N" | "NN" | "NNN" | "NNNNN" => out.push_str("AD"),
            "NNNN" => out.push_str("Anno Domini"),
            "A" => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            "a" => out.push_str(if self.hour < 12 { "am" } else { "pm" }),
            "H" => number(out, self.hour, 1),
            "HH" => number(out, self.hour, 2),
            "h" => number(out, half_day, 1),
            "hh" => number(out, half_day, 2),
            "k" => number(out, twenty_four, 1),
            "kk" => number(out, twenty_four, 2),
            "m" => number(out, self.minute, 1),
            "mm" => number(out, self.minute, 2),
            "s" => number(out, self.second, 1),
            "ss" => number(out, self.second, 2),
            "Hmm" | "Hmmss" | "hmm" | "hmmss" => {
                let hour = if token.starts_with('H') {
                    self.hour
                } else {
                    half_day
                };
                number(out, hour, 1);
                number(out, self.minute, 2);
                if token.ends_with('s') {
                    number(out, self.second, 2);
                }
            }
            "S" => number(out, self.millisecond / 100, 1),
            "SS" => number(out, self.millisecond / 10, 2),
            "x" => number(out, self.epoch_milliseconds, 1),
            "X" => number(out, self.epoch_milliseconds.div_euclid(1000), 1),
            "z" | "zz" => out.push_str(&self.zone),
            "Z" | "ZZ" => {
                out.push(if self.offset_minutes < 0 { '-' } else { '+' });
                number(out, self.offset_minutes.abs() / 60, 2);
                if token == "Z" {
                    out.push(':');
                }
                number(out, self.offset_minutes.abs() % 60, 2);
            }
            _ if token.starts_with("SSS") => {
                number(out, self.millisecond, 3);
                out.extend(token.chars().skip(3).map(|_| '0'));
            }
            // A line end is no token of Moment's, not even a literal one.
            "\n" | "\r" | "\u{2028}" | "\u{2029}" => {}
            literal => out.push_str(literal),
        }
    }

    /// Year and number of the week that begins on Sunday; week 1 holds January 1.
    fn week(&self) -> (i64, i64) {
        let day_of_year = i64::from(self.date.day_of_year());
        let days_in_year = i64::from(self.date.days_in_year());
        let weekday = i64::from(self.date.weekday().to_sunday_zero_offset());
        let year = i64::from(self.date.year());
        if day_of_year - weekday + 6 > days_in_year {
            return (year + 1, 1);
        }
        // Days by which week 1 began before January 1.
        let before = (weekday - (day_of_year - 1)).rem_euclid(7);
        (year, (day_of_year - 1 + before) / 7 + 1)
    }

    fn iso_week(&self) -> (i64, i64) {
        let week = self.date.iso_week_date();
        (week.year().into(), week.week().into())
    }
}

fn name(names: &'static str, index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.split(' ').nth(index))
        .unwrap_or_default()
}

fn number(out: &mut String, value: i64, digits: usize) {
    if value < 0 {
        out.push('-');
    }
    // Writing to a string cannot fail.
    let _ = write!(out, "{:0digits$}", value.unsigned_abs());
}

fn ordinal(out: &mut String, value: i64) {
    number(out, value, 1);
    out.push_str(match (value % 10, value % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    });
}

#[cfg(test)]
mod tests {
    use jiff::civil::Weekday;
    use proptest::prelude::*;

    use super::*;

    fn tokyo() -> TimeZone {
        TimeZone::get("Asia/Tokyo").unwrap()
    }

    #[test]
    fn prints_the_formats_that_people_use() {
        let moment: Timestamp = "2020-01-10T00:30:00Z".parse().unwrap();
        for (pattern, expected) in [
            ("YYYYMMDD", "20200110"),
            ("YYYYMMDD-HHmmss", "20200110-093000"),
            (
                "dddd, MMMM Do YYYY, h:mm:ss a",
                "Friday, January 10th 2020, 9:30:00 am",
            ),
            ("YYYY-MM-DDTHH:mm:ss.SSS[Z]", "2020-01-10T09:30:00.000Z"),
            ("GGGG[w]WW", "2020w02"),
            ("X Z z", "1578616200 +09:00 JST"),
        ] {
            assert_eq!(format(moment, &tokyo(), pattern), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn prints_any_format_at_any_time(
            pattern in "[a-zA-Z\\[\\]\\\\ \n|é]{0,30}",
            second in -2_000_000_000_000_000i64..2_000_000_000_000_000,
        ) {
            let moment = Timestamp::from_microsecond(second * 100).unwrap_or(Timestamp::MIN);
            let _ = format(moment, &tokyo(), &pattern);
        }

        #[test]
        fn counts_weeks_without_gaps(days in 0i32..20_000) {
            let date = jiff::civil::date(1990, 1, 1) + jiff::Span::new().days(days);
            let at = |date: Date| Moment::new(date.in_tz("UTC").unwrap().timestamp(), &TimeZone::UTC);
            let (today, tomorrow) = (at(date), at(date.tomorrow().unwrap()));
            let same = date.weekday() != Weekday::Saturday;
            prop_assert_eq!(today.week() == tomorrow.week(), same);
            prop_assert!((1..=53).contains(&today.week().1));
        }
    }
}

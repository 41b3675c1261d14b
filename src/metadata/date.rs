//! Dates in [Moment's format](https://momentjs.com/docs/#/displaying/format/) and English locale.
//!
//! Never fails: text that is not a token is printed as it is, as Moment does. Times have milliseconds, as in
//! JavaScript. Offsets and abbreviations come from the bundled tz database.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

const MONTHS: &str =
    "January February March April May June July August September October November December";
const WEEKDAYS: &str = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday";

/// Every token except single characters and brackets, in matching order.
const TOKENS: &str = "Hmmss Hmm hmmss hmm Mo MMMM MMM MM M Do DDDo DDDD DDD DD D dddd ddd dd do d wo w| ww w Wo W| WW W \
    Qo Q NNNNN NNNN NNN NN N YYYYYY YYYYY YYYY YY yyyy yyy yy yo y ggggg gggg gg GGGGG GGGG GG e E a A hh h HH H kk k mm m \
    ss s SSSSSSSSS SSSSSSSS SSSSSSS SSSSSS SSSSS SSSS SSS SS S x X zz ZZ";

/// The formats of the English locale.
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
        let token_at = |text: &str| {
            let mut tokens = LOCALE_TOKENS.iter();
            tokens.find(|(token, _)| text.starts_with(token)).copied()
        };
        let escaped = rest.strip_prefix('\\').and_then(token_at);
        let literal = bracketed(rest).or(escaped.map(|(token, _)| 1 + token.len()));
        let (length, expanded) = match (literal, token_at(rest)) {
            (None, Some((token, format))) => (token.len(), Some(format)),
            (literal, _) => (literal.unwrap_or(first_length(rest)), None),
        };
        let (text, after) = split(rest, length);
        out.push_str(expanded.unwrap_or(text));
        rest = after;
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

/// Splits at a character boundary, which every caller passes.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

struct Moment {
    local: DateTime,
    milliseconds: i64,
    offset_minutes: i64,
    zone: String,
}

impl Moment {
    fn new(moment: Timestamp, zone: &TimeZone) -> Self {
        let info = zone.to_offset_info(moment);
        Self {
            local: info.offset().to_datetime(moment),
            milliseconds: moment.as_millisecond(),
            offset_minutes: i64::from(info.offset().seconds()) / 60,
            zone: info.abbreviation().to_owned(),
        }
    }

    fn print(&self, token: &str, out: &mut String) {
        let at = self.local;
        let year = i64::from(at.year());
        let month = i64::from(at.month());
        let day = i64::from(at.day());
        let day_of_year = i64::from(at.day_of_year());
        let weekday = i64::from(at.weekday().to_sunday_zero_offset());
        let hour = i64::from(at.hour());
        let half_day = (hour + 11) % 12 + 1;
        let twenty_four = (hour + 23) % 24 + 1;
        let (minute, second) = (i64::from(at.minute()), i64::from(at.second()));
        let millisecond = self.milliseconds.rem_euclid(1000);
        let offset = self.offset_minutes;
        let (week_year, week) = week(at.date());
        let iso = at.date().iso_week_date();
        let (iso_week_year, iso_week) = (i64::from(iso.year()), i64::from(iso.week()));
        let month_name = name(MONTHS, month - 1);
        let weekday_name = name(WEEKDAYS, weekday);
        match token {
            "Mo" => ordinal(out, month),
            "M" | "MM" => number(out, month, token.len()),
            "MMM" => out.extend(month_name.chars().take(3)),
            "MMMM" => out.push_str(month_name),
            "Q" => number(out, (month + 2) / 3, 1),
            "Qo" => ordinal(out, (month + 2) / 3),
            "Do" => ordinal(out, day),
            "D" | "DD" => number(out, day, token.len()),
            "DDD" => number(out, day_of_year, 1),
            "DDDo" => ordinal(out, day_of_year),
            "DDDD" => number(out, day_of_year, 3),
            "d" | "e" => number(out, weekday, 1),
            "do" => ordinal(out, weekday),
            "dd" | "ddd" => out.extend(weekday_name.chars().take(token.len())),
            "dddd" => out.push_str(weekday_name),
            "E" => number(out, if weekday == 0 { 7 } else { weekday }, 1),
            "wo" => ordinal(out, week),
            "w" | "ww" => number(out, week, token.len()),
            "Wo" => ordinal(out, iso_week),
            "W" | "WW" => number(out, iso_week, token.len()),
            "gg" => number(out, week_year % 100, 2),
            "gggg" | "ggggg" => number(out, week_year, token.len()),
            "GG" => number(out, iso_week_year % 100, 2),
            "GGGG" | "GGGGG" => number(out, iso_week_year, token.len()),
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
            "A" => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            "a" => out.push_str(if hour < 12 { "am" } else { "pm" }),
            "H" | "HH" => number(out, hour, token.len()),
            "h" | "hh" => number(out, half_day, token.len()),
            "k" | "kk" => number(out, twenty_four, token.len()),
            "m" | "mm" => number(out, minute, token.len()),
            "s" | "ss" => number(out, second, token.len()),
            "Hmm" | "Hmmss" | "hmm" | "hmmss" => {
                let is_half = token.starts_with('h');
                number(out, if is_half { half_day } else { hour }, 1);
                number(out, minute, 2);
                if token.ends_with('s') {
                    number(out, second, 2);
                }
            }
            "S" => number(out, millisecond / 100, 1),
            "SS" => number(out, millisecond / 10, 2),
            "x" => number(out, self.milliseconds, 1),
            "X" => number(out, self.milliseconds.div_euclid(1000), 1),
            "z" | "zz" => out.push_str(&self.zone),
            "Z" | "ZZ" => {
                out.push(if offset < 0 { '-' } else { '+' });
                number(out, offset.abs() / 60, 2);
                if token == "Z" {
                    out.push(':');
                }
                number(out, offset.abs() % 60, 2);
            }
            _ if token.starts_with("SSS") => {
                number(out, millisecond, 3);
                out.extend(token.chars().skip(3).map(|_| '0'));
            }
            // Moment drops line ends.
            "\n" | "\r" | "\u{2028}" | "\u{2029}" => {}
            literal => out.push_str(literal),
        }
    }
}

/// Year and number of the week, which begins on Sunday. Week 1 contains January 1.
fn week(date: Date) -> (i64, i64) {
    let day_of_year = i64::from(date.day_of_year());
    let days_in_year = i64::from(date.days_in_year());
    let weekday = i64::from(date.weekday().to_sunday_zero_offset());
    let year = i64::from(date.year());
    if day_of_year - weekday + 6 > days_in_year {
        return (year + 1, 1);
    }
    // The days of week 1 before January 1.
    let before = (weekday - (day_of_year - 1)).rem_euclid(7);
    (year, (day_of_year - 1 + before) / 7 + 1)
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
            let (today, tomorrow) = (week(date), week(date.tomorrow().unwrap()));
            let same = date.weekday() != Weekday::Saturday;
            prop_assert_eq!(today == tomorrow, same);
            prop_assert!((1..=53).contains(&today.1));
        }
    }
}

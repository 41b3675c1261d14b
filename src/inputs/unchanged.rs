//! The input `skip-unchanged`: whether an image of the same build is taken instead of building again.

use std::fmt;

use serde::{Serialize, Serializer};

use super::value::{Expected, Single};

const EXPECTED: &str = "a boolean, or the greatest age of the image: `30m`, `12h`, `7d`, `2w`; with `,labels` behind it labels and \
     annotations count that name the commit";

/// Seconds of each unit.
const UNITS: [(char, u64); 4] = [('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];

/// The longest age, in seconds.
const LONGEST: u64 = 10 * 366 * 86_400;

/// Whether, and which, image of an earlier build is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SkipUnchanged {
    /// Each run builds.
    #[default]
    No,
    Yes {
        /// The greatest age; none for any.
        age: Option<Age>,
        /// Whether labels and annotations count that name the commit.
        labels: bool,
    },
}

/// An age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age {
    pub seconds: u64,
    unit: char,
}

impl Age {
    fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().next_back()?;
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let number = text.strip_suffix(unit)?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = is_number.then(|| number.parse().ok())??;
        let seconds = number.checked_mul(seconds)?;
        (1..=LONGEST)
            .contains(&seconds)
            .then_some(Self { seconds, unit })
    }
}

/// As it is typed.
impl fmt::Display for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.into_iter().find(|(name, _)| *name == self.unit);
        let seconds = unit.map_or(1, |(_, seconds)| seconds);
        write!(formatter, "{}{}", self.seconds / seconds, self.unit)
    }
}

impl Serialize for Age {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Single for SkipUnchanged {
    fn parse(text: &str) -> Result<Self, Expected> {
        let mut words = text.split(',').map(str::trim);
        let first = words.next().unwrap_or_default();
        let labels = match (words.next(), words.next()) {
            (None, _) => false,
            (Some("labels"), None) => true,
            _ => return Err(EXPECTED.into()),
        };
        match bool::parse(first) {
            Ok(false) if labels => Err(EXPECTED.into()),
            Ok(false) => Ok(Self::No),
            Ok(true) => Ok(Self::Yes { age: None, labels }),
            Err(_) => {
                let age = Age::parse(first).ok_or(EXPECTED)?;
                let age = Some(age);
                Ok(Self::Yes { age, labels })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        for (text, seconds) in [
            ("1m", 60),
            ("12h", 43_200),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("07d", 604_800),
            ("3660d", LONGEST),
        ] {
            let Ok(SkipUnchanged::Yes {
                age: Some(age),
                labels: false,
            }) = SkipUnchanged::parse(text)
            else {
                panic!("{text}");
            };
            assert_eq!(age.seconds, seconds, "{text}");
            assert_eq!(age.to_string(), text.trim_start_matches('0'));
        }
        for text in [
            "0d",
            "d",
            "7",
            "7 d",
            "-7d",
            "+7d",
            "7.5d",
            "7D",
            "7y",
            "1h30m",
            "7d,",
            "7d,label",
            "7d,labels,labels",
            "false,labels",
            "yes",
            "3661d",
            "99999999999999999999d",
            "７d",
        ] {
            assert!(SkipUnchanged::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_boolean_takes_an_image_of_any_age_or_none() {
        let any = |labels| SkipUnchanged::Yes { age: None, labels };
        for (text, expected) in [
            ("false", SkipUnchanged::No),
            ("true", any(false)),
            ("True", any(false)),
            ("true,labels", any(true)),
            ("true, labels", any(true)),
        ] {
            assert_eq!(SkipUnchanged::parse(text).unwrap(), expected, "{text}");
        }
    }
}

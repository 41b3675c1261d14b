//! Which of a repository's tags may move to another image.
//!
//! Amazon ECR's setting and its filters, in which `*` matches any characters:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>.

/// A repository's tag mutability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutability {
    Mutable,
    Immutable,
    /// Immutable, except for tags that match a filter.
    ImmutableExcept(Vec<String>),
    /// Mutable, except for tags that match a filter.
    MutableExcept(Vec<String>),
}

impl Mutability {
    /// Whether an existing tag can move to another image.
    pub fn may_move(&self, tag: &str) -> bool {
        let is_excluded = self.filters().iter().any(|filter| matches(filter, tag));
        match self {
            Self::Mutable | Self::MutableExcept(_) => !is_excluded,
            Self::Immutable | Self::ImmutableExcept(_) => is_excluded,
        }
    }

    /// The API's name of the setting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mutable => "MUTABLE",
            Self::Immutable => "IMMUTABLE",
            Self::ImmutableExcept(_) => "IMMUTABLE_WITH_EXCLUSION",
            Self::MutableExcept(_) => "MUTABLE_WITH_EXCLUSION",
        }
    }

    /// The filters of the tags that the setting excludes.
    pub fn filters(&self) -> &[String] {
        match self {
            Self::Mutable | Self::Immutable => &[],
            Self::ImmutableExcept(filters) | Self::MutableExcept(filters) => filters,
        }
    }
}

/// Whether a filter with any number of `*` matches a whole tag.
fn matches(filter: &str, tag: &str) -> bool {
    let Some((start, rest)) = filter.split_once('*') else {
        return filter == tag;
    };
    let Some(mut left) = tag.strip_prefix(start) else {
        return false;
    };
    let Some((middle, end)) = rest.rsplit_once('*') else {
        return left.ends_with(rest);
    };
    for part in middle.split('*') {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_exclude_tags_from_the_rule() {
        let filters = || vec!["buildcache*".to_owned(), "latest".to_owned()];
        let cases = [
            (Mutability::Mutable, [true, true, true]),
            (Mutability::Immutable, [false, false, false]),
            (Mutability::ImmutableExcept(filters()), [true, true, false]),
            (Mutability::MutableExcept(filters()), [false, false, true]),
        ];
        for (mutability, expected) in cases {
            let found =
                ["buildcache-main", "latest", "latest-1"].map(|tag| mutability.may_move(tag));
            assert_eq!(found, expected, "{mutability:?}");
        }
    }

    #[test]
    fn a_star_matches_any_characters() {
        let cases = [
            ("*", "x", true),
            ("a*", "a", true),
            ("*-cache", "x-cache", true),
            ("*-cache", "x-cache-1", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*b*b", "a-b", false),
            ("a**b", "ab", true),
            ("a", "ab", false),
        ];
        for (filter, tag, expected) in cases {
            assert_eq!(matches(filter, tag), expected, "{filter} {tag}");
        }
    }

    proptest! {
        #[test]
        fn stars_agree_with_a_regular_expression(filter in "[ab*]{0,6}", tag in "[ab]{0,8}") {
            let pattern = format!("^{}$", filter.replace('*', ".*"));
            let expected = regex::Regex::new(&pattern).unwrap().is_match(&tag);
            prop_assert_eq!(matches(&filter, &tag), expected);
        }
    }
}

//! What single items have to look like: exactly what buildx takes, and in words what that is.
//!
//! Sources, at <https://github.com/docker/buildx/tree/461836ba0>: `build/utils.go` (hosts),
//! `util/buildflags` (entitlements, annotations, contexts, calls), and docker/go-units, which it
//! vendors (`ulimit.go`, `size.go`).

use std::net::IpAddr;

use lists::attributes;

/// A rule for the items of one input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub holds: fn(&str) -> bool,
    pub expected: &'static str,
}

pub(super) const ADD_HOST: Rule = Rule {
    holds: is_add_host,
    expected: "`host:address`, as `db:10.0.0.1` or `db:host-gateway`",
};

pub(super) const ENTITLEMENT: Rule = Rule {
    holds: is_entitlement,
    expected: "one of `network.host`, `security.insecure`, `device[=name]`, `buildx.local.delete`",
};

/// A lone name is a label without value.
pub(super) const LABEL: Rule = Rule {
    holds: |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        text.contains('=') || text.bytes().all(allowed)
    },
    expected: "`name=value`; put a value of several lines in double quotes, together with its name",
};

pub(crate) const ANNOTATION: Rule = Rule {
    holds: is_annotation,
    expected: "`[type[platform]:]name=value`, the type one of `manifest`, `index`, `manifest-descriptor`, `index-descriptor`",
};

pub(super) const REGION: Rule = Rule {
    holds: is_region,
    expected: "a region, as `eu-west-1`",
};

pub(crate) const SHM_SIZE: Rule = Rule {
    holds: |text| size(text).is_some(),
    expected: "a number of bytes, or one with a unit, as `2g` or `512m`",
};

pub(crate) const NAMESPACE: Rule = Rule {
    holds: is_dns_label,
    expected: "a namespace's name, as `buildx`",
};

/// A name that Kubernetes objects can have, with room for what we add.
pub(super) const BUILDER: Rule = Rule {
    holds: |text| is_dns_label(text) && text.len() <= 40,
    expected: "at most 40 characters: letters in lower case, digits and `-`",
};

/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html>
pub(super) const CLUSTER: Rule = Rule {
    holds: |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        text.len() <= 100
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(allowed)
    },
    expected: "a cluster's name",
};

/// A DNS label (RFC 1123), or nothing at all.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Words and a number, as `us-gov-west-1`; a letter behind it would be an availability zone
/// (<https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>).
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [words @ .., number] = parts.as_slice() else {
        return false;
    };
    let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase());
    text.len() <= 32
        && words.len() > 1
        && words.iter().all(is_word)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_add_host(text: &str) -> bool {
    let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':')) else {
        return false;
    };
    let bare = |address: &str| {
        let inner = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or(address).parse::<IpAddr>().is_ok()
    };
    !host.is_empty() && (addresses == "host-gateway" || addresses.split(',').all(bare))
}

fn is_entitlement(text: &str) -> bool {
    match text.split_once('=') {
        None => matches!(
            text,
            "network.host" | "security.insecure" | "device" | "buildx.local.delete"
        ),
        Some(("device", device)) => device.is_empty() || attributes::split(device).is_some(),
        Some(_) => false,
    }
}

fn is_annotation(text: &str) -> bool {
    let Some((name, _)) = text.split_once('=') else {
        return false;
    };
    let Some((types, _)) = name.split_once(':') else {
        return true;
    };
    types.split(',').all(|kind| {
        let (kind, platform) = match kind.split_once('[') {
            Some((kind, rest)) => match rest.strip_suffix(']') {
                Some(platform) if !platform.is_empty() => (kind, platform),
                _ => return false,
            },
            None => (kind, ""),
        };
        matches!(
            kind,
            "manifest" | "index" | "manifest-descriptor" | "index-descriptor"
        ) && platform
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_/-".contains(character))
    })
}

/// Bytes, as docker/go-units' `RAMInBytes` reads them: a number that is not negative, perhaps a blank, perhaps a unit.
pub(crate) fn size(text: &str) -> Option<f64> {
    let end =
        text.rfind(|character: char| character.is_ascii_digit() || ". ".contains(character))?;
    let (number, unit) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number = number.parse::<f64>().ok().filter(|number| *number >= 0.0)?;
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "" | "b") {
        return Some(number);
    }
    let mut characters = unit.chars();
    let power = match characters.next()? {
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        'p' => 5,
        _ => return None,
    };
    matches!(characters.as_str(), "" | "b" | "ib").then(|| number * 1024f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rule: Rule, taken: &[&str], refused: &[&str]) {
        for text in taken {
            assert!((rule.holds)(text), "{text}: {}", rule.expected);
        }
        for text in refused {
            assert!(!(rule.holds)(text), "{text}: {}", rule.expected);
        }
    }

    /// <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
    #[test]
    fn regions_end_with_a_number() {
        check(
            REGION,
            &[
                "eu-west-1",
                "us-gov-west-1",
                "us-iso-east-1",
                "us-isob-east-1",
                "mx-central-1",
                "ap-southeast-7",
                "cn-northwest-1",
                "eusc-de-east-1",
            ],
            &[
                "eu-west1",
                "eu-west-1a",
                "eu-west",
                "west-1",
                "eu--west-1",
                "EU-WEST-1",
                "eu-west-",
                "eu-west-1-",
                "eu_west_1",
                "1-2-3",
            ],
        );
    }

    #[test]
    fn hosts_have_an_address() {
        check(
            ADD_HOST,
            &[
                "docker:10.180.0.1",
                "a=10.0.0.1",
                "a:host-gateway",
                "a:::1",
                "a=[::1]",
                "a=::1",
                "a=1.1.1.1,::1",
            ],
            &[
                "docker",
                "docker:",
                ":10.0.0.1",
                "a:b",
                "a:10.0.0",
                "a=[::1",
                "a:10.0.0.1/8",
            ],
        );
    }

    #[test]
    fn entitlements_are_a_closed_set() {
        check(
            ENTITLEMENT,
            &[
                "network.host",
                "security.insecure",
                "device",
                "device=vendor.com/gpu",
                "buildx.local.delete",
            ],
            &[
                "network",
                "network.host=true",
                "security.insecure=1",
                "buildx.local.delete=1",
                "Network.Host",
            ],
        );
    }

    #[test]
    fn annotations_may_name_their_level() {
        check(
            ANNOTATION,
            &[
                "a=b",
                "index:a=b",
                "manifest-descriptor[linux/amd64]:a=b",
                "index,manifest:a=b",
                "a=b:c=d",
            ],
            &[
                "a",
                "image:a=b",
                "index[:a=b",
                "index[]:a=b",
                "index[linux amd64]:a=b",
            ],
        );
    }

    #[test]
    fn sizes_have_docker_s_units() {
        check(
            SHM_SIZE,
            &["2g", "64", "512m", "1.5GiB", "1 kb", "100b", "10KB", "0"],
            &["", "g", "2x", "-1", "2gg", "2bb", "1  g", "lots", "2gbi"],
        );
        for (text, bytes) in [
            ("100b", 100.0),
            ("1 kb", 1024.0),
            ("512m", 536_870_912.0),
            ("1.5GiB", 1_610_612_736.0),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
    }

    proptest! {
        #[test]
        fn survives_any_text(text in "[a-z0-9=:,.\\[\\] éß-]{0,30}") {
            for rule in [ADD_HOST, ENTITLEMENT, ANNOTATION, SHM_SIZE] {
                let _ = (rule.holds)(&text);
            }
        }
    }
}

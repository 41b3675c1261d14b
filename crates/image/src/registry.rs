//! Which registry a host is: a private Amazon ECR registry, ECR Public, or another registry.
//!
//! Host forms: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html> and
//! <https://docs.aws.amazon.com/general/latest/gr/ecr.html>. DNS suffixes (`dnsSuffix`,
//! `dualStackDnsSuffix`): <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>.

/// ECR Public's hosts, over IPv4 and dual-stack.
const ECR_PUBLIC: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];

/// The registry behind a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Registry {
    Ecr(EcrRegistry),
    /// The gallery at `public.ecr.aws`; its API is in us-east-1 only.
    EcrPublic {
        host: String,
    },
    Other {
        host: String,
    },
}

impl Registry {
    /// Recognises the host of an image reference, in any letter case.
    pub fn from_host(host: &str) -> Self {
        if let Some(ecr) = EcrRegistry::from_host(host) {
            return Self::Ecr(ecr);
        }
        let is_public = ECR_PUBLIC.contains(&host.to_ascii_lowercase().as_str());
        let host = host.to_owned();
        if is_public {
            Self::EcrPublic { host }
        } else {
            Self::Other { host }
        }
    }

    /// The host, as it was given.
    pub fn host(&self) -> &str {
        match self {
            Self::Ecr(ecr) => &ecr.host,
            Self::EcrPublic { host } | Self::Other { host } => host,
        }
    }
}

/// The private registry of one account in one region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EcrRegistry {
    /// The account's id, 12 digits.
    pub account: String,
    /// The region's code, `eu-west-1`.
    pub region: String,
    /// The host, as it was given: Docker stores logins under exactly this name.
    pub host: String,
    pub partition: Partition,
    /// Whether the host is a FIPS 140 endpoint.
    pub fips: bool,
    /// Whether the host also answers over IPv6. PrivateLink does not serve such hosts.
    pub dual_stack: bool,
}

impl EcrRegistry {
    /// Parses `<account>.dkr.ecr[-fips].<region>.<suffix>`, or `dkr-ecr` with a dual-stack suffix.
    pub fn from_host(given: &str) -> Option<Self> {
        let host = given.to_ascii_lowercase();
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (dual_stack, rest) = match rest.strip_prefix("dkr.ecr") {
            Some(rest) => (false, rest),
            None => (true, rest.strip_prefix("dkr-ecr")?),
        };
        let (fips, rest) = match rest.strip_prefix("-fips") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (region, suffix) = rest.strip_prefix('.')?.split_once('.')?;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let partition = Partition::of_region(region);
        let expected = if dual_stack {
            partition.dual_stack_suffix
        } else {
            partition.dns_suffix
        };
        let is_ecr = !region.is_empty() && region.bytes().all(allowed) && suffix == expected;
        is_ecr.then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            host: given.to_owned(),
            partition,
            fips,
            dual_stack,
        })
    }

    /// The registry of an account in a region, by its IPv4 host.
    pub fn new(account: &str, region: &str) -> Option<Self> {
        let suffix = Partition::of_region(region).dns_suffix;
        Self::from_host(&format!("{account}.dkr.ecr.{region}.{suffix}"))
    }
}

/// A group of AWS regions with its own accounts and DNS suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Partition {
    /// The name in an ARN.
    pub name: &'static str,
    region_prefixes: &'static [&'static str],
    /// The end of an AWS host's name.
    pub dns_suffix: &'static str,
    dual_stack_suffix: &'static str,
}

const fn partition(
    name: &'static str,
    region_prefixes: &'static [&'static str],
    dns_suffix: &'static str,
    dual_stack_suffix: &'static str,
) -> Partition {
    Partition {
        name,
        region_prefixes,
        dns_suffix,
        dual_stack_suffix,
    }
}

#[rustfmt::skip]
const PARTITIONS: [Partition; 7] = [
    partition("aws-cn", &["cn-"], "amazonaws.com.cn", "on.amazonwebservices.com.cn"),
    partition("aws-us-gov", &["us-gov-"], "amazonaws.com", "on.aws"),
    partition("aws-eusc", &["eusc-"], "amazonaws.eu", "on.amazonwebservices.eu"),
    partition("aws-iso", &["us-iso-"], "c2s.ic.gov", "on.aws.ic.gov"),
    partition("aws-iso-b", &["us-isob-"], "sc2s.sgov.gov", "on.aws.scloud"),
    partition("aws-iso-e", &["eu-isoe-"], "cloud.adc-e.uk", "on.cloud-aws.adc-e.uk"),
    partition("aws-iso-f", &["us-isof-", "eu-isof-"], "csp.hci.ic.gov", "on.aws.hci.ic.gov"),
];
const COMMERCIAL: Partition = partition("aws", &[], "amazonaws.com", "on.aws");

impl Partition {
    /// The partition of a region. An unknown region counts as commercial.
    pub fn of_region(region: &str) -> Self {
        let has_prefix = |prefix: &&str| region.starts_with(prefix);
        let mut partitions = PARTITIONS.into_iter();
        partitions
            .find(|partition| partition.region_prefixes.iter().any(has_prefix))
            .unwrap_or(COMMERCIAL)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_the_hosts_of_every_partition() {
        let cases = [
            (
                "dkr.ecr.eu-west-1.amazonaws.com",
                "eu-west-1",
                "aws",
                false,
                false,
            ),
            (
                "dkr.ecr-fips.us-east-1.amazonaws.com",
                "us-east-1",
                "aws",
                true,
                false,
            ),
            ("dkr-ecr.eu-west-1.on.aws", "eu-west-1", "aws", false, true),
            (
                "dkr-ecr-fips.us-east-1.on.aws",
                "us-east-1",
                "aws",
                true,
                true,
            ),
            (
                "dkr.ecr.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
                "aws-us-gov",
                false,
                false,
            ),
            (
                "dkr.ecr-fips.us-gov-east-1.amazonaws.com",
                "us-gov-east-1",
                "aws-us-gov",
                true,
                false,
            ),
            (
                "dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "aws-cn",
                false,
                false,
            ),
            (
                "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "cn-north-1",
                "aws-cn",
                false,
                true,
            ),
            (
                "dkr.ecr.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1",
                "aws-eusc",
                false,
                false,
            ),
            (
                "dkr.ecr.us-iso-east-1.c2s.ic.gov",
                "us-iso-east-1",
                "aws-iso",
                false,
                false,
            ),
            (
                "dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
                "us-isob-east-1",
                "aws-iso-b",
                false,
                false,
            ),
            (
                "dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
                "eu-isoe-west-1",
                "aws-iso-e",
                false,
                false,
            ),
            (
                "dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
                "us-isof-south-1",
                "aws-iso-f",
                false,
                false,
            ),
            (
                "dkr.ecr.xx-new-9.amazonaws.com",
                "xx-new-9",
                "aws",
                false,
                false,
            ),
        ];
        for (rest, region, partition, fips, dual_stack) in cases {
            let host = format!("123456789012.{rest}");
            let Registry::Ecr(ecr) = Registry::from_host(&host) else {
                panic!("{host} was not recognised");
            };
            assert_eq!(ecr.account, "123456789012", "{host}");
            assert_eq!(ecr.region, region, "{host}");
            assert_eq!(ecr.partition.name, partition, "{host}");
            assert_eq!((ecr.fips, ecr.dual_stack), (fips, dual_stack), "{host}");
            assert_eq!(ecr.host, host);
            let ordinary = EcrRegistry::new("123456789012", region).unwrap();
            assert!(!ordinary.fips && !ordinary.dual_stack, "{host}");
            assert_eq!(ordinary.partition, Partition::of_region(region));
            assert_eq!(ordinary.host == host, !fips && !dual_stack, "{host}");
        }
    }

    #[test]
    fn takes_look_alikes_for_other_registries() {
        for host in [
            "docker.io",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
            "a23456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.on.aws",
            "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn",
            "123456789012.dkr.ecrx.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "public.ecr.aws.example",
        ] {
            assert_eq!(
                Registry::from_host(host),
                Registry::Other {
                    host: host.to_owned()
                }
            );
        }
        assert_eq!(EcrRegistry::new("1234", "eu-west-1"), None);
        assert_eq!(EcrRegistry::new("123456789012", "EU West"), None);
    }

    #[test]
    fn knows_ecr_public() {
        for host in ["public.ecr.aws", "ecr-public.aws.com"] {
            let registry = Registry::from_host(host);
            assert_eq!(
                registry,
                Registry::EcrPublic {
                    host: host.to_owned()
                }
            );
            assert_eq!(registry.host(), host);
        }
    }

    proptest! {
        #[test]
        fn keeps_the_host_of_any_text(host in "\\PC{0,60}") {
            let registry = Registry::from_host(&host);
            prop_assert_eq!(registry.host(), host.as_str());
        }

        #[test]
        fn finds_account_and_region_again(account in "[0-9]{12}", region in "[a-z]{2}-[a-z]{4,9}-[1-9]") {
            let ecr = EcrRegistry::new(&account, &region).unwrap();
            prop_assert_eq!(Registry::from_host(&ecr.host), Registry::Ecr(ecr.clone()));
            prop_assert_eq!((ecr.account, ecr.region), (account, region));
        }
    }
}

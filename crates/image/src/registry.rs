//! Which registry a host is: a private ECR of any partition, ECR Public, or another.
//!
//! Host forms: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html> and
//! <https://docs.aws.amazon.com/general/latest/gr/ecr.html>; DNS suffixes as in the AWS SDKs' partition data
//! (`dnsSuffix`, `dualStackDnsSuffix`): <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>.

/// ECR Public's hosts, over IPv4 and dual-stack.
const ECR_PUBLIC: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];

/// What kind of registry a host is.
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
    /// Recognises a host as it stands in an image reference; letter case is of no account, as in DNS.
    pub fn from_host(host: &str) -> Self {
        if let Some(ecr) = EcrRegistry::from_host(host) {
            Self::Ecr(ecr)
        } else if ECR_PUBLIC.contains(&host.to_ascii_lowercase().as_str()) {
            Self::EcrPublic {
                host: host.to_owned(),
            }
        } else {
            Self::Other {
                host: host.to_owned(),
            }
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
    /// The host, as it was given: logins are kept under exactly this name.
    pub host: String,
    pub partition: Partition,
    /// Whether the host is a FIPS 140 endpoint.
    pub fips: bool,
    /// Whether the host answers over IPv6 too; PrivateLink does not serve such hosts.
    pub dual_stack: bool,
}

impl EcrRegistry {
    /// `<account>.dkr.ecr[-fips].<region>.<suffix>`, or `dkr-ecr` with a dual-stack suffix.
    pub fn from_host(given: &str) -> Option<Self> {
        let host = given.to_ascii_lowercase();
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (dual_stack, rest) = if let Some(rest) = rest.strip_prefix("dkr.ecr") {
            (false, rest)
        } else {
            (true, rest.strip_prefix("dkr-ecr")?)
        };
        let (fips, rest) = match rest.strip_prefix("-fips") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (region, suffix) = rest.strip_prefix('.')?.split_once('.')?;
        if region.is_empty()
            || !region
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return None;
        }
        let partition = Partition::ALL.into_iter().find(|partition| {
            partition.holds(region)
                && suffix
                    == if dual_stack {
                        partition.dual_stack_suffix()
                    } else {
                        partition.dns_suffix()
                    }
        })?;
        Some(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            host: given.to_owned(),
            partition,
            fips,
            dual_stack,
        })
    }

    /// The registry of an account in a region, by its ordinary IPv4 host.
    pub fn new(account: &str, region: &str) -> Option<Self> {
        let partition = Partition::of_region(region);
        Self::from_host(&format!(
            "{account}.dkr.ecr.{region}.{}",
            partition.dns_suffix()
        ))
    }
}

/// A group of AWS regions with its own accounts and DNS suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Partition {
    Aws,
    China,
    GovCloud,
    EuropeanSovereignCloud,
    Iso,
    IsoB,
    IsoE,
    IsoF,
}

impl Partition {
    const ALL: [Self; 8] = [
        Self::China,
        Self::GovCloud,
        Self::EuropeanSovereignCloud,
        Self::IsoB,
        Self::IsoE,
        Self::IsoF,
        Self::Iso,
        Self::Aws,
    ];

    /// The name it has in an ARN.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::China => "aws-cn",
            Self::GovCloud => "aws-us-gov",
            Self::EuropeanSovereignCloud => "aws-eusc",
            Self::Iso => "aws-iso",
            Self::IsoB => "aws-iso-b",
            Self::IsoE => "aws-iso-e",
            Self::IsoF => "aws-iso-f",
        }
    }

    /// The partition of a region; a region not known yet is taken for one of the commercial partition.
    pub fn of_region(region: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|partition| partition.holds(region))
            .unwrap_or(Self::Aws)
    }

    fn holds(self, region: &str) -> bool {
        let prefixes: &[&str] = match self {
            Self::China => &["cn-"],
            Self::GovCloud => &["us-gov-"],
            Self::EuropeanSovereignCloud => &["eusc-"],
            Self::Iso => &["us-iso-"],
            Self::IsoB => &["us-isob-"],
            Self::IsoE => &["eu-isoe-"],
            Self::IsoF => &["us-isof-", "eu-isof-"],
            Self::Aws => {
                return Self::ALL
                    .iter()
                    .all(|other| *other == Self::Aws || !other.holds(region));
            }
        };
        prefixes.iter().any(|prefix| region.starts_with(prefix))
    }

    /// What the names of its AWS hosts end with.
    pub fn dns_suffix(self) -> &'static str {
        match self {
            Self::Aws | Self::GovCloud => "amazonaws.com",
            Self::China => "amazonaws.com.cn",
            Self::EuropeanSovereignCloud => "amazonaws.eu",
            Self::Iso => "c2s.ic.gov",
            Self::IsoB => "sc2s.sgov.gov",
            Self::IsoE => "cloud.adc-e.uk",
            Self::IsoF => "csp.hci.ic.gov",
        }
    }

    fn dual_stack_suffix(self) -> &'static str {
        match self {
            Self::Aws | Self::GovCloud => "on.aws",
            Self::China => "on.amazonwebservices.com.cn",
            Self::EuropeanSovereignCloud => "on.amazonwebservices.eu",
            Self::Iso => "on.aws.ic.gov",
            Self::IsoB => "on.aws.scloud",
            Self::IsoE => "on.cloud-aws.adc-e.uk",
            Self::IsoF => "on.aws.hci.ic.gov",
        }
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
            assert_eq!(ecr.partition.name(), partition, "{host}");
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

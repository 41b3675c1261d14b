//! Accounts, regions and host names that the stand-in answers to; written down before it starts, since a hosts file has
//! no patterns.
//!
//! Hosts: <https://docs.aws.amazon.com/general/latest/gr/ecr.html>.

/// The account of everything that needs none of its own.
pub const ACCOUNT: &str = "123456789012";

/// How many accounts there are to give away.
pub const ACCOUNTS: u16 = 400;

/// The region that tests use unless they need two.
pub const REGION: &str = "eu-west-1";

/// The only region that has ECR Public's API
/// (<https://docs.aws.amazon.com/AmazonECR/latest/public/public-registries.html>).
pub const PUBLIC_REGION: &str = "us-east-1";

/// ECR Public's registry.
pub const PUBLIC: &str = "public.ecr.aws";

/// What follows the account in the host names of registries, and the region.
pub const SUFFIXES: [(&str, &str); 5] = [
    (".dkr.ecr.eu-west-1.amazonaws.com", REGION),
    (".dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
    (".dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1"),
    (".dkr-ecr.eu-west-1.on.aws", REGION),
    (".dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
];

/// The account of this number, for one test.
#[must_use]
pub fn account(number: u16) -> String {
    format!("222233334{number:03}")
}

/// A static access key of an account. The account can be read from it, as from a real one.
#[must_use]
pub fn access_key(account: &str) -> String {
    format!("AKIA0000{account}")
}

/// The alias of an account in ECR Public.
#[must_use]
pub fn alias(account: &str) -> String {
    format!("r{account}")
}

/// All host names.
pub fn hosts() -> impl Iterator<Item = String> {
    let accounts = (0..ACCOUNTS).map(account);
    // A second suffix for those that tests are given; all of them for the first.
    let given = accounts.flat_map(|account| {
        SUFFIXES[..2]
            .iter()
            .map(move |(suffix, _)| format!("{account}{suffix}"))
    });
    let first = SUFFIXES
        .iter()
        .map(|(suffix, _)| format!("{ACCOUNT}{suffix}"));
    first.chain(given).chain([PUBLIC.to_owned()])
}

/// Account and region of a private registry's host.
#[must_use]
pub fn parse(host: &str) -> Option<(&str, &'static str)> {
    SUFFIXES.iter().find_map(|(suffix, region)| {
        let account = host.strip_suffix(suffix)?;
        (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some((account, *region))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_account_and_region_from_every_host() {
        for host in hosts().filter(|host| host != PUBLIC) {
            assert!(parse(&host).is_some(), "{host}");
        }
        assert_eq!(
            parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
            Some((ACCOUNT, REGION))
        );
        assert_eq!(parse("1234.dkr.ecr.eu-west-1.amazonaws.com"), None);
        assert_eq!(parse("123456789012.dkr.ecr.eu-west-2.amazonaws.com"), None);
    }
}

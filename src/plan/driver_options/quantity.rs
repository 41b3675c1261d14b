//! Quantities of CPU and memory as Kubernetes writes them
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>), and
//! durations as Go does.

const UNITS: &[(&str, f64)] = &[
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The amount that a quantity stands for.
pub(crate) fn amount(text: &str) -> Option<f64> {
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1.0));
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let digits = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if mantissa.is_empty() || mantissa.len() > 30 || !mantissa.bytes().all(digits) {
        return None;
    }
    let amount = mantissa.parse::<f64>().ok()? * 10f64.powi(exponent) * factor;
    amount.is_finite().then_some(amount)
}

/// Whole seconds of a duration as Go's `time.ParseDuration` takes it, `1m30s`; at least one.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|character: char| character.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at_checked(end)?;
        let unit = ["ms", "h", "m", "s"]
            .into_iter()
            .find(|unit| tail.starts_with(unit))?;
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            _ => 0.001,
        };
        total += amount(number)? * factor;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty() && (0.001..=86_400.0).contains(&total)).then(|| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a day"
        )]
        let seconds = total.ceil() as u64;
        seconds.max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_what_kubernetes_takes() {
        for (text, expected) in [
            ("2", Some(2.0)),
            ("500m", Some(0.5)),
            ("7Gi", Some(7.0 * 1_073_741_824.0)),
            ("1.5G", Some(1.5e9)),
            ("1e3", Some(1000.0)),
            ("7GB", None),
            ("7gi", None),
            ("", None),
            ("-1", None),
            ("1 Gi", None),
            ("Gi", None),
            ("inf", None),
            ("1e999", None),
        ] {
            assert_eq!(amount(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_what_go_takes() {
        for (text, expected) in [
            ("120s", Some(120)),
            ("1m30s", Some(90)),
            ("2h", Some(7200)),
            ("500ms", Some(1)),
            ("10", None),
            ("", None),
            ("s", None),
            ("1d", None),
            ("0s", None),
            ("1000h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}

//! Sizes as people write them: `512m`, `1.5g`, `0.5` CPUs.

/// Bytes: a number with an optional unit b, k, m, g, t or p, of 1024 each; `kb` and `kib` mean `k`.
pub(super) fn bytes(text: &str) -> Result<i64, &'static str> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &lower[digits.len()..];
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err("the unit must be b, k, m, g, t or p"),
    };
    decimal(digits, 1_i128 << shift).ok_or("it is no size, such as 512m")
}

/// Billionths of a CPU.
pub(super) fn nano_cpus(text: &str) -> Result<i64, &'static str> {
    decimal(text, 1_000_000_000).ok_or("it is no number of CPUs, such as 0.5")
}

/// Digits after the point that count; more would not change a byte of a pebibyte.
const LONGEST_FRACTION: usize = 18;

/// A decimal number times `unit`, cut to a whole one.
fn decimal(text: &str, unit: i128) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > LONGEST_FRACTION {
        return None;
    }
    let mut number = whole.parse::<i64>().map(i128::from).ok()? * unit;
    if !fraction.is_empty() {
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        number += fraction.parse::<i128>().ok()? * unit / scale;
    }
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("4k", Some(4096)),
            ("512m", Some(536_870_912)),
            ("512MB", Some(536_870_912)),
            ("1GiB", Some(1_073_741_824)),
            ("1.5g", Some(1_610_612_736)),
            ("9000p", None),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1e3", None),
            ("5 m", None),
            ("5x", None),
        ] {
            assert_eq!(bytes(text).ok(), wanted, "{text}");
        }
        assert_eq!(nano_cpus("0.5"), Ok(500_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert!(nano_cpus("half").is_err());
    }
}

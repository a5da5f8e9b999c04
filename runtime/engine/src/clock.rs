//! The wall clock and its spellings. Times are nanoseconds since 1970 in an `i64`, good until 2262.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// Docker's spelling of "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

pub(crate) const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Now.
pub(crate) fn now() -> i64 {
    nanos(SystemTime::now())
}

/// A time of the system clock; times outside of the range become its ends.
pub(crate) fn nanos(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// RFC 3339 without trailing zeros of the fraction; 0 is "never".
pub(crate) fn render(nanos: i64) -> String {
    if nanos == 0 {
        return NEVER.to_owned();
    }
    let fixed = render_fixed(nanos);
    let digits = fixed
        .trim_end_matches('Z')
        .trim_end_matches('0')
        .trim_end_matches('.');
    format!("{digits}Z")
}

/// RFC 3339 with nine digits of fraction, as logs show it.
pub(crate) fn render_fixed(nanos: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)) else {
        return NEVER.to_owned();
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.nanosecond()
    )
}

/// Reads RFC 3339, as log files have it.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos()).ok()
}

/// Reads `since` and `until`: `SECONDS`, `SECONDS.NANOS` or RFC 3339.
pub(crate) fn parse_moment(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let Ok(seconds) = seconds.parse::<i64>() else {
        return parse_rfc3339(text);
    };
    let nanos = fraction_nanos(fraction)?;
    let whole = seconds.checked_mul(NANOS_PER_SECOND)?;
    if text.starts_with('-') {
        whole.checked_sub(nanos)
    } else {
        whole.checked_add(nanos)
    }
}

/// Reads what filters say about the past: a span before `now` such as `24h` or `1h30m`, a moment, or a day.
pub(crate) fn parse_since(text: &str, now: i64) -> Option<i64> {
    if let Some(span) = parse_span(text) {
        return now.checked_sub(span);
    }
    parse_moment(text)
        .or_else(|| parse_rfc3339(&format!("{text}Z")))
        .or_else(|| parse_rfc3339(&format!("{text}:00Z")))
        .or_else(|| parse_rfc3339(&format!("{text}T00:00:00Z")))
}

/// Numbers with units, as Go writes spans of time: in nanoseconds.
fn parse_span(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let end = rest
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match rest.get(..end)? {
            "h" => 3600 * NANOS_PER_SECOND,
            "m" => 60 * NANOS_PER_SECOND,
            "s" => NANOS_PER_SECOND,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(end..)?;
    }
    (!text.is_empty()).then_some(total)
}

fn fraction_nanos(fraction: &str) -> Option<i64> {
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<9}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        assert_eq!(render(0), NEVER);
        assert_eq!(render(1_795_469_618_548_854_670), "2026-11-23T21:33:38.54885467Z");
        assert_eq!(render(1_795_469_618_000_000_000), "2026-11-23T21:33:38Z");
        assert_eq!(render(1_795_469_620_000_000_000), "2026-11-23T21:33:40Z");
        assert_eq!(
            render_fixed(1_795_469_618_500_000_000),
            "2026-11-23T21:33:38.500000000Z"
        );
    }

    #[test]
    fn spans_and_days() {
        let now = 1_795_469_618_000_000_000;
        assert_eq!(parse_since("1h30m", now), Some(now - 5400 * NANOS_PER_SECOND));
        assert_eq!(parse_since("500ms", now), Some(now - 500_000_000));
        assert_eq!(parse_since("12", now), Some(12 * NANOS_PER_SECOND));
        let day = parse_rfc3339("2026-11-23T00:00:00Z");
        assert_eq!(parse_since("2026-11-23", now), day);
        assert_eq!(parse_since("2026-11-23T00:00", now), day);
        assert_eq!(parse_since("2026-11-23T00:00:00", now), day);
        for nonsense in [
            "",
            "h",
            "1x",
            "1h2",
            "99999999999999999999h",
            "é",
            "1é",
            "yesterday",
        ] {
            assert_eq!(parse_since(nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(parse_moment("12"), Some(12 * NANOS_PER_SECOND));
        assert_eq!(parse_moment("12.5"), Some(12 * NANOS_PER_SECOND + 500_000_000));
        assert_eq!(parse_moment("12.000000001"), Some(12 * NANOS_PER_SECOND + 1));
        assert_eq!(
            parse_moment("2026-11-23T21:33:38.5Z"),
            Some(1_795_469_618_500_000_000)
        );
        assert_eq!(parse_moment("soon"), None);
        assert_eq!(parse_moment("1.0000000001"), None);
        assert_eq!(parse_moment("99999999999999999999"), None);
    }
}

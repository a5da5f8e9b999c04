//! Times as people say them to logs and events, and as the engine takes them: Unix seconds with a fraction. Pure.

/// Seconds of an hour and of a day.
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Turns Unix seconds, a date (RFC 3339, or a part of one, in UTC unless it says otherwise) or an age (`1h30m`) into Unix
/// seconds. `now` is in Unix seconds. `None` for any other text.
pub(super) fn moment(text: &str, now: i64) -> Option<String> {
    if let Some(seconds) = age(text) {
        return Some((now - seconds).to_string());
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if digits(whole) && digits(fraction) {
        return Some(text.to_owned());
    }
    date(text)
}

/// Seconds of an age, such as `90s`, `1h30m` or `1.5h`.
fn age(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 5] = [("ns", 0), ("ms", 0), ("h", HOUR), ("m", 60), ("s", 1)];
    let mut rest = text;
    let mut sum = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        if end == 0 {
            return None;
        }
        let (unit, seconds) = UNITS
            .into_iter()
            .find(|(unit, _)| rest[end..].starts_with(unit))?;
        // Whole units and thousandths of them; more is of no use to a log.
        let (whole, part) = rest[..end].split_once('.').unwrap_or((&rest[..end], "0"));
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part: i64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
        sum = sum.checked_add(whole.checked_mul(seconds)?.checked_add(part * seconds / 1000)?)?;
        rest = &rest[end + unit.len()..];
    }
    (!text.is_empty()).then_some(sum)
}

/// `2026-11-25`, `2026-11-25T10:30`, `2026-11-25T10:30:05.25`, each with or without `Z` or `+01:00`.
fn date(text: &str) -> Option<String> {
    let (day, time) = text.split_once('T').unwrap_or((text, ""));
    let mut parts = day.split('-');
    let mut part = || number(parts.next()?);
    let (year, month, day) = (part()?, part()?, part()?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, offset) = zone(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut clock = clock.split(':').filter(|_| !time.is_empty());
    let mut part = || clock.next().map_or(Some(0), number);
    let (hour, minute, second) = (part()?, part()?, part()?);
    if clock.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * HOUR + minute * 60 + second - offset;
    if fraction.is_empty() {
        return Some(seconds.to_string());
    }
    number(fraction)?;
    Some(format!("{seconds}.{fraction}"))
}

/// The time without its zone, and the zone's seconds east of UTC.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let seconds = number(hours)? * HOUR + number(minutes)? * 60;
    let sign = if time[at..].starts_with('-') { -1 } else { 1 };
    Some((&time[..at], sign * seconds))
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Days from the first of January 1970 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Unix seconds as `2026-11-25T03:25:28`, in UTC.
pub(super) fn utc(seconds: i64) -> String {
    let (day, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (era, day_of_era) = (
        (day + 719_468).div_euclid(146_097),
        (day + 719_468).rem_euclid(146_097),
    );
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (month, of_month) = ((shifted + 2) % 12 + 1, day_of_year - (153 * shifted + 2) / 5 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / HOUR, rest % HOUR / 60, rest % 60);
    format!("{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_all_forms() {
        for (text, wanted) in [
            ("1700000000", Some("1700000000")),
            ("1700000000.25", Some("1700000000.25")),
            ("10m", Some("999400")),
            ("1h30m", Some("994600")),
            ("1.5h", Some("994600")),
            ("90s", Some("999910")),
            ("500ms", Some("1000000")),
            ("0s", Some("1000000")),
            ("1970-01-02", Some("86400")),
            ("2000-02-29T12:00", Some("951825600")),
            ("2026-11-25T03:25:28Z", Some("1795577128")),
            ("2026-11-25T03:25:28.5+01:00", Some("1795573528.5")),
            ("2026-11-25T03:25:28-00:30", Some("1795578928")),
            ("", None),
            ("m", None),
            ("5x", None),
            ("-5m", None),
            ("2026-13-01", None),
            ("2026-11-25T25:00", None),
            ("2026-11-25T1:2:3:4", None),
            ("yesterday", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(moment(text, 1_000_000).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn seconds_become_the_date_that_they_came_from() {
        for text in [
            "1970-01-01T00:00:00",
            "1999-12-31T23:59:59",
            "2000-02-29T12:00:00",
            "2026-11-25T03:25:28",
            "2100-03-01T00:00:01",
        ] {
            let seconds = moment(text, 0).expect("a date").parse().expect("a number");
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let letters = [
            "",
            "9",
            ".",
            "h",
            "ms",
            "-",
            ":",
            "T",
            "Z",
            "+",
            "é",
            "2026-11-25",
        ];
        for first in letters {
            for second in letters {
                for third in letters {
                    let text = format!("{first}{second}{third}");
                    let found = moment(&text, 1_000_000);
                    assert!(found.is_none_or(|found| {
                        found
                            .bytes()
                            .all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte))
                    }));
                }
            }
        }
    }
}

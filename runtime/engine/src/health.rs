//! Health checks: what is to be run when, and what its results make of a container. Pure.

use berth_wire::docker::{HealthConfig, HealthLogEntry, HealthState};
use serde::{Deserialize, Serialize};

use crate::clock;

/// Between two probes, in nanoseconds, unless the container says otherwise; Docker's.
const INTERVAL: i64 = 30_000_000_000;

/// How long a probe may take; Docker's.
const TIMEOUT: i64 = 30_000_000_000;

/// Failures in a row that make a container unhealthy; Docker's.
const RETRIES: i64 = 3;

/// Results that are kept; Docker's number. The oldest goes first.
const KEPT: usize = 5;

/// What is kept of a probe's output, in bytes; Docker's. The rest is thrown away.
pub(crate) const MAX_OUTPUT: usize = 4096;

/// What is run when nobody chose a shell.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The exit code of a probe that did not come to an end.
pub(crate) const NO_CODE: i64 = -1;

/// A check, completed. Times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) command: Vec<String>,
    pub(crate) timeout: i64,
    interval: i64,
    start_period: i64,
    start_interval: i64,
    retries: i64,
}

impl Check {
    /// None when there is nothing to check.
    pub(crate) fn of(config: Option<&HealthConfig>, shell: Option<&[String]>) -> Option<Self> {
        let config = config?;
        let (kind, words) = config.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                let usual = || SHELL.map(ToOwned::to_owned).to_vec();
                let mut command = shell.map_or_else(usual, <[String]>::to_vec);
                command.extend(words.first().cloned());
                command
            }
            _ => return None,
        };
        if command.is_empty() {
            return None;
        }
        let or = |asked: i64, usual: i64| if asked > 0 { asked } else { usual };
        let interval = or(config.interval, INTERVAL);
        Some(Self {
            command,
            timeout: or(config.timeout, TIMEOUT),
            interval,
            start_period: config.start_period.max(0),
            start_interval: or(config.start_interval, interval),
            retries: or(config.retries, RETRIES),
        })
    }

    /// Nanoseconds until the next probe of a container that has run for so long.
    pub(crate) fn delay(&self, health: &Health, age: i64) -> i64 {
        if health.status == HealthStatus::Starting && age < self.start_period {
            self.start_interval
        } else {
            self.interval
        }
    }
}

/// The words of documents, events and filters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    /// No probe has decided yet.
    #[default]
    Starting,
    /// The last probe succeeded, or too few have failed since.
    Healthy,
    /// Too many have failed in a row, or nothing is checked any more.
    Unhealthy,
}

impl HealthStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// As the list shows it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Starting => "health: starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How one probe went. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probed {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) exit_code: i64,
    pub(crate) output: String,
}

/// What is known of the health of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) status: HealthStatus,
    failing_streak: i64,
    log: Vec<Probed>,
}

impl Health {
    /// Takes a result of a container that was started then; true when the status is another one now.
    pub(crate) fn take(&mut self, check: &Check, probed: Probed, started_at: i64) -> bool {
        let before = self.status;
        let forgiven = before == HealthStatus::Starting && probed.start - started_at < check.start_period;
        if probed.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if !forgiven {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == KEPT {
            self.log.remove(0);
        }
        self.log.push(probed);
        self.status != before
    }

    /// Nothing is checked any more. Docker calls that unhealthy.
    pub(crate) fn end(&mut self) {
        self.status = HealthStatus::Unhealthy;
    }

    /// `State.Health` of an inspect.
    pub(crate) fn document(&self) -> HealthState {
        let entry = |probed: &Probed| HealthLogEntry {
            start: clock::render(probed.start),
            end: clock::render(probed.end),
            exit_code: probed.exit_code,
            output: probed.output.clone(),
        };
        HealthState {
            status: self.status.as_str().to_owned(),
            failing_streak: self.failing_streak,
            log: self.log.iter().map(entry).collect(),
        }
    }
}

/// What is said of a probe that took too long.
pub(crate) fn too_long(timeout: i64, output: &str) -> String {
    let words = format!("Health check exceeded timeout ({})", span(timeout));
    if output.is_empty() {
        words
    } else {
        format!("{words}: {output}")
    }
}

/// A span of time as Go writes it, in seconds or milliseconds.
fn span(nanos: i64) -> String {
    let millis = nanos / 1_000_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let fraction = if millis == 0 {
        String::new()
    } else {
        format!(".{millis:03}").trim_end_matches('0').to_owned()
    };
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{millis}ms"),
        (0, 0, second) => format!("{second}{fraction}s"),
        (0, minute, second) => format!("{minute}m{second}{fraction}s"),
        (hour, minute, second) => format!("{hour}h{minute}m{second}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = clock::NANOS_PER_SECOND;

    fn check(text: &str) -> Option<Check> {
        Check::of(Some(&serde_json::from_str(text).expect("a check")), None)
    }

    #[test]
    fn commands_and_defaults() {
        let command = |text: &str| check(text).map(|check| check.command.join("|"));
        assert_eq!(command(r#"{"Test":["CMD","a","b"]}"#).as_deref(), Some("a|b"));
        assert_eq!(
            command(r#"{"Test":["CMD-SHELL","a b"]}"#).as_deref(),
            Some("/bin/sh|-c|a b")
        );
        for nothing in [
            r#"{"Test":["NONE"]}"#,
            "{}",
            r#"{"Test":["CMD"]}"#,
            r#"{"Test":["x"]}"#,
        ] {
            assert_eq!(command(nothing), None, "{nothing}");
        }
        let usual = check(r#"{"Test":["CMD","a"]}"#).expect("a check");
        assert_eq!(
            (usual.interval, usual.timeout, usual.retries),
            (INTERVAL, TIMEOUT, 3)
        );
        assert_eq!(usual.delay(&Health::default(), 0), INTERVAL);
        let slow = check(r#"{"Test":["CMD","a"],"StartPeriod":9,"StartInterval":2,"Interval":5}"#);
        let slow = slow.expect("a check");
        let mut health = Health::default();
        assert_eq!((slow.delay(&health, 8), slow.delay(&health, 9)), (2, 5));
        health.status = HealthStatus::Healthy;
        assert_eq!(slow.delay(&health, 8), 5);
    }

    #[test]
    fn results_change_the_status() {
        let check = check(r#"{"Test":["CMD","a"],"Retries":2,"StartPeriod":10}"#).expect("a check");
        let mut health = Health::default();
        let mut step = |start: i64, exit_code: i64| {
            let changed = health.take(
                &check,
                Probed {
                    start,
                    exit_code,
                    ..Probed::default()
                },
                0,
            );
            format!("{} {} {changed}", health.status.as_str(), health.failing_streak)
        };
        assert_eq!(step(5, 1), "starting 0 false", "forgiven in its start period");
        assert_eq!(step(15, 1), "starting 1 false");
        assert_eq!(step(16, 0), "healthy 0 true");
        assert_eq!(step(17, 1), "healthy 1 false");
        assert_eq!(step(18, NO_CODE), "unhealthy 2 true");
        assert_eq!(step(19, 1), "unhealthy 3 false");
        assert_eq!(step(20, 0), "healthy 0 true");
        let document = health.document();
        assert_eq!(document.log.len(), KEPT);
        assert_eq!(document.log[0].exit_code, 0, "the oldest are gone");
    }

    #[test]
    fn words_of_a_timeout() {
        assert_eq!(too_long(3 * SECOND, ""), "Health check exceeded timeout (3s)");
        assert_eq!(
            too_long(SECOND / 2, "x"),
            "Health check exceeded timeout (500ms): x"
        );
        assert_eq!(span(90 * SECOND), "1m30s");
        assert_eq!(span(3_600 * SECOND), "1h0m0s");
        assert_eq!(span(SECOND * 5 / 2), "2.5s");
    }
}

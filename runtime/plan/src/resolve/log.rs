//! Where output is kept, and how much of it.

use std::collections::BTreeMap;

use berth_wire::docker::HostConfig;

use crate::error::PlanError;
use crate::spec::Log;
use crate::step::LogLimit;

/// Files of one log; more are refused, so that a reader can open all of them.
const MAX_FILES: u32 = 1000;

/// What the driver `local` keeps unless somebody says otherwise; Docker's.
const LOCAL: LogLimit = LogLimit {
    max_size: 20_000_000,
    max_files: 5,
};

pub(super) fn resolve(host: &HostConfig) -> Result<Log, PlanError> {
    let options = &host.log_config.config;
    match host.log_config.driver.as_str() {
        "" | "json-file" => Ok(Log {
            kept: true,
            limit: files("json-file", options, None)?,
        }),
        "local" => Ok(Log {
            kept: true,
            limit: files("local", options, Some(LOCAL))?,
        }),
        "none" => Ok(Log {
            kept: false,
            limit: None,
        }),
        name => Err(PlanError::LogDriver(name.to_owned())),
    }
}

fn files(
    driver: &'static str,
    options: &BTreeMap<String, String>,
    usual: Option<LogLimit>,
) -> Result<Option<LogLimit>, PlanError> {
    let mut max_size = usual.map(|limit| limit.max_size);
    let mut max_files = usual.map_or(1, |limit| limit.max_files);
    for (name, value) in options {
        let invalid = |reason| PlanError::Invalid {
            option: "LogConfig.Config",
            value: format!("{name}={value}"),
            reason,
        };
        match name.as_str() {
            "max-size" if value == "-1" => max_size = None,
            "max-size" => {
                let size = size(value).filter(|size| *size > 0);
                max_size = Some(size.ok_or_else(|| invalid("not a size such as 10m"))?);
            }
            "max-file" => {
                let count = value.parse::<u32>().map_err(|_| invalid("not a number"))?;
                if count < 1 {
                    return Err(PlanError::Limit("max-file cannot be less than 1"));
                }
                if count > MAX_FILES {
                    return Err(invalid("more than 1000 files"));
                }
                max_files = count;
            }
            "compress" if value == "false" => {}
            "compress" => {
                return Err(PlanError::Unsupported(
                    "compressed logs (LogConfig.Config compress)",
                ));
            }
            "mode" if value == "blocking" => {}
            "mode" | "max-buffer-size" => {
                return Err(PlanError::Unsupported(
                    "output that is not waited for (LogConfig.Config mode)",
                ));
            }
            "labels" | "labels-regex" | "env" | "env-regex" | "tag" => {
                return Err(PlanError::Unsupported(
                    "attributes in the log (LogConfig.Config labels, env, tag)",
                ));
            }
            _ => {
                return Err(PlanError::LogOption {
                    option: name.clone(),
                    driver,
                });
            }
        }
    }
    Ok(max_size.map(|max_size| LogLimit { max_size, max_files }))
}

/// A size as Docker reads those of logs: thousands, not 1024.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let digits = text.trim_end_matches(['k', 'm', 'g', 't']);
    let factor = match text.get(digits.len()..)? {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        let host: HostConfig =
            serde_json::from_str(&format!(r#"{{"LogConfig":{text}}}"#)).expect("a request");
        match resolve(&host) {
            Ok(Log { kept: false, .. }) => "none".to_owned(),
            Ok(Log { limit: None, .. }) => "endless".to_owned(),
            Ok(Log {
                limit: Some(limit), ..
            }) => format!("{} x {}", limit.max_size, limit.max_files),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn drivers_and_options() {
        for (request, wanted) in [
            ("{}", "endless"),
            (r#"{"Type":"none","Config":{"x":"y"}}"#, "none"),
            (r#"{"Type":"local"}"#, "20000000 x 5"),
            (
                r#"{"Type":"local","Config":{"max-size":"1k","max-file":"2"}}"#,
                "1000 x 2",
            ),
            (r#"{"Config":{"max-size":"10m"}}"#, "10000000 x 1"),
            (
                r#"{"Config":{"max-size":"2 MB","max-file":"3","compress":"false"}}"#,
                "2000000 x 3",
            ),
            (r#"{"Config":{"max-size":"-1"}}"#, "endless"),
            (r#"{"Config":{"max-file":"0"}}"#, "max-file cannot be less than 1"),
            (
                r#"{"Config":{"foo":"1"}}"#,
                "unknown log opt 'foo' for json-file log driver",
            ),
            (
                r#"{"Type":"syslog"}"#,
                "error looking up logging plugin syslog: plugin \"syslog\" not found",
            ),
        ] {
            assert_eq!(check(request), wanted, "{request}");
        }
        for size in ["x", "", "0", "1q", "99999999999999999999g", "1mm"] {
            let request = format!(r#"{{"Config":{{"max-size":"{size}"}}}}"#);
            assert!(check(&request).contains("not a size"), "{size}");
        }
        assert!(check(r#"{"Config":{"compress":"true"}}"#).contains("not supported"));
        assert!(check(r#"{"Config":{"tag":"a"}}"#).contains("not supported"));
    }
}

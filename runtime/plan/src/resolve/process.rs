//! The process: its command, environment, names and settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use berth_wire::docker::{ContainerConfig, ImageConfig, Words};

use super::HOSTNAME_DIGITS;
use super::mounts::clean;
use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{Ipc, Network};

/// Where commands are looked for unless somebody says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The kernel's limit for host and domain names, in bytes.
const NAME_LIMIT: usize = 64;

/// The name and number of each signal.
const SIGNALS: [(&str, u8); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first and the last real-time signal that programs may use.
const REAL_TIME: (u8, u8) = (34, 64);

/// Kernel settings that belong to the container's own namespaces.
const SETTINGS: [&str; 9] = [
    "kernel.domainname",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Entrypoint and arguments. An entrypoint of the request drops the image's arguments too; one empty word is an
/// entrypoint of nothing.
pub(super) fn command(config: &ContainerConfig, image: &ImageConfig) -> Result<Vec<String>, PlanError> {
    let own = |words: &Option<Words>| words.clone().filter(|words| !words.0.is_empty());
    let (mut entrypoint, mut arguments) = (own(&config.entrypoint), own(&config.cmd));
    if entrypoint.is_none() {
        if arguments.is_none() {
            arguments.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            entrypoint.clone_from(&image.entrypoint);
        }
    }
    let entrypoint = entrypoint.unwrap_or_default().0;
    let entrypoint = if entrypoint == [""] {
        Vec::new()
    } else {
        entrypoint
    };
    let command = [entrypoint, arguments.unwrap_or_default().0].concat();
    if command.is_empty() {
        return Err(PlanError::NoCommand);
    }
    without_zeros("Cmd", &command)?;
    Ok(command)
}

/// Defaults, the request's variables, then those of the image that the request does not name.
pub(super) fn environment(
    config: &ContainerConfig,
    image: &ImageConfig,
    hostname: &str,
) -> Result<Vec<String>, PlanError> {
    let key = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let named: BTreeSet<String> = config.env.iter().map(|variable| key(variable)).collect();
    let of_image = image
        .env
        .iter()
        .filter(|variable| !named.contains(&key(variable)));
    let defaults = [format!("PATH={PATH}"), format!("HOSTNAME={hostname}")];
    let more: Vec<String> = config.env.iter().chain(of_image).cloned().collect();
    overlay(&defaults, &more)
}

/// Variables with others in their places. A name without a value takes the variable away.
pub(super) fn overlay(env: &[String], more: &[String]) -> Result<Vec<String>, PlanError> {
    let key = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut env = env.to_vec();
    for variable in more {
        without_zero("Env", variable)?;
        let name = key(variable);
        if name.is_empty() {
            return Err(PlanError::Invalid {
                option: "environment variable",
                value: variable.clone(),
                reason: "the name is empty",
            });
        }
        let place = env.iter().position(|other| key(other) == name);
        match (place, variable.contains('=')) {
            (Some(place), true) => env[place].clone_from(variable),
            (Some(place), false) => drop(env.remove(place)),
            (None, true) => env.push(variable.clone()),
            (None, false) => {}
        }
    }
    Ok(env)
}

pub(super) fn working_dir(config: &ContainerConfig, image: &ImageConfig) -> Result<PathBuf, PlanError> {
    let path = match (config.working_dir.as_str(), image.working_dir.as_str()) {
        ("", "") => "/",
        ("", path) | (path, _) => path,
    };
    clean(path).ok_or_else(|| PlanError::WorkingDirectory(path.to_owned()))
}

/// The first digits of the id unless one is given; with the host's network the host's name.
pub(super) fn hostname(asked: &str, network: Network, id: &str, facts: &Facts) -> Result<String, PlanError> {
    if asked.is_empty() {
        let digits = || id.chars().take(HOSTNAME_DIGITS).collect();
        let host = (network == Network::Host).then(|| facts.hostname.clone());
        return Ok(host.filter(|name| !name.is_empty()).unwrap_or_else(digits));
    }
    name("Hostname", asked)
}

pub(super) fn domainname(asked: &str) -> Result<String, PlanError> {
    if asked.is_empty() {
        return Ok(String::new());
    }
    name("Domainname", asked)
}

fn name(option: &'static str, asked: &str) -> Result<String, PlanError> {
    let refuse = |reason| PlanError::Invalid {
        option,
        value: asked.to_owned(),
        reason,
    };
    if asked.len() > NAME_LIMIT {
        return Err(refuse("longer than 64 bytes"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !asked.bytes().all(plain) {
        return Err(refuse("only letters, digits, '-', '.' and '_' are allowed"));
    }
    Ok(asked.to_owned())
}

/// 0 when nobody asks for one.
pub(super) fn stop_signal(config: &ContainerConfig, image: &ImageConfig) -> Result<u8, PlanError> {
    match (config.stop_signal.as_str(), image.stop_signal.as_str()) {
        ("", "") => Ok(0),
        ("", text) | (text, _) => signal(text).ok_or_else(|| PlanError::Signal(text.to_owned())),
    }
}

/// A number, or a name with or without `SIG`, in any case.
fn signal(text: &str) -> Option<u8> {
    let (first, last) = REAL_TIME;
    if let Ok(number) = text.parse::<u8>() {
        return (1..=last).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |text: &str, sign| match text {
        "" => Some(0),
        text => text
            .strip_prefix(sign)?
            .parse::<u8>()
            .ok()
            .filter(|offset| *offset <= last - first),
    };
    if let Some(text) = name.strip_prefix("RTMIN") {
        return Some(first + offset(text, '+')?);
    }
    if let Some(text) = name.strip_prefix("RTMAX") {
        return Some(last - offset(text, '-')?);
    }
    SIGNALS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

/// Names as paths below `/proc/sys`.
pub(super) fn sysctls(
    asked: &BTreeMap<String, String>,
    network: Network,
    ipc: &Ipc,
    host_names: bool,
) -> Result<Vec<(String, String)>, PlanError> {
    let one = |(name, value): (&String, &String)| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let clean = name.bytes().all(plain) && name.split('.').all(|part| !part.is_empty());
        let of_network = name.starts_with("net.");
        let own = of_network || SETTINGS.contains(&name.as_str()) || name.starts_with("fs.mqueue.");
        if !clean || !own {
            return Err(PlanError::Sysctl(name.clone()));
        }
        if of_network && network == Network::Host {
            return Err(PlanError::HostSysctl(name.clone()));
        }
        let of_names = name == "kernel.domainname";
        if !of_network && (if of_names { host_names } else { *ipc == Ipc::Host }) {
            return Err(PlanError::SharedSysctl(name.clone()));
        }
        // Some readers of settings take a plus sign or a line break for the begin of the next one.
        if value.contains(['+', '\n', '\r', '\0']) {
            return Err(PlanError::Invalid {
                option: "Sysctls",
                value: format!("{name}={value}"),
                reason: "the value has a forbidden character",
            });
        }
        Ok((name.replace('.', "/"), value.clone()))
    };
    asked.iter().map(one).collect()
}

pub(super) fn without_zeros(option: &'static str, words: &[String]) -> Result<(), PlanError> {
    words.iter().try_for_each(|word| without_zero(option, word))
}

fn without_zero(option: &'static str, text: &str) -> Result<(), PlanError> {
    if text.contains('\0') {
        return Err(PlanError::Invalid {
            option,
            value: text.to_owned(),
            reason: "a zero byte is not allowed",
        });
    }
    Ok(())
}

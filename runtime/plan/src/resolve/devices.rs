//! Devices of the host, and rules for devices.

use berth_wire::docker::{DeviceMapping, HostConfig};

use super::mounts::clean;
use crate::error::PlanError;
use crate::spec::DeviceWish;
use crate::step::{DeviceKind, DeviceRule};

/// Devices and rules of one container: the program for version 2 of cgroups holds about so many.
const MAX_DEVICES: usize = 128;

pub(super) fn wishes(host: &HostConfig) -> Result<Vec<DeviceWish>, PlanError> {
    let asked = host.devices.as_deref().unwrap_or_default();
    if asked.len() > MAX_DEVICES {
        return Err(PlanError::Limit("too many devices: the limit is 128"));
    }
    asked.iter().map(wish).collect()
}

fn wish(mapping: &DeviceMapping) -> Result<DeviceWish, PlanError> {
    let path = |text: &str| {
        clean(text).ok_or_else(|| PlanError::Invalid {
            option: "device path",
            value: text.to_owned(),
            reason: "the path is not absolute",
        })
    };
    let host = path(&mapping.path_on_host)?;
    let container = match mapping.path_in_container.as_str() {
        "" => host.clone(),
        text => path(text)?,
    };
    let access = match mapping.cgroup_permissions.as_str() {
        "" => "rwm",
        access => access,
    };
    let (read, write, mknod) =
        self::access(access).ok_or_else(|| PlanError::DeviceMode(access.to_owned()))?;
    Ok(DeviceWish {
        host,
        container,
        read,
        write,
        mknod,
    })
}

/// Each of `r`, `w` and `m` at most once.
fn access(text: &str) -> Option<(bool, bool, bool)> {
    let (mut read, mut write, mut mknod) = (false, false, false);
    for letter in text.chars() {
        let flag = match letter {
            'r' => &mut read,
            'w' => &mut write,
            'm' => &mut mknod,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    (read || write || mknod).then_some((read, write, mknod))
}

pub(super) fn rules(host: &HostConfig) -> Result<Vec<DeviceRule>, PlanError> {
    let asked = host.device_cgroup_rules.as_deref().unwrap_or_default();
    if asked.len() > MAX_DEVICES {
        return Err(PlanError::Limit("too many rules for devices: the limit is 128"));
    }
    let mut rules = Vec::new();
    for text in asked {
        rules.extend(rule(text).ok_or_else(|| PlanError::DeviceRule(text.clone()))?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`; `a` for both kinds, `*` for all numbers.
fn rule(text: &str) -> Option<Vec<DeviceRule>> {
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words.as_slice() else {
        return None;
    };
    let kinds: &[DeviceKind] = match *kind {
        "a" => &[DeviceKind::Character, DeviceKind::Block],
        "c" => &[DeviceKind::Character],
        "b" => &[DeviceKind::Block],
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u32>().ok().map(Some),
        _ => None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let (major, minor) = (number(major)?, number(minor)?);
    let (read, write, mknod) = self::access(access)?;
    let rule = |kind: &DeviceKind| DeviceRule {
        kind: *kind,
        major,
        minor,
        read,
        write,
        mknod,
    };
    Some(kinds.iter().map(rule).collect())
}

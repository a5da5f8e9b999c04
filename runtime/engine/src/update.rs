//! Changed options of a container: what a request leaves out stays as it is. Pure.

use berth_plan::PlanError;
use berth_wire::docker::HostConfig;

/// The options of a container with those of a request, where 0 and nothing mean "as it was".
pub(crate) fn merged(old: &HostConfig, wish: &HostConfig) -> Result<HostConfig, PlanError> {
    let mut new = old.clone();
    let number = |own: &mut i64, wish: i64| {
        if wish != 0 {
            *own = wish;
        }
    };
    memory(old, wish)?;
    cpus(old, wish)?;
    number(&mut new.memory, wish.memory);
    number(&mut new.memory_swap, wish.memory_swap);
    number(&mut new.memory_reservation, wish.memory_reservation);
    number(&mut new.nano_cpus, wish.nano_cpus);
    number(&mut new.cpu_shares, wish.cpu_shares);
    number(&mut new.cpu_period, wish.cpu_period);
    number(&mut new.cpu_quota, wish.cpu_quota);
    for (own, wish) in [
        (&mut new.cpuset_cpus, &wish.cpuset_cpus),
        (&mut new.cpuset_mems, &wish.cpuset_mems),
    ] {
        if !wish.is_empty() {
            own.clone_from(wish);
        }
    }
    // 0 is none here, and absent is "as it was".
    if let Some(limit) = wish.pids_limit {
        new.pids_limit = Some(limit).filter(|limit| *limit > 0);
    }
    if wish.blkio_weight != 0 {
        new.blkio_weight = wish.blkio_weight;
    }
    if !wish.restart_policy.name.is_empty() {
        if old.auto_remove {
            return Err(PlanError::Limit(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        new.restart_policy = wish.restart_policy.clone();
    }
    Ok(new)
}

fn memory(old: &HostConfig, wish: &HostConfig) -> Result<(), PlanError> {
    let over = old.memory_swap > 0 && wish.memory_swap == 0 && wish.memory > old.memory_swap;
    if over {
        return Err(PlanError::Limit(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    Ok(())
}

fn cpus(old: &HostConfig, wish: &HostConfig) -> Result<(), PlanError> {
    let conflict = match () {
        () if wish.nano_cpus != 0 && old.cpu_period != 0 => {
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"
        }
        () if wish.nano_cpus != 0 && old.cpu_quota != 0 => {
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"
        }
        () if wish.cpu_period != 0 && old.nano_cpus != 0 => {
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"
        }
        () if wish.cpu_quota != 0 && old.nano_cpus != 0 => {
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
        }
        () => return Ok(()),
    };
    Err(PlanError::Limit(conflict))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostConfig {
        serde_json::from_str(text).expect("a host configuration")
    }

    #[test]
    fn what_is_not_said_stays() {
        let old = host(
            r#"{"Memory":10,"MemorySwap":20,"PidsLimit":5,"CpusetCpus":"0","RestartPolicy":{"Name":"always"}}"#,
        );
        assert_eq!(merged(&old, &host("{}")), Ok(old.clone()));
        let new = merged(
            &old,
            &host(r#"{"Memory":15,"PidsLimit":0,"CpusetCpus":"1","RestartPolicy":{"Name":"no"}}"#),
        )
        .expect("new options");
        assert_eq!((new.memory, new.memory_swap, new.pids_limit), (15, 20, None));
        assert_eq!(
            (new.cpuset_cpus.as_str(), new.restart_policy.name.as_str()),
            ("1", "no")
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |old: &str, wish: &str| merged(&host(old), &host(wish)).is_err();
        assert!(refused(r#"{"MemorySwap":20}"#, r#"{"Memory":30}"#));
        assert!(!refused(
            r#"{"MemorySwap":20}"#,
            r#"{"Memory":30,"MemorySwap":60}"#
        ));
        assert!(refused(r#"{"NanoCpus":1}"#, r#"{"CpuQuota":1}"#));
        assert!(refused(r#"{"CpuQuota":1}"#, r#"{"NanoCpus":1}"#));
        assert!(refused(
            r#"{"AutoRemove":true}"#,
            r#"{"RestartPolicy":{"Name":"always"}}"#
        ));
    }
}

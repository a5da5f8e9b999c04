//! Runs filters in a small interpreter of classic BPF.

use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

const SYS_ADMIN: u64 = 1 << 21;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Errno(u32),
    Kill,
}

const DENIED: Verdict = Verdict::Errno(1);
const UNKNOWN: Verdict = Verdict::Errno(38);

/// What the kernel would do; the second number says how many instructions it would take.
fn run(program: &[u64], interface: u32, number: u32, arguments: [u64; 6]) -> (Verdict, usize) {
    let mut data = [0_u8; 64];
    data[0..4].copy_from_slice(&number.to_le_bytes());
    data[4..8].copy_from_slice(&interface.to_le_bytes());
    for (index, argument) in arguments.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_le_bytes());
    }
    let (mut at, mut accumulator, mut steps) = (0, 0_u32, 0);
    let size = |number: u32| usize::try_from(number).unwrap();
    loop {
        let [code_low, code_high, if_true, if_false, k @ ..] = program[at].to_le_bytes();
        let (if_true, if_false) = (usize::from(if_true), usize::from(if_false));
        let k = u32::from_le_bytes(k);
        let branch = |taken: bool| 1 + if taken { if_true } else { if_false };
        steps += 1;
        at += match u16::from_le_bytes([code_low, code_high]) {
            0x20 => {
                assert_eq!(k % 4, 0, "the kernel refuses unaligned loads");
                let place = size(k);
                accumulator = u32::from_le_bytes(data[place..place + 4].try_into().unwrap());
                1
            }
            0x05 => 1 + size(k),
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x54 => {
                accumulator &= k;
                1
            }
            0x45 => branch(accumulator & k != 0),
            0x06 => {
                let verdict = match k & 0xffff_0000 {
                    0x7fff_0000 => Verdict::Allow,
                    0x0005_0000 => Verdict::Errno(k & 0xffff),
                    0x8000_0000 => Verdict::Kill,
                    other => panic!("no such action: {other:#x}"),
                };
                return (verdict, steps);
            }
            other => panic!("no such instruction: {other:#x}"),
        };
    }
}

struct Filter {
    program: Vec<u64>,
    architecture: Architecture,
}

impl Filter {
    fn new(architecture: Architecture, capabilities: u64) -> Self {
        Self {
            program: filter(architecture, capabilities).unwrap(),
            architecture,
        }
    }

    fn number(&self, interface: u32, name: &str) -> u32 {
        let table = tables::of(self.architecture)
            .iter()
            .find(|table| table.audit == interface)
            .unwrap();
        table.numbers[name]
    }

    fn call(&self, interface: u32, name: &str, arguments: &[u64]) -> Verdict {
        let mut six = [0; 6];
        six[..arguments.len()].copy_from_slice(arguments);
        run(&self.program, interface, self.number(interface, name), six).0
    }
}

fn default() -> Filter {
    Filter::new(Architecture::X86_64, capabilities::DEFAULT)
}

#[test]
fn ordinary_calls_are_allowed_and_dangerous_ones_are_not() {
    let filter = default();
    for name in [
        "read",
        "write",
        "openat",
        "execve",
        "exit_group",
        "futex",
        "chroot",
        "ptrace",
        "arch_prctl",
    ] {
        assert_eq!(filter.call(X86_64, name, &[]), Verdict::Allow, "{name}");
    }
    for name in [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "io_uring_setup",
        "userfaultfd",
        "kexec_load",
        "pivot_root",
        "open_by_handle_at",
        "init_module",
        "reboot",
        "perf_event_open",
        "settimeofday",
    ] {
        assert_eq!(filter.call(X86_64, name, &[]), DENIED, "{name}");
    }
}

#[test]
fn namespaces_are_made_only_by_administrators() {
    const CLONE_THREAD: u64 = 0x003d_0f00;
    let filter = default();
    assert_eq!(filter.call(X86_64, "clone", &[CLONE_THREAD]), Verdict::Allow);
    assert_eq!(filter.call(X86_64, "clone", &[17]), Verdict::Allow);
    for flag in [
        0x0002_0000,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ] {
        assert_eq!(filter.call(X86_64, "clone", &[flag | 17]), DENIED, "{flag:#x}");
        assert_eq!(filter.call(I386, "clone", &[flag | 17]), DENIED, "{flag:#x}");
    }
    assert_eq!(filter.call(X86_64, "clone3", &[]), UNKNOWN);
    let filter = Filter::new(Architecture::X86_64, capabilities::DEFAULT | SYS_ADMIN);
    assert_eq!(filter.call(X86_64, "clone", &[0x1000_0011]), Verdict::Allow);
    for name in ["clone3", "mount", "unshare", "setns", "bpf", "fsopen"] {
        assert_eq!(filter.call(X86_64, name, &[]), Verdict::Allow, "{name}");
    }
    for name in ["init_module", "keyctl", "pivot_root", "open_by_handle_at"] {
        assert_eq!(filter.call(X86_64, name, &[]), DENIED, "{name}");
    }
}

#[test]
fn arguments_decide() {
    let filter = default();
    for (argument, verdict) in [
        (0, Verdict::Allow),
        (8, Verdict::Allow),
        (0x20000, Verdict::Allow),
        (0x20008, Verdict::Allow),
        (0xffff_ffff, Verdict::Allow),
        (1, DENIED),
        (0x004_0000, DENIED),
        (0x1_0004_0000, DENIED),
    ] {
        assert_eq!(
            filter.call(X86_64, "personality", &[argument]),
            verdict,
            "{argument:#x}"
        );
    }
    for (family, verdict) in [
        (1, Verdict::Allow),
        (2, Verdict::Allow),
        (10, Verdict::Allow),
        (16, Verdict::Allow),
        (38, DENIED),
        (40, DENIED),
        // The kernel takes the family as an int.
        (0x1_0000_0026, DENIED),
        (0xffff_ffff_0000_0028, DENIED),
    ] {
        assert_eq!(filter.call(X86_64, "socket", &[family]), verdict, "{family:#x}");
        assert_eq!(filter.call(I386, "socket", &[family]), verdict, "{family:#x}");
    }
}

#[test]
fn unknown_numbers_and_interfaces() {
    let filter = default();
    let verdict = |interface, number| run(&filter.program, interface, number, [0; 6]).0;
    // Between the blocks of numbers nothing was ever assigned; behind the newest something will be.
    assert_eq!(verdict(X86_64, 400), DENIED);
    assert_eq!(verdict(X86_64, NEWEST_KNOWN), DENIED);
    for number in [NEWEST_KNOWN + 1, 1000, u32::MAX] {
        assert_eq!(verdict(X86_64, number), UNKNOWN, "{number}");
        assert_eq!(verdict(I386, number), UNKNOWN, "{number}");
    }
    // x32
    assert_eq!(verdict(X86_64, 0x4000_0000), UNKNOWN);
    assert_eq!(verdict(X86_64, 0x4000_0000 + 520), UNKNOWN);
    for interface in [AARCH64, ARM, 0, u32::MAX] {
        assert_eq!(verdict(interface, 0), Verdict::Kill, "{interface:#x}");
    }
}

#[test]
fn programs_of_32_bits_run() {
    let filter = default();
    for name in [
        "read",
        "mmap2",
        "fstat64",
        "clock_gettime64",
        "set_thread_area",
        "modify_ldt",
        "socketcall",
    ] {
        assert_eq!(filter.call(I386, name, &[]), Verdict::Allow, "{name}");
    }
    for name in ["mount", "umount", "vm86", "keyctl", "clock_settime64"] {
        assert_eq!(filter.call(I386, name, &[]), DENIED, "{name}");
    }
}

#[test]
fn the_other_machine() {
    let filter = Filter::new(Architecture::Aarch64, capabilities::DEFAULT);
    for (interface, name, verdict) in [
        (AARCH64, "read", Verdict::Allow),
        (AARCH64, "openat", Verdict::Allow),
        (AARCH64, "clone3", UNKNOWN),
        (AARCH64, "mount", DENIED),
        (ARM, "open", Verdict::Allow),
        (ARM, "cacheflush", Verdict::Allow),
        (ARM, "set_tls", Verdict::Allow),
        (ARM, "mount", DENIED),
    ] {
        assert_eq!(
            filter.call(interface, name, &[]),
            verdict,
            "{interface:#x} {name}"
        );
    }
    assert_eq!(run(&filter.program, ARM, 983_043, [0; 6]).0, UNKNOWN);
    assert_eq!(run(&filter.program, X86_64, 0, [0; 6]).0, Verdict::Kill);
}

/// Each call of each table, with each single capability: the program does what the profile says.
#[test]
fn the_program_says_what_the_profile_says() {
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        for capability in 0..41 {
            let set = 1 << capability;
            let filter = Filter::new(architecture, set);
            for table in tables::of(architecture) {
                let actions = actions(&DEFAULT_PROFILE, table, set);
                for number in 0..=NEWEST_KNOWN + 1 {
                    let found = run(&filter.program, table.audit, number, [0; 6]).0;
                    let wanted = match actions.get(&number) {
                        // All arguments are 0 here, which every test lets pass.
                        Some(Action::Allow | Action::Check { .. }) => Verdict::Allow,
                        Some(Action::Fail(errno)) => Verdict::Errno(u32::from(*errno)),
                        Some(Action::Answer(_) | Action::Rules { .. }) => {
                            panic!("the default profile has no rules of its own")
                        }
                        None if number > NEWEST_KNOWN => UNKNOWN,
                        None => DENIED,
                    };
                    assert_eq!(found, wanted, "{:#x} {number} with {set:#x}", table.audit);
                }
            }
        }
    }
}

#[test]
fn programs_are_short_and_quick() {
    for capabilities in [0, capabilities::DEFAULT, u64::MAX] {
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            let filter = Filter::new(architecture, capabilities);
            assert!(
                filter.program.len() < 1500,
                "{} instructions",
                filter.program.len()
            );
            for table in tables::of(architecture) {
                for number in 0..=NEWEST_KNOWN {
                    let steps = run(&filter.program, table.audit, number, [0; 6]).1;
                    assert!(steps < 32, "{number} takes {steps}");
                }
            }
        }
    }
}

/// Wide trees need jumps that are longer than a condition can make.
#[test]
fn long_jumps() {
    let actions: BTreeMap<u32, Action> = (0..2000)
        .step_by(2)
        .map(|number| (number, Action::Allow))
        .collect();
    let program = program::compile(&[(X86_64, actions)], 3000);
    for number in 0..2000 {
        let wanted = if number % 2 == 0 { Verdict::Allow } else { DENIED };
        assert_eq!(run(&program, X86_64, number, [0; 6]).0, wanted, "{number}");
    }
    assert_eq!(run(&program, X86_64, 3001, [0; 6]).0, UNKNOWN);
    assert_eq!(run(&program, I386, 0, [0; 6]).0, Verdict::Kill);
}

#[test]
fn the_data_is_complete() {
    let profile: serde_json::Value = serde_json::from_str(PROFILE).unwrap();
    assert_eq!(
        profile["newest_known"]["x86_64"],
        format!("file_setattr({NEWEST_KNOWN})")
    );
    assert_eq!(profile["default_action"]["errno"], "EPERM");
    for text in [
        include_str!("x86_64.txt"),
        include_str!("i386.txt"),
        include_str!("aarch64.txt"),
        include_str!("arm.txt"),
    ] {
        let mut numbers = BTreeMap::new();
        for line in text.lines() {
            let (name, number) = line.split_once(' ').unwrap();
            let number: u32 = number.parse().unwrap();
            assert!(
                numbers.insert(number, name).is_none_or(|other| {
                    // One number of ARM has two names.
                    other == "arm_sync_file_range" && name == "sync_file_range2"
                }),
                "{line}"
            );
        }
        assert_eq!(numbers[&NEWEST_KNOWN], "file_setattr");
    }
    for capability in DEFAULT_PROFILE.allow_with_cap.keys() {
        assert!(capabilities::bit(capability).is_some(), "{capability}");
    }
}

fn facts() -> Facts {
    Facts {
        cgroup: crate::facts::CgroupLayout::V2 {
            mount: "/cg".into(),
            controllers: Vec::new(),
        },
        swap_limit: false,
        cpu_quota: false,
        cpus: 1,
        memory_total: 0,
        last_capability: 40,
        bounding: u64::MAX,
        seccomp: true,
        apparmor: false,
        selinux: false,
        architecture: Some(Architecture::X86_64),
        kcore: false,
        ipv6: false,
        thermal_throttle: Vec::new(),
        kernel_release: "6.18.0-x".to_owned(),
        hostname: String::new(),
    }
}

fn own(profile: &str, capabilities: u64) -> Filter {
    Filter {
        program: filter_of(profile, Architecture::X86_64, capabilities, &facts()).unwrap(),
        architecture: Architecture::X86_64,
    }
}

#[test]
fn a_profile_of_ones_own_says_what_is_allowed() {
    let profile = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}],
        "syscalls":[
        {"names":["read","nosuchcall"],"action":"SCMP_ACT_ALLOW","args":null,"comment":"","includes":{},"excludes":{}},
        {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":28},
        {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
        {"names":["chmod"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
        {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
        {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.1"}},
        {"names":["sync"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}}]}"#;
    for (interface, capabilities, name, wanted) in [
        (X86_64, 0, "read", Verdict::Allow),
        (I386, 0, "read", Verdict::Allow),
        (X86_64, 0, "write", UNKNOWN),
        (X86_64, 0, "mkdir", Verdict::Errno(28)),
        (X86_64, 0, "mount", UNKNOWN),
        (X86_64, SYS_ADMIN, "mount", Verdict::Allow),
        (X86_64, 0, "chmod", Verdict::Allow),
        (X86_64, SYS_ADMIN, "chmod", UNKNOWN),
        (X86_64, 0, "ptrace", Verdict::Allow),
        (X86_64, 0, "bpf", UNKNOWN),
        (X86_64, 0, "sync", UNKNOWN),
    ] {
        let filter = own(profile, capabilities);
        assert_eq!(filter.call(interface, name, &[]), wanted, "{name}");
    }
    // An interface that the profile does not name.
    let alone = own(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, 0);
    assert_eq!(alone.call(X86_64, "write", &[]), Verdict::Allow);
    assert_eq!(alone.call(I386, "write", &[]), Verdict::Kill);
    // A list of what is forbidden is not passed by x32.
    assert_eq!(run(&alone.program, X86_64, 0x4000_0001, [0; 6]).0, UNKNOWN);
}

#[test]
fn arguments_are_compared_with_all_their_bits() {
    const BIG: u64 = 0x1_0000_0005;
    for (op, value, two, argument, fits) in [
        ("EQ", 5_u64, 0_u64, 5_u64, true),
        ("EQ", 5, 0, BIG, false),
        ("EQ", BIG, 0, BIG, true),
        ("NE", 5, 0, 5, false),
        ("NE", 5, 0, BIG, true),
        ("GT", 5, 0, 5, false),
        ("GT", 5, 0, 6, true),
        ("GT", 6, 0, BIG, true),
        ("GT", BIG, 0, 6, false),
        ("GE", 5, 0, 5, true),
        ("GE", BIG, 0, BIG, true),
        ("GE", BIG, 0, BIG - 1, false),
        ("LT", 5, 0, 5, false),
        ("LT", 5, 0, 4, true),
        ("LT", BIG, 0, 7, true),
        ("LT", 7, 0, BIG, false),
        ("LE", 5, 0, 5, true),
        ("LE", 5, 0, 6, false),
        ("LE", 7, 0, BIG, false),
        ("MASKED_EQ", 0xf0, 0x10, 0x1f, true),
        ("MASKED_EQ", 0xf0, 0x10, 0x2f, false),
        ("MASKED_EQ", 0xf_0000_0000_u64, 0x1_0000_0000_u64, BIG, true),
    ] {
        let profile = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["lseek"],"action":"SCMP_ACT_ALLOW",
            "args":[{{"index":1,"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}]}}]}}"#
        );
        let wanted = if fits { Verdict::Allow } else { DENIED };
        let found = own(&profile, 0).call(X86_64, "lseek", &[0, argument]);
        assert_eq!(found, wanted, "{argument:#x} {op} {value:#x}");
    }
    // All arguments of a rule, any of the rules.
    let profile = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["lseek"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},
        {"index":2,"value":2,"op":"SCMP_CMP_GE"}]},
        {"names":["lseek"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":9,"op":"SCMP_CMP_EQ"}]}]}"#;
    let filter = own(profile, 0);
    for (arguments, wanted) in [
        ([1, 0, 2], Verdict::Allow),
        ([1, 0, 1], DENIED),
        ([2, 0, 2], DENIED),
        ([9, 0, 0], Verdict::Allow),
    ] {
        assert_eq!(filter.call(X86_64, "lseek", &arguments), wanted, "{arguments:?}");
    }
}

#[test]
fn hostile_profiles_are_refused_and_nothing_panics() {
    let good = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["lseek"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#;
    for cut in 0..good.len() {
        let refused = filter_of(&good[..cut], Architecture::X86_64, 0, &facts());
        assert!(refused.is_err(), "{cut}");
    }
    for bad in [
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"x"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}]}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#,
    ] {
        let refused = filter_of(bad, Architecture::X86_64, 0, &facts()).unwrap_err();
        assert!(matches!(refused, PlanError::Profile(_)), "{refused}");
    }
    let many = |count: usize| {
        let one = r#"{"index":1,"value":1,"op":"SCMP_CMP_EQ"}"#;
        let list = vec![one; count].join(",");
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{list}]}}]}}"#
        )
    };
    let refused = filter_of(&many(1000), Architecture::X86_64, 0, &facts()).unwrap_err();
    assert!(matches!(refused, PlanError::FilterTooLong(_)), "{refused}");
}

//! The program is run by a small machine of its own, and must say what the rules say.

use super::*;

fn rule(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
    DeviceRule {
        kind,
        major,
        minor,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    }
}

fn rules() -> Vec<DeviceRule> {
    vec![
        rule(DeviceKind::Character, Some(1), Some(3), "rwm"),
        rule(DeviceKind::Character, Some(136), None, "rw"),
        rule(DeviceKind::Block, None, None, "m"),
    ]
}

/// Whether the program allows the access; panics at an instruction that it should not have.
fn allows(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0_u32; 11];
    let mut at = 0_usize;
    loop {
        let Instruction {
            code,
            registers: pair,
            offset,
            immediate,
        } = program[at];
        let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
        let value = immediate.cast_unsigned();
        at += 1;
        match code {
            0x61 => registers[to] = context[usize::try_from(offset / 4).unwrap()],
            0x54 => registers[to] &= value,
            0x74 => registers[to] >>= value,
            0xbc => registers[to] = registers[from],
            0xb7 => registers[to] = value,
            0x56 if registers[to] != value => at += usize::try_from(offset).unwrap(),
            0x56 => {}
            0x95 => return registers[0] == 1,
            other => panic!("instruction {other:#x}"),
        }
    }
}

#[test]
fn lines_are_the_kernels() {
    let lines: Vec<_> = rules().iter().map(line).collect();
    assert_eq!(lines, ["c 1:3 rwm", "c 136:* rw", "b *:* m"]);
}

#[test]
fn the_program_says_what_the_rules_say() {
    let program = program(&rules());
    let (block, character) = (1, 2);
    let (mknod, read, write) = (1, 2, 4);
    assert!(allows(&program, character, read | write | mknod, 1, 3));
    assert!(!allows(&program, character, read, 1, 5));
    assert!(!allows(&program, block, read, 1, 3));
    assert!(allows(&program, character, read | write, 136, 7));
    assert!(!allows(&program, character, mknod, 136, 7));
    assert!(allows(&program, block, mknod, 8, 0));
    assert!(!allows(&program, block, mknod | read, 8, 0));
    assert!(!allows(&super::program(&[]), character, read, 1, 3));
}

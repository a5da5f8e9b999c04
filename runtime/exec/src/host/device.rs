//! Device rules: as lines for version 1 of cgroups, as a program for version 2.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use berth_plan::{DeviceKind, DeviceRule};

use crate::error::ExecError;
use crate::sys::{self, Instruction};

/// More rules make no sense, and their program would be refused by the kernel's verifier.
const MAX_RULES: usize = 256;

pub(super) fn write_rules(directory: &Path, rules: &[DeviceRule]) -> Result<(), ExecError> {
    super::cgroup::write(&directory.join("devices.deny"), "a")?;
    let path = directory.join("devices.allow");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&path)?;
        for rule in rules {
            file.write_all(line(rule).as_bytes())?;
        }
        Ok(())
    };
    write().map_err(ExecError::path("writing", &path))
}

fn line(rule: &DeviceRule) -> String {
    let kind = match rule.kind {
        DeviceKind::Character => 'c',
        DeviceKind::Block => 'b',
    };
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let mut access = String::new();
    for (given, letter) in [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')] {
        if given {
            access.push(letter);
        }
    }
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

pub(super) fn attach_program(directory: &Path, rules: &[DeviceRule]) -> Result<(), ExecError> {
    let attach = || -> std::io::Result<()> {
        if rules.len() > MAX_RULES {
            return Err(rustix::io::Errno::TOOBIG.into());
        }
        let cgroup = File::open(directory)?;
        Ok(sys::bpf_attach_device_program(cgroup.as_fd(), &program(rules))?)
    };
    attach().map_err(ExecError::path("setting device rules of", directory))
}

/// `r1`: the context. `r2`: kind. `r3`: access. `r4`: major. `r5`: minor. `r6`: for the comparison.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    const LOAD_WORD: u8 = 0x61;
    const AND: u8 = 0x54;
    const SHIFT_RIGHT: u8 = 0x74;
    let load = |into: u8, offset: i16| instruction(LOAD_WORD, into | 1 << 4, offset, 0);
    let mut program = vec![
        load(2, 0),
        load(3, 0),
        load(4, 4),
        load(5, 8),
        instruction(AND, 2, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 16),
    ];
    for rule in rules {
        let mut compare = comparisons(rule);
        let (verdict, count) = (answer(1), compare.len());
        for (place, instruction) in compare.iter_mut().enumerate() {
            if instruction.code == JUMP_NOT_EQUAL {
                // To what comes after the verdict.
                instruction.offset = i16::try_from(count - place - 1 + verdict.len()).unwrap_or(i16::MAX);
            }
        }
        program.extend(compare);
        program.extend(verdict);
    }
    program.extend(answer(0));
    program
}

/// A comparison of the low 32 bits with a constant; jumps to the next rule.
const JUMP_NOT_EQUAL: u8 = 0x56;

fn comparisons(rule: &DeviceRule) -> Vec<Instruction> {
    const MOVE_REGISTER: u8 = 0xbc;
    const AND: u8 = 0x54;
    const BLOCK: i32 = 1;
    const CHARACTER: i32 = 2;
    const MKNOD: i32 = 1;
    const READ: i32 = 2;
    const WRITE: i32 = 4;
    let kind = match rule.kind {
        DeviceKind::Block => BLOCK,
        DeviceKind::Character => CHARACTER,
    };
    let mut denied = MKNOD | READ | WRITE;
    for (given, bit) in [(rule.mknod, MKNOD), (rule.read, READ), (rule.write, WRITE)] {
        if given {
            denied &= !bit;
        }
    }
    let differs = |register: u8, value: i32| instruction(JUMP_NOT_EQUAL, register, 0, value);
    let mut compare = vec![
        differs(2, kind),
        instruction(MOVE_REGISTER, 6 | 3 << 4, 0, 0),
        instruction(AND, 6, 0, denied),
        differs(6, 0),
    ];
    compare.extend(rule.major.map(|major| differs(4, major.cast_signed())));
    compare.extend(rule.minor.map(|minor| differs(5, minor.cast_signed())));
    compare
}

fn answer(verdict: i32) -> [Instruction; 2] {
    const MOVE: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    [instruction(MOVE, 0, 0, verdict), instruction(EXIT, 0, 0, 0)]
}

fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

#[cfg(test)]
mod tests;

//! Rules for the text of source files and documents.

use std::path::{Path, PathBuf};

use crate::{expect_none, files, read, root};

/// Longest source file, tests not counted.
const LONGEST_FILE: usize = 800;

fn rust_files() -> Vec<PathBuf> {
    files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

/// The file without its `#[cfg(test)]` tail.
fn product_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count()
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let findings: Vec<String> = rust_files()
        .iter()
        .filter(|path| !read(path).starts_with("//! "))
        .map(|path| path.display().to_string())
        .collect();
    expect_none(
        "these files do not begin with a line that says what they are for",
        &findings,
    );
}

#[test]
fn files_stay_short_enough_to_read() {
    let findings: Vec<String> = rust_files()
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| (path, product_lines(&read(path))))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    expect_none("these files are longer than 800 lines", &findings);
}

#[test]
fn no_file_has_a_name_without_meaning() {
    let empty = [
        "utils.rs",
        "util.rs",
        "helpers.rs",
        "common.rs",
        "misc.rs",
        "mod.rs",
    ];
    let findings: Vec<String> = rust_files()
        .iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| empty.iter().any(|bad| name == *bad))
        })
        .map(|path| path.display().to_string())
        .collect();
    expect_none("these names say nothing", &findings);
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let mut findings = Vec::new();
    for path in rust_files() {
        let text = read(&path);
        let allowed = path == Path::new("runtime/exec/src/sys.rs");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let word = ["unsafe ", "unsafe{"]
                .iter()
                .any(|word| code.trim_start().starts_with(word) || code.contains(&format!(" {word}")));
            if word && !allowed && !path.starts_with("tests/tidy") {
                findings.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    expect_none("unsafe code outside runtime/exec/src/sys.rs", &findings);
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let roots: Vec<PathBuf> = rust_files()
        .into_iter()
        .filter(|path| {
            path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") || path.ends_with("cli/main.rs")
        })
        .collect();
    let findings: Vec<String> = roots
        .iter()
        .filter(|path| !path.starts_with("runtime/exec"))
        .filter(|path| !read(path).contains("#![forbid(unsafe_code)]"))
        .map(|path| path.display().to_string())
        .collect();
    expect_none("these crates do not forbid unsafe code", &findings);
}

#[test]
fn nothing_unfinished_and_nothing_of_one_machine() {
    let marks = [
        "todo!(",
        "unimplemented!(",
        "FIXME",
        "XXX",
        "#[ignore]",
        "dbg!(",
        "/work/",
        "/farm/",
        "bash_jobs",
    ];
    let mut findings = Vec::new();
    for path in files() {
        if path.starts_with("tests/tidy") || path == Path::new("Cargo.lock") {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                findings.push(format!("{}:{}: {mark}", path.display(), number + 1));
            }
        }
    }
    expect_none("unfinished marks and paths of one machine", &findings);
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    let mut findings = Vec::new();
    for path in rust_files()
        .iter()
        .filter(|path| path.starts_with("tests") && !path.starts_with("tests/tidy"))
    {
        // The harness polls with a deadline in one place.
        if path.ends_with("harness/src/wait.rs") {
            continue;
        }
        for (number, line) in read(path).lines().enumerate() {
            if line.contains("sleep(") {
                findings.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    expect_none("sleeps in tests", &findings);
}

#[test]
fn raft_rs_is_driven_in_one_file() {
    let findings: Vec<String> = rust_files()
        .iter()
        .filter(|path| !path.starts_with("tests/tidy") && !path.ends_with("replica/src/ready.rs"))
        .filter(|path| {
            read(path)
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains("RawNode"))
        })
        .map(|path| path.display().to_string())
        .collect();
    expect_none("RawNode named outside server/replica/src/ready.rs", &findings);
}

#[test]
fn the_architecture_names_files_that_exist() {
    let text = read(Path::new("docs/ARCHITECTURE.md"));
    let mut named = 0;
    let mut findings = Vec::new();
    for word in text.split(|c: char| c == '`' || c.is_whitespace()) {
        let word = word.trim_end_matches(['.', ',', ';', ':', ')']);
        let looks_like_path =
            word.contains('/') && (word.ends_with(".rs") || word.ends_with(".md") || word.ends_with('/'));
        if looks_like_path && !word.contains("://") && !word.starts_with('/') {
            named += 1;
            if !root().join(word).exists() {
                findings.push(word.to_owned());
            }
        }
    }
    assert!(named > 20, "docs/ARCHITECTURE.md names only {named} files");
    expect_none("docs/ARCHITECTURE.md names files that are not there", &findings);
}

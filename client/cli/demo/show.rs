//! What the demo prints: headings, steps with check marks, command lines, answers.

use std::io;

use crate::demo::world::World;
use crate::terminal::print_line;

/// Lines of each log that a failure shows.
const LOG_LINES: usize = 15;

pub(super) fn heading(text: &str) -> io::Result<()> {
    print_line(&format!("\n{text}"))
}

pub(super) fn right(text: &str) -> io::Result<()> {
    print_line(&format!("  ✓ {text}"))
}

pub(super) fn wrong(text: &str) -> io::Result<()> {
    print_line(&format!("  ✗ {text}"))
}

pub(super) fn wait(text: &str) -> io::Result<()> {
    print_line(&format!("  … {text}"))
}

/// A command line that can be pasted.
pub(super) fn command(words: &[&str]) -> io::Result<()> {
    print_line(&format!("  $ {}", shell_line(words)))
}

pub(super) fn answer(text: &str) -> io::Result<()> {
    for line in text.trim_end().lines() {
        print_line(&format!("    {line}"))?;
    }
    Ok(())
}

/// The ends of the logs of store and engine.
pub(super) fn logs(world: &World) -> io::Result<()> {
    for path in world.logs() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let lines: Vec<&str> = text.lines().collect();
        print_line(&format!("\nthe end of {}:", path.display()))?;
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            print_line(&format!("    {line}"))?;
        }
    }
    Ok(())
}

/// Words as a shell takes them.
fn shell_line(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    quoted.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted() {
        assert_eq!(
            shell_line(&["curl", "-s", "http://h:1/k?a=b&c=d", "-d", "it's", ""]),
            r"curl -s 'http://h:1/k?a=b&c=d' -d 'it'\''s' ''"
        );
        assert_eq!(
            shell_line(&["curl", "http://127.0.0.1:1/v2/keys/x"]),
            "curl http://127.0.0.1:1/v2/keys/x"
        );
    }
}

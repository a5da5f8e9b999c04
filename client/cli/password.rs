//! Asking for a password: not shown on a terminal, a line of standard input elsewhere.

use std::io::{self, Read as _};

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};

use crate::exit::{Failure, INTERRUPTED};

/// The longest line that is read; a longer one is cut, and is nobody's password.
const MAX_LINE: u64 = 4 << 10;

/// What Ctrl-C types.
const CTRL_C: u8 = 3;

/// The terminal as it was before; it is so again when this is dropped.
struct Hidden(Termios);

impl Hidden {
    /// Types are not shown from now on. None if standard input is no terminal.
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut quiet = before.clone();
        // Ctrl-C ends the line instead of the process, which would leave the terminal as it is now.
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        quiet.control_chars[SpecialCharacterIndices::VEOL as usize] = CTRL_C;
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &quiet).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}

/// Asks for a password; `say` prints the question and the end of its line.
pub(crate) fn ask(question: &str, say: impl Fn(&str) -> io::Result<()>) -> Result<String, Failure> {
    say(question)?;
    let hidden = Hidden::begin();
    let line = read_line();
    drop(hidden);
    say("\n")?;
    let line = line?;
    if line.contains(&CTRL_C) {
        return Err(Failure {
            code: INTERRUPTED,
            error: None,
        });
    }
    String::from_utf8(line).map_err(|_| Failure::usage("the password is not UTF-8".to_owned()))
}

fn read_line() -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    for byte in io::stdin().lock().take(MAX_LINE).bytes() {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
        if line.last() == Some(&CTRL_C) {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

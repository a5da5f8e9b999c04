//! The terminal of the person at this end of a session: its size, and raw mode, in which every key goes to the other end.

use std::io::{self, Stdin, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

impl Size {
    /// The size of the terminal on standard output, if there is one that knows it.
    #[must_use]
    pub fn of_stdout() -> Option<Self> {
        let size = tcgetwinsize(stdout()).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some(Self {
            rows: size.ws_row,
            columns: size.ws_col,
        })
    }
}

/// Whether standard input is a terminal.
#[must_use]
pub fn stdin_is_terminal() -> bool {
    isatty(stdin())
}

/// The terminal on standard input in raw mode. Dropping it brings the old mode back.
pub struct RawConsole {
    stdin: Stdin,
    before: Termios,
}

impl std::fmt::Debug for RawConsole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawConsole").finish_non_exhaustive()
    }
}

impl RawConsole {
    /// Sets raw mode.
    ///
    /// # Errors
    /// What the system says, where standard input is no terminal.
    pub fn set() -> io::Result<Self> {
        let stdin = stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for RawConsole {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}

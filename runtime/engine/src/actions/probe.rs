//! Probes of health: another process in the container, with a limit of time.

use std::time::Duration;

use berth_exec::Attach;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::{Actions, report};
use crate::clock;
use crate::error::Failure;
use crate::handle::{Begun, Input};
use crate::health::{MAX_OUTPUT, NO_CODE, Probed, too_long};

const SIGKILL: i32 = 9;

impl Actions {
    /// Reports `ProbeDue` after so many nanoseconds.
    pub(crate) fn arm_probe(&self, id: &str, number: u64, nanos: i64) {
        let (inputs, id) = (self.shared.inputs.clone(), id.to_owned());
        self.shared.runtime.spawn(async move {
            tokio::time::sleep(duration(nanos)).await;
            report(&inputs, Input::ProbeDue { id, number }).await;
        });
    }

    /// Runs a probe; `Probed` comes back.
    pub(crate) fn probe(&self, begun: Begun, number: u64, timeout: i64) {
        let actions = self.clone();
        self.shared.runtime.spawn(async move {
            let (id, exec) = (begun.container.id.clone(), begun.found.exec.id.clone());
            let start = clock::now();
            let mut output = Vec::new();
            let run = actions.run_probe(begun, &mut output);
            let ended = tokio::time::timeout(duration(timeout), run).await;
            let text = String::from_utf8_lossy(&output).into_owned();
            let (exit_code, output) = match ended {
                Ok(Ok(code)) => (code, text),
                Ok(Err(failure)) => (NO_CODE, failure.to_string()),
                Err(_) => {
                    actions.signal(&exec, SIGKILL, None);
                    (NO_CODE, too_long(timeout, &text))
                }
            };
            let probed = Probed {
                start,
                end: clock::now(),
                exit_code,
                output,
            };
            let input = Input::Probed {
                id,
                number,
                exec,
                probed,
            };
            report(&actions.shared.inputs, input).await;
        });
    }

    async fn run_probe(&self, begun: Begun, output: &mut Vec<u8>) -> Result<i64, Failure> {
        let Begun {
            container,
            found,
            spec,
        } = begun;
        let attach = Attach {
            stdin: false,
            stdout: true,
            stderr: true,
            raw: true,
        };
        let exec = &found.exec.id;
        let mut live = match self.attach(exec, attach).await {
            Ok(live) => live,
            Err(failure) => {
                self.exec_failed(exec).await;
                return Err(failure);
            }
        };
        self.launch_exec(&container, spec).await?;
        keep(&mut live, output).await?;
        let mut state = found.state;
        let ended = state.wait_for(|state| state.exit_code.is_some()).await;
        let code = ended.ok().and_then(|state| state.exit_code);
        Ok(code.unwrap_or(NO_CODE))
    }
}

/// Reads to the end, and keeps the beginning.
async fn keep(live: &mut UnixStream, output: &mut Vec<u8>) -> Result<(), Failure> {
    let mut piece = [0; MAX_OUTPUT];
    loop {
        let count = live.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        let room = MAX_OUTPUT - output.len();
        output.extend_from_slice(&piece[..count.min(room)]);
    }
}

fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

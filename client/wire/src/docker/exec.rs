//! Further processes in a running container: what is to run, how it begins, and what became of it.

use super::Words;

document! {
    /// The body of an exec create request.
    pub struct ExecConfig {
        pub user: String,
        pub privileged: bool,
        pub tty: bool,
        pub console_size: Option<Vec<u32>>,
        pub attach_stdin: bool,
        pub attach_stdout: bool,
        pub attach_stderr: bool,
        pub detach: bool,
        pub detach_keys: String,
        pub env: Option<Vec<String>>,
        pub working_dir: String,
        pub cmd: Option<Words>,
    }

    /// The body of an exec start request.
    pub struct ExecStart {
        pub detach: bool,
        pub tty: bool,
        pub console_size: Option<Vec<u32>>,
    }

    /// The inspect document of an exec; the exit code is `null` until it has ended.
    pub struct ExecInspect {
        #[serde(rename = "ID")]
        pub id: String,
        pub running: bool,
        pub exit_code: Option<i64>,
        pub process_config: ExecProcess,
        pub open_stdin: bool,
        pub open_stderr: bool,
        pub open_stdout: bool,
        pub can_remove: bool,
        #[serde(rename = "ContainerID")]
        pub container_id: String,
        pub detach_keys: String,
        pub pid: i64,
    }

    /// The command of an exec; Docker spells these names in small letters.
    pub struct ExecProcess {
        #[serde(rename = "tty")]
        pub tty: bool,
        #[serde(rename = "entrypoint")]
        pub entrypoint: String,
        #[serde(rename = "arguments")]
        pub arguments: Vec<String>,
        #[serde(rename = "privileged")]
        pub privileged: bool,
        #[serde(rename = "user", skip_serializing_if = "String::is_empty")]
        pub user: String,
    }
}

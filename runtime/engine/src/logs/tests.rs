//! Log files as text in, output as text out.

use std::io::Write as _;

use berth_wire::docker::FrameDecoder;

use super::*;

fn everything() -> LogOptions {
    LogOptions {
        stdout: true,
        stderr: true,
        since: None,
        until: None,
        tail: None,
        timestamps: false,
        details: false,
        follow: false,
        raw: false,
    }
}

fn line(text: &str, stream: &str, second: u32) -> String {
    let log = serde_json::to_string(text).expect("a string");
    format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{second:02}Z\"}}\n")
}

fn sample() -> String {
    line("one\n", "stdout", 1)
        + &line("two\n", "stderr", 2)
        + "{\"log\":\"cut"
        + "\n"
        + &line("three\n", "stdout", 3)
}

fn shown(content: &str, options: LogOptions) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content.as_bytes()).expect("written");
    let mut reader = LogReader::open(file.path(), options)
        .expect("opened")
        .expect("there");
    let mut decoder = FrameDecoder::new();
    let mut text = String::new();
    while let Some(batch) = reader.next_batch().expect("a batch") {
        decoder.push(&batch);
        while let Some(frame) = decoder.next_frame().expect("a frame") {
            text += &format!(
                "{}:{}",
                frame.stream.code(),
                String::from_utf8_lossy(&frame.payload)
            );
        }
    }
    text
}

#[test]
fn records_become_frames() {
    assert_eq!(shown(&sample(), everything()), "1:one\n2:two\n1:three\n");
    assert_eq!(
        shown(
            &sample(),
            LogOptions {
                stderr: false,
                ..everything()
            }
        ),
        "1:one\n1:three\n"
    );
    assert_eq!(shown("", everything()), "");
}

#[test]
fn tails() {
    for (tail, wanted) in [
        (0, ""),
        (1, "1:three\n"),
        (3, "2:two\n1:three\n"),
        (99, "1:one\n2:two\n1:three\n"),
    ] {
        assert_eq!(
            shown(
                &sample(),
                LogOptions {
                    tail: Some(tail),
                    ..everything()
                }
            ),
            wanted,
            "tail {tail}"
        );
    }
}

#[test]
fn tail_of_a_long_file_crosses_blocks() {
    let content: String = (0..5000)
        .map(|number| line(&format!("{number:040}\n"), "stdout", 1))
        .collect();
    let text = shown(
        &content,
        LogOptions {
            tail: Some(3000),
            ..everything()
        },
    );
    assert_eq!(text.lines().count(), 3000);
    assert!(text.starts_with(&format!("1:{:040}", 2000)));
}

#[test]
fn spans_of_time() {
    let moment = |second: u32| clock::parse_rfc3339(&format!("2026-01-01T00:00:{second:02}Z"));
    assert_eq!(
        shown(
            &sample(),
            LogOptions {
                since: moment(2),
                ..everything()
            }
        ),
        "2:two\n1:three\n"
    );
    assert_eq!(
        shown(
            &sample(),
            LogOptions {
                until: moment(2),
                ..everything()
            }
        ),
        "1:one\n2:two\n"
    );
}

#[test]
fn timestamps_stand_inside_the_frame() {
    let options = LogOptions {
        timestamps: true,
        tail: Some(1),
        ..everything()
    };
    assert_eq!(
        shown(&sample(), options),
        "1:2026-01-01T00:00:03.000000000Z three\n"
    );
}

#[tokio::test]
async fn following_ends_with_the_container() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(line("one\n", "stdout", 1).as_bytes())
        .expect("written");
    let (state, run) = watch::channel(RunState {
        running: true,
        ..RunState::default()
    });
    let options = LogOptions {
        follow: true,
        raw: true,
        ..everything()
    };
    let mut output = read(file.path().to_owned(), options, run);
    assert_eq!(output.recv().await.expect("a batch").expect("read"), "one\n");
    file.write_all(line("two\n", "stdout", 2).as_bytes())
        .expect("written");
    assert_eq!(output.recv().await.expect("a batch").expect("read"), "two\n");
    file.write_all(line("three\n", "stdout", 3).as_bytes())
        .expect("written");
    state.send_modify(|state| state.running = false);
    let mut rest = Vec::new();
    while let Some(batch) = output.recv().await {
        rest.extend_from_slice(&batch.expect("read"));
    }
    assert_eq!(rest, b"three\n");
}

#[tokio::test]
async fn a_container_that_never_ran_has_no_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_state, run) = watch::channel(RunState::default());
    let mut output = read(directory.path().join("none"), everything(), run);
    assert!(output.recv().await.is_none());
}

/// A log of several files; what a reader shows of it, also after the keeper has gone on.
struct Files {
    place: tempfile::TempDir,
}

impl Files {
    fn new(contents: &[&str]) -> Self {
        let files = Self {
            place: tempfile::tempdir().expect("a directory"),
        };
        for (number, content) in contents.iter().enumerate() {
            files.write(number, content);
        }
        files
    }

    fn path(&self, number: usize) -> PathBuf {
        let name = if number == 0 {
            "log".to_owned()
        } else {
            format!("log.{number}")
        };
        self.place.path().join(name)
    }

    fn write(&self, number: usize, words: &str) {
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.path(number))
            .expect("a file");
        for word in words.split_whitespace() {
            file.write_all(line(&format!("{word} "), "stdout", 1).as_bytes())
                .expect("written");
        }
    }

    fn rotate(&self, kept: usize) {
        for number in (0..kept).rev() {
            let _ = std::fs::rename(self.path(number), self.path(number + 1));
        }
        let _ = std::fs::remove_file(self.path(kept + 1));
    }

    fn reader(&self, tail: Option<u64>) -> LogReader {
        let options = LogOptions {
            tail,
            raw: true,
            ..everything()
        };
        LogReader::open(&self.path(0), options)
            .expect("opened")
            .expect("there")
    }
}

fn rest(reader: &mut LogReader) -> String {
    let mut text = String::new();
    while let Some(batch) = reader.next_batch().expect("a batch") {
        text.push_str(std::str::from_utf8(&batch).expect("text"));
    }
    text.trim_end().to_owned()
}

#[test]
fn several_files_are_one_log() {
    let files = Files::new(&["e f", "c d", "a b"]);
    assert_eq!(rest(&mut files.reader(None)), "a b c d e f");
    for (tail, wanted) in [
        (0, ""),
        (1, "f"),
        (2, "e f"),
        (3, "d e f"),
        (5, "b c d e f"),
        (9, "a b c d e f"),
    ] {
        assert_eq!(rest(&mut files.reader(Some(tail))), wanted, "{tail}");
    }
}

#[test]
fn a_reader_follows_through_renamed_and_emptied_files() {
    let files = Files::new(&["c", "b", "a"]);
    let mut reader = files.reader(None);
    assert_eq!(rest(&mut reader), "a b c");
    files.write(0, "d");
    files.rotate(3);
    files.write(0, "e");
    files.rotate(3);
    files.write(0, "f");
    assert_eq!(rest(&mut reader), "d e f");
    files.rotate(3);
    // Between the renaming and the making of the next file.
    assert_eq!(rest(&mut reader), "");
    files.write(0, "g");
    assert_eq!(rest(&mut reader), "g");
    let alone = Files::new(&["a b c"]);
    let mut reader = alone.reader(None);
    assert_eq!(rest(&mut reader), "a b c");
    std::fs::File::options()
        .write(true)
        .open(alone.path(0))
        .expect("a file")
        .set_len(0)
        .expect("emptied");
    alone.write(0, "d");
    assert_eq!(rest(&mut reader), "d");
}

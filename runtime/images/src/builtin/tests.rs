//! The built-in image, made from the test's own executable, and run in a root that has nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::store::ImageStore;

const NAME: &str = "berth/hello:latest";

#[test]
fn it_is_made_once_for_each_executable() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(&place.path().join("images")).unwrap();
    let executable = place.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &executable).unwrap();
    let first = store.builtin(&executable, NAME).unwrap();
    assert_eq!(first.names, [NAME]);
    assert_eq!(first.config.cmd.as_ref().unwrap().0, ["/bin/berth", "__hello"]);
    assert!(first.config.exposed_ports.contains_key("80/tcp"));
    assert_eq!(store.builtin(&executable, NAME).unwrap(), first);
    let mut changed = fs::read(&executable).unwrap();
    changed.push(0);
    fs::write(&executable, changed).unwrap();
    let second = store.builtin(&executable, NAME).unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(store.resolve(NAME).unwrap().id, second.id);
    store.builtin(Path::new("/etc/passwd"), NAME).unwrap_err();
    store.builtin(&place.path().join("nothing"), NAME).unwrap_err();
}

#[test]
fn the_program_runs_with_nothing_but_the_image() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(&place.path().join("images")).unwrap();
    store.builtin(&std::env::current_exe().unwrap(), NAME).unwrap();
    let layers = store
        .container_layers(NAME, &place.path().join("container"))
        .unwrap();
    let output = Command::new("chroot")
        .arg(&layers.lower[1])
        .args(["/bin/berth", "--list", "the_program_runs_with"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("the_program_runs_with_nothing_but_the_image"));
}

//! The store over restarts, with names, conflicts and damage.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{ImageStore, Removed};
use crate::error::{ImageError, ImageErrorKind};
use crate::unpack::tests::Tar;

fn archive(content: &str) -> Vec<u8> {
    Tar::default().file("file", content).finish()
}

fn import(store: &ImageStore, content: &str, name: Option<&str>) -> super::Image {
    store
        .import(archive(content).as_slice(), name, &[], "Imported from -")
        .unwrap()
}

fn untagged(name: &str) -> Removed {
    Removed::Untagged(name.to_owned())
}

/// Files and directories below the store, as far as they belong to images.
fn parts(root: &Path) -> (usize, usize, usize) {
    let count = |name: &str| fs::read_dir(root.join(name)).unwrap().count();
    (count("configs"), count("layers"), count("tmp"))
}

#[test]
fn an_import_is_there_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("images");
    let changes = ["CMD [\"/app\"]".to_owned(), "EXPOSE 80".to_owned()];
    let image = {
        let store = ImageStore::open(&root).unwrap();
        store
            .import(
                archive("content").as_slice(),
                Some("docker.io/library/app"),
                &changes,
                "by hand",
            )
            .unwrap()
    };
    assert_eq!(image.names, ["app:latest"]);
    assert_eq!((image.size, image.comment.as_str()), (7, "by hand"));
    assert_eq!(image.config.cmd.as_ref().unwrap().0, ["/app"]);
    let store = ImageStore::open(&root).unwrap();
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&image));
    let short = &image.id["sha256:".len()..][..12];
    for reference in [
        "app",
        "app:latest",
        "library/app",
        "docker.io/library/app:latest",
        &image.id,
        short,
    ] {
        assert_eq!(store.resolve(reference).unwrap(), image, "{reference}");
    }
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(store.config("app").unwrap(), image.config);
}

#[test]
fn what_is_not_there_is_named() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(place.path()).unwrap();
    import(&store, "a", Some("app"));
    for (reference, message) in [
        ("nope", "No such image: nope:latest"),
        ("nope:1", "No such image: nope:1"),
        ("app:2", "No such image: app:2"),
        ("me/nope", "No such image: me/nope:latest"),
        ("docker.io/library/nope", "No such image: nope:latest"),
        ("sha256:00", "No such image: sha256:00"),
    ] {
        let error = store.resolve(reference).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), ImageErrorKind::NotFound);
    }
    assert_eq!(
        store.resolve("NOPE").unwrap_err().kind(),
        ImageErrorKind::BadRequest
    );
}

#[test]
fn a_failed_import_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(place.path()).unwrap();
    let hostile = Tar::default().file("fine", "x").file("../out", "x").finish();
    let error = store
        .import(hostile.as_slice(), Some("app"), &[], "")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "archive: entry \"../out\" leads out of the layer"
    );
    assert_eq!(error.kind(), ImageErrorKind::BadRequest);
    let error = store
        .import(&b""[..], None, &["bogus 1".to_owned()], "")
        .unwrap_err();
    assert_eq!(error.to_string(), "bogus is not a valid change command");
    let error = store.import(&b""[..], Some("A"), &[], "").unwrap_err();
    assert_eq!(error.kind(), ImageErrorKind::BadRequest);
    assert_eq!(parts(place.path()), (0, 0, 0));
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn names_move_and_go() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(place.path()).unwrap();
    let first = import(&store, "a", Some("app"));
    let second = import(&store, "b", Some("app"));
    assert_eq!(store.resolve("app").unwrap().id, second.id);
    assert_eq!(store.resolve(&first.id).unwrap().names, [] as [String; 0]);
    store.tag(&first.id, "old:1").unwrap();
    store.tag("old:1", "registry.example.org/old").unwrap();
    assert_eq!(
        store.resolve("old:1").unwrap().names,
        ["old:1", "registry.example.org/old:latest"]
    );
    store.tag("nope", "x").unwrap_err();
    store.tag("app", "X").unwrap_err();

    let never = |_: &str| false;
    let error = store.remove(&first.id, false, never).unwrap_err();
    assert!(matches!(error, ImageError::SeveralNames { .. }), "{error}");
    assert_eq!(store.remove("old:1", false, never).unwrap(), [untagged("old:1")]);
    assert_eq!(
        store.remove("registry.example.org/old", false, never).unwrap(),
        [
            untagged("registry.example.org/old:latest"),
            Removed::Deleted(first.id.clone())
        ]
    );
    assert_eq!(
        store.remove(&first.id, false, never).unwrap_err().kind(),
        ImageErrorKind::NotFound
    );
    assert_eq!(parts(place.path()), (1, 1, 0));
    assert_eq!(
        store.remove(&second.id[..19], true, never).unwrap(),
        [untagged("app:latest"), Removed::Deleted(second.id)]
    );
    assert_eq!(parts(place.path()), (0, 0, 0));
}

#[test]
fn an_image_in_use_stays() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(place.path()).unwrap();
    let image = import(&store, "a", Some("app"));
    let used = |id: &str| id == image.id;
    let short = &image.id["sha256:".len()..][..12];
    let by_name = store.remove("app", false, used).unwrap_err();
    assert_eq!(
        by_name.to_string(),
        format!(
            "conflict: unable to remove repository reference \"app:latest\" (must force) - a container is using its referenced image {short}"
        )
    );
    let by_id = store.remove(short, false, used).unwrap_err();
    for error in [by_name, by_id] {
        assert_eq!(error.kind(), ImageErrorKind::Conflict);
    }
    assert_eq!(store.remove("app", true, used).unwrap(), [untagged("app:latest")]);
    assert!(matches!(
        store.remove(short, true, used).unwrap_err(),
        ImageError::InUse { .. }
    ));
    assert_eq!(
        store.remove(short, false, |_| false).unwrap(),
        [Removed::Deleted(image.id.clone())]
    );
}

#[test]
fn images_share_layers() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(place.path()).unwrap();
    let changes = ["USER a".to_owned()];
    let one = import(&store, "a", Some("one"));
    let two = store
        .import(archive("a").as_slice(), Some("two"), &changes, "")
        .unwrap();
    assert_eq!(one.layers, two.layers);
    assert_ne!(one.id, two.id);
    assert_eq!(parts(place.path()), (2, 1, 0));
    store.remove("one", false, |_| false).unwrap();
    assert_eq!(parts(place.path()), (1, 1, 0));
    let layers = store
        .container_layers("two", &place.path().join("container"))
        .unwrap();
    assert_eq!(fs::read_to_string(layers.lower[1].join("file")).unwrap(), "a");
}

#[test]
fn a_container_gets_layers_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(&place.path().join("images")).unwrap();
    let image = import(&store, "a", None);
    let directory = place.path().join("containers/one");
    let layers = store.container_layers(&image.id, &directory).unwrap();
    assert!(layers.lower[0].join("proc").is_dir() && layers.lower[0].join(".dockerenv").is_file());
    assert_eq!(layers.lower.len(), 2);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&directory), mode(&layers.upper), mode(&layers.work)),
        (0o700, 0o755, 0o700)
    );
    fs::write(layers.upper.join("kept"), "").unwrap();
    assert_eq!(store.container_layers(&image.id, &directory).unwrap(), layers);
    assert!(layers.upper.join("kept").exists());
    store.remove_container_dirs(&directory).unwrap();
    store.remove_container_dirs(&directory).unwrap();
    assert!(!directory.exists());
    store.container_layers("nope", &directory).unwrap_err();
    assert!(!directory.exists());
}

#[test]
fn what_was_left_half_done_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let image = import(&ImageStore::open(place.path()).unwrap(), "a", Some("app"));
    fs::create_dir_all(place.path().join("tmp/0/diff/x")).unwrap();
    let unused = place.path().join("layers").join("0".repeat(64));
    fs::create_dir_all(unused.join("diff")).unwrap();
    fs::write(unused.join("size"), "0").unwrap();
    let store = ImageStore::open(place.path()).unwrap();
    assert_eq!(parts(place.path()), (1, 1, 0));
    assert_eq!(store.resolve("app").unwrap(), image);
}

#[test]
fn damage_and_other_formats_are_named() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let image = import(&ImageStore::open(root).unwrap(), "a", Some("app"));
    let config = root.join("configs").join(&image.id["sha256:".len()..]);
    let bytes = fs::read(&config).unwrap();
    fs::write(&config, [&bytes, &b" "[..]].concat()).unwrap();
    assert!(matches!(ImageStore::open(root).unwrap_err(), ImageError::Damaged { path } if path == config));
    fs::write(&config, bytes).unwrap();
    fs::write(root.join("names.json"), r#"{"version":2,"names":{}}"#).unwrap();
    let error = ImageStore::open(root).unwrap_err().to_string();
    assert!(error.ends_with("has the unknown format \"version 2\""), "{error}");
    fs::remove_file(root.join("names.json")).unwrap();
    fs::write(root.join("format"), "berth images 9\n").unwrap();
    let error = ImageStore::open(root).unwrap_err().to_string();
    assert!(
        error.ends_with("has the unknown format \"berth images 9\\n\""),
        "{error}"
    );
}

#[test]
fn imports_at_the_same_time_do_not_meet() {
    let place = tempfile::tempdir().unwrap();
    let store = ImageStore::open(place.path()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let store = &store;
            scope.spawn(move || import(store, &(number % 2).to_string(), Some(&format!("app:{number}"))));
        }
    });
    let names: Vec<String> = store
        .list()
        .unwrap()
        .into_iter()
        .flat_map(|image| image.names)
        .collect();
    assert_eq!(names.len(), 8);
    let (_, layers, unfinished) = parts(place.path());
    assert_eq!((layers, unfinished), (2, 0));
}

//! The rooms of the source keep their walls.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every Rust file of a folder, or the one file of that name.
fn sources(place: &str) -> Vec<(PathBuf, String)> {
    let mut waiting = vec![root().join(place)];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "{place} has no source");
    found
}

#[test]
fn http_never_names_diesel_and_store_never_names_actix_and_sync_names_neither() {
    for (room, forbidden) in [
        ("server/src/http", &["diesel"][..]),
        ("server/src/store", &["actix"]),
        ("server/src/sync", &["diesel", "actix"]),
        ("server/src/queue.rs", &["diesel", "actix"]),
        ("server/src/config.rs", &["diesel", "actix"]),
        ("shared/src", &["diesel", "actix", "tokio"]),
    ] {
        never_named(room, forbidden);
    }
}

#[track_caller]
fn never_named(room: &str, forbidden: &[&str]) {
    for (path, text) in sources(room) {
        for word in forbidden {
            let named = text.lines().position(|line| line.contains(word));
            assert_eq!(named, None, "{} names {word} (line from 0)", path.display());
        }
    }
}

#[test]
fn in_the_client_only_file_names_diesel_and_only_remote_plain_and_engine_name_http() {
    const SQL: &[&str] = &[
        "SELECT",
        "INSERT",
        "UPDATE ",
        "DELETE",
        "crate::file",
        "diesel",
    ];
    const HTTP: &[&str] = &["ureq", "crate::remote", "crate::engine", "diesel"];
    const STATEMENTS: &[&str] = &["SELECT ", "INSERT ", "UPDATE ", "DELETE FROM"];
    never_named("client/src/remote.rs", SQL);
    never_named("client/src/remote", SQL);
    for (path, text) in sources("client/src/plain") {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        assert!(!has(&["diesel", "crate::engine"]), "{}", path.display());
        assert_eq!(
            has(STATEMENTS),
            path.ends_with("known.rs"),
            "{}",
            path.display()
        );
        assert_eq!(
            has(&["ureq"]),
            path.ends_with("api.rs"),
            "{}",
            path.display()
        );
    }
    for room in ["outbox", "inbox"] {
        never_named(&format!("client/src/{room}"), HTTP);
        never_named(&format!("client/src/{room}.rs"), HTTP);
    }
    never_named("client/src/engine", &["diesel"]);
    never_named(
        "client/src/cli",
        &["diesel", "crate::file", "crate::outbox", "crate::inbox"],
    );
    let manifest = std::fs::read_to_string(root().join("client/Cargo.toml")).unwrap();
    for word in ["colsync-server", "actix", "postgres", "pq-sys"] {
        assert!(!manifest.contains(word), "client depends on {word}");
    }
}

#[test]
fn shared_depends_on_no_framework_no_database_and_no_runtime() {
    let manifest = std::fs::read_to_string(root().join("shared/Cargo.toml")).unwrap();
    for word in ["diesel", "actix", "tokio", "ureq"] {
        assert!(!manifest.contains(word), "shared depends on {word}");
    }
}

#[test]
fn shared_reads_no_clock_and_rolls_no_dice() {
    for (path, text) in sources("shared/src") {
        for word in [
            "Utc::now",
            "SystemTime",
            "Instant::now",
            "new_v4",
            "now_v7",
            "rand::",
        ] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn every_file_opens_with_what_it_owns_and_stays_small() {
    for place in [
        "shared/src",
        "server/src",
        "client/src",
        "tests/src",
        "tests/it",
        "tests/demo",
        "tests/bench",
        "tests/proof",
        "tests/fuzz/fuzz_targets",
    ] {
        for (path, text) in sources(place) {
            assert!(
                text.starts_with("//!"),
                "{} does not say what it owns",
                path.display()
            );
            let lines = text.lines().count();
            assert!(lines <= 500, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn migrations_come_in_pairs_with_the_same_names() {
    let names = |backend: &str| {
        let folders = std::fs::read_dir(root().join("migrations").join(backend)).unwrap();
        let mut names: Vec<_> = folders.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

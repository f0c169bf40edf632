//! The end of a story: all sync until they hold the same, and nothing waits any more.

use std::time::{Duration, Instant};

use crate::rows::{in_file, on_server};
use crate::{Client, Device, Server};

/// After this a story has failed.
pub const LONGEST: Duration = Duration::from_secs(240);

/// Syncs one after the other until all hold the same, and nothing is left over on any of them.
///
/// # Panics
/// If they do not come to that.
#[track_caller]
pub fn all_become_equal(server: &Server, devices: &[Device]) {
    come_to_rest(server, devices);
    for device in devices {
        let dead = device.client().dead_letters().unwrap();
        assert_eq!(dead.len(), 0, "{}", serde_json::to_string(&dead).unwrap());
    }
}

/// Syncs one after the other until all hold the same and nothing waits to be pushed; some may have been told of edits
/// that the server refused.
///
/// # Panics
/// If they do not come to that.
#[track_caller]
pub fn come_to_rest(server: &Server, devices: &[Device]) {
    let reader = server.anonymous();
    // On PostgreSQL an open transaction of another story may hold the feed back.
    let started = Instant::now();
    loop {
        let mut moved = false;
        for device in devices {
            let report = device.client().sync().unwrap();
            moved |= report.pushed + report.pulled + report.removed > 0;
        }
        let equal = || devices.iter().all(|device| holds_the_same(device, &reader));
        if !moved && (equal() || started.elapsed() > Duration::from_secs(30)) {
            break;
        }
        assert!(
            started.elapsed() < LONGEST,
            "the devices do not come to rest"
        );
    }
    for device in devices {
        device.assert_equals(&reader, "todos");
        assert_eq!(device.client().pending().unwrap().len(), 0);
    }
}

/// Whether the device's table `todos` is the server's.
#[must_use]
pub fn holds_the_same(device: &Device, server: &Client) -> bool {
    in_file(device, server, "todos") == on_server(server, "todos")
}

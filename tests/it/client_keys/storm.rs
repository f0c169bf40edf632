//! Rows made under a bad network and power cuts: each is there once, with its own children.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use colsync_client::Error;
use colsync_tests::{Backend, Device, Plan, Server, on_both};
use fastrand::Rng;

use super::{OFFICE, invoice, office, settle};

/// Faults that must have happened before the network is well again.
const FAULTS: u64 = 200;

/// Syncs that are killed.
const KILLS: u32 = 30;

/// After this a story has failed.
const LONGEST: Duration = Duration::from_secs(240);

on_both![
    faults_make_no_row_twice_and_no_child_of_another,
    kills_make_no_row_twice_and_no_child_of_another,
];

/// An app that makes people, each with a boss of its own device, and invoices of them.
struct App<'a> {
    device: &'a Device,
    name: String,
    random: Rng,
    made: u64,
    deleted: u64,
}

impl<'a> App<'a> {
    fn new(device: &'a Device, name: &str, seed: u64) -> App<'a> {
        App {
            device,
            name: name.to_owned(),
            random: Rng::with_seed(seed),
            made: 0,
            deleted: 0,
        }
    }

    fn write(&mut self) {
        let Self { name, made, .. } = self;
        let (new, some) = (*made, self.random.u64(0..=*made));
        match self.random.u8(0..6) {
            0 => invoice(
                self.device,
                &format!("{name}{some}i{}", self.random.u64(..)),
                &format!("{name}{some}"),
            ),
            1 => self.device.sql(&format!(
                "UPDATE people SET boss_id = (SELECT id FROM people WHERE name = '{name}{new}')
                 WHERE name = '{name}{some}'"
            )),
            2 if self.deleted + 3 < new => {
                self.deleted += 1;
                self.device.sql(&format!(
                    "DELETE FROM lines WHERE invoice_id = (SELECT max(id) FROM invoices WHERE note GLOB '{name}*')
                     AND text GLOB '*/2'"
                ));
            }
            _ => {
                self.made += 1;
                let new = self.made;
                self.device.sql(&format!(
                    "INSERT INTO people (name, boss_id)
                     VALUES ('{name}{new}', (SELECT id FROM people WHERE name = '{name}{some}'))"
                ));
            }
        }
    }
}

/// Every person, invoice and line is there once, and belongs to its own device's.
#[track_caller]
fn assert_kept(server: &Server, devices: &[&Device], made: &BTreeMap<String, u64>) {
    settle(server, devices, &OFFICE);
    for device in devices {
        let letters = device.client().dead_letters().unwrap();
        assert!(letters.is_empty(), "{letters:#?}");
        for (name, made) in made {
            let count = device.value(&format!(
                "SELECT count(*) FROM people WHERE name GLOB '{name}*'"
            ));
            assert_eq!(count, Some(made.to_string()), "people of {name}");
        }
        let strays = "SELECT
            (SELECT count(*) FROM people AS p LEFT JOIN people AS b ON b.id = p.boss_id WHERE p.boss_id IS NOT NULL
                AND substr(b.name, 1, 1) IS NOT substr(p.name, 1, 1))
            + (SELECT count(*) FROM invoices AS i LEFT JOIN people AS p ON p.id = i.person_id
                WHERE i.note NOT GLOB coalesce(p.name, '?') || 'i*')
            + (SELECT count(*) FROM lines AS l LEFT JOIN invoices AS i ON i.id = l.invoice_id
                WHERE l.text NOT GLOB coalesce(i.note, '?') || '/?')
            + (SELECT count(*) - count(DISTINCT text) FROM lines)
            + (SELECT count(*) - count(DISTINCT note) FROM invoices)";
        assert_eq!(device.value(strays).as_deref(), Some("0"));
    }
}

fn faults_make_no_row_twice_and_no_child_of_another(backend: Backend) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let server = office(backend);
    let proxy = server.proxy(seed);
    let devices = [(); 3].map(|()| Device::behind(&proxy));
    for device in &devices {
        device.client().init(&[]).unwrap();
    }
    proxy.plan(Plan::all(60));
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let made = std::thread::scope(|scope| {
        let mut apps = Vec::new();
        for (name, device) in ["a", "b", "c"].into_iter().zip(&devices) {
            let (over, proxy) = (&over, &proxy);
            apps.push(scope.spawn(move || {
                let mut app = App::new(device, name, seed ^ u64::from(name.as_bytes()[0]));
                while !over.load(Ordering::SeqCst) {
                    (0..app.random.u8(1..6)).for_each(|_| app.write());
                    std::thread::park_timeout(Duration::from_millis(app.random.u64(1..80)));
                }
                (name.to_owned(), app.made)
            }));
            scope.spawn(move || {
                let _over = SetOnDrop(over);
                let client = device.client();
                while proxy.counts().total() < FAULTS {
                    assert!(started.elapsed() < LONGEST, "{}", proxy.counts());
                    match client.sync() {
                        Ok(_) | Err(Error::Unreachable(_)) => {}
                        Err(other) => panic!("no fault of the network: {other:?}"),
                    }
                }
            });
        }
        let apps = apps.into_iter().map(|app| app.join().unwrap());
        apps.collect::<BTreeMap<String, u64>>()
    });
    println!("{} in {:?}, {made:?}", proxy.counts(), started.elapsed());
    proxy.faults_off();
    assert_kept(&server, &devices.each_ref(), &made);
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn kills_make_no_row_twice_and_no_child_of_another(backend: Backend) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let server = office(backend);
    let devices = [(); 2].map(|()| Device::new(&server));
    for device in &devices {
        device.client().init(&[]).unwrap();
    }
    let [killed, well] = &devices;
    let mut apps = [App::new(killed, "a", seed), App::new(well, "b", seed + 1)];
    let mut random = Rng::with_seed(seed);
    let mut longest = Duration::from_millis(100);
    let (mut kills, mut syncs) = (0, 0);
    let started = Instant::now();
    while kills < KILLS {
        assert!(started.elapsed() < LONGEST, "{kills} kills of {syncs}");
        for app in &mut apps {
            (0..random.u8(1..8)).for_each(|_| app.write());
        }
        let mut sync = killed.command(&["sync"]);
        let sync = sync.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut sync = sync.unwrap();
        std::thread::park_timeout(longest.mul_f64(random.f64()));
        sync.kill().unwrap();
        let is_killed = sync.wait().unwrap().code().is_none();
        longest = longest.mul_f64(if is_killed { 1.05 } else { 0.9 });
        kills += u32::from(is_killed);
        syncs += 1;
        if random.u8(0..3) == 0 {
            well.client().sync().unwrap();
        }
    }
    println!("{kills} of {syncs} syncs killed in {:?}", started.elapsed());
    let made = apps.map(|app| (app.name, app.made));
    assert_kept(&server, &devices.each_ref(), &BTreeMap::from(made));
}

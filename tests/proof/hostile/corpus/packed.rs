//! Bodies that are not what they are packed as, and bombs.

use super::{Case, writes};
use crate::hostile::judge::gzip;

/// Header and bytes, with why.
fn packings() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let spaces = |bytes: usize| vec![b' '; bytes];
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 19).unwrap();
    let small = br#"{"nothing":1}"#;
    let mut cut = gzip(small);
    cut.truncate(cut.len() - 3);
    let mut checksum = gzip(small);
    let at = checksum.len() - 6;
    checksum[at] ^= 0xff;
    let mut rubbish = gzip(small);
    rubbish.extend_from_slice(b"rubbish");
    let members: Vec<u8> = (0..40).flat_map(|_| gzip(&spaces(2_000))).collect();
    let frames: Vec<u8> = (0..40).flat_map(|_| zstd(&spaces(2_000))).collect();
    let mut cut_frame = zstd(small);
    cut_frame.truncate(cut_frame.len() - 2);
    let empty_frames = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00].repeat(7_000);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0x7f][..], small].concat();
    // A window of 2 GiB, a dictionary that nobody has, and a size that is a lie.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    let dictionary = vec![
        0x28, 0xb5, 0x2f, 0xfd, 0x23, 0xff, 0xff, 0xff, 0xff, 0x00, 0x01, 0x00, 0x00,
    ];
    let lie = vec![
        0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x01, 0x00,
        0x00,
    ];
    vec![
        ("gzip", "a bomb", gzip(&spaces(10 << 20))),
        ("gzip", "a bomb in a bomb", gzip(&gzip(&spaces(10 << 20)))),
        ("gzip", "a byte too many", gzip(&spaces(65_537))),
        ("gzip", "many members", members),
        ("gzip", "cut off", cut),
        ("gzip", "a wrong checksum", checksum),
        ("gzip", "rubbish after it", rubbish),
        ("gzip", "nothing at all", Vec::new()),
        ("gzip", "its first two bytes", vec![0x1f, 0x8b]),
        ("gzip", "zstd", zstd(small)),
        ("zstd", "a bomb", zstd(&spaces(64 << 20))),
        ("zstd", "a byte too many", zstd(&spaces(65_537))),
        ("zstd", "many frames", frames),
        ("zstd", "cut off", cut_frame),
        ("zstd", "thousands of empty frames", empty_frames),
        ("zstd", "a skippable frame without an end", skippable),
        ("zstd", "a window of gigabytes", window),
        ("zstd", "a dictionary", dictionary),
        ("zstd", "a size that is a lie", lie),
        ("zstd", "nothing at all", Vec::new()),
        ("zstd", "gzip", gzip(small)),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let packings = packings();
    for (method, path, media_type) in writes() {
        for (encoding, why, body) in &packings {
            let case = Case::new(format!("{encoding}: {why}"), method, path.clone());
            cases.push(
                case.header("Content-Encoding", *encoding)
                    .body(media_type, body.clone()),
            );
        }
    }
    cases
}

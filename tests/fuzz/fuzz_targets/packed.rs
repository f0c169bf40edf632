//! A packed body: the first byte says whether gzip or zstd, the rest is what came.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((kind, bytes)) = input.split_first() {
        colsync_server::fuzzing::packed(*kind, bytes);
    }
});

//! The body of a push: the first byte says of which kind, the rest is the document.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((kind, bytes)) = input.split_first() {
        colsync_server::fuzzing::push(*kind, bytes);
    }
});

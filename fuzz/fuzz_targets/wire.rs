//! `cargo +nightly fuzz run wire`. What is done with the input is in `tests/fuzz/wire.rs`, where the
//! ordinary tests replay the corpus through it.
#![no_main]

#[path = "../../tests/fuzz/wire.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));

//! `cargo +nightly fuzz run spaces`. What is done with the input is in `tests/fuzz/spaces.rs`, where the
//! ordinary tests replay the corpus through it.
#![no_main]

#[path = "../../tests/fuzz/spaces.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));

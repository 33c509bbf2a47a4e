//! `cargo +nightly fuzz run link`. What is done with the input is in `tests/fuzz/link.rs`, where the
//! ordinary tests replay the corpus through it.
#![no_main]

#[path = "../../tests/fuzz/link.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));

//! `cargo +nightly fuzz run address`. What is done with the input is in `tests/fuzz/address.rs`, where the
//! ordinary tests replay the corpus through it.
#![no_main]

#[path = "../../tests/fuzz/address.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));

//! `cargo +nightly fuzz run book`. What is done with the input is in `tests/fuzz/book.rs`, where the
//! ordinary tests replay the corpus through it.
#![no_main]

#[path = "../../tests/fuzz/book.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));

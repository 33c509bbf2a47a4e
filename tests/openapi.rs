//! The description of the control API is kept in docs/, where it can be read without a node.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peerage::control::server::openapi_json;

#[test]
fn the_description_in_docs_is_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let current = openapi_json();
    if std::env::var_os("PEERAGE_RENEW").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == current,
        "docs/openapi.json is old: `PEERAGE_RENEW=1 cargo test --test openapi` renews it"
    );
}

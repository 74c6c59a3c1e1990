//! What the repository says of the interface is what the code says. `UPDATE_GENERATED=1` writes it anew.

#![allow(clippy::unwrap_used)]

use std::{fmt::Write, fs, path::PathBuf};

use natterjack_wire::ErrorCode;

fn compare(file: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/{file} is out of date; run the tests once with UPDATE_GENERATED=1");
}

#[test]
fn the_openapi_document_is_the_one_that_is_served() {
    compare("openapi.json", &natterjack_front::openapi());
}

#[test]
fn the_asyncapi_document_is_the_one_that_is_served() {
    compare("asyncapi.json", &natterjack_wire::asyncapi());
}

#[test]
fn every_error_code_is_listed() {
    let mut page = String::from(
        "# Error codes\n\nOver REST an error is a problem (RFC 9457) with the status below, whose `code` is the number; over the\n\
         WebSocket it is an `err` frame, or the reason of a `bye`. Numbers are stable. `retry_ms` and `Retry-After` say when the\n\
         same request may succeed.\n\nMade from `crates/wire/src/error.rs`.\n\n| Code | Name | Status | Meaning |\n|---|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        writeln!(page, "| {} | `{}` | {} | {} |", code.number(), code.name(), code.status(), code.title())
            .unwrap();
    }
    compare("errors.md", &page);
}

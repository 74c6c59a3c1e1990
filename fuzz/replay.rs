//! Runs a target over its corpus, as a plain test of the crate that the target belongs to.

use std::{fs, panic, path::Path};

pub fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in fs::read_dir(&corpus).expect("the target has a corpus") {
        let path = entry.expect("the corpus can be listed").path();
        let bytes = fs::read(&path).expect("the file can be read");
        assert!(panic::catch_unwind(|| check(&bytes)).is_ok(), "{}", path.display());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus is empty");
}

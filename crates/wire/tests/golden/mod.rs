//! Files that hold what goes over the wire, byte for byte.
//!
//! A file of `events/` is never changed: it is what logs out there hold. After a change of the frames run
//! `UPDATE_GENERATED=1 cargo test -p natterjack-wire` and look at what has become of `frames/`, which the web
//! client's tests read too.

use std::{collections::BTreeMap, fs, path::PathBuf};

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The golden files of a folder by their names; a file's last line feed is not part of it.
pub fn all(folder: &str) -> BTreeMap<String, String> {
    let files = fs::read_dir(path(folder)).expect("the folder is there");
    let read = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).expect("golden files are text");
        (file.file_name().to_string_lossy().into_owned(), text.trim_end_matches('\n').to_owned())
    };
    files.map(|file| read(file.expect("the folder can be read"))).collect()
}

/// Fails unless the folder holds exactly `made`, by name; writes what is missing, or with `UPDATE_GENERATED` all of it.
pub fn assert_equal(folder: &str, made: &BTreeMap<String, String>, may_change: bool) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        for (name, text) in made {
            let path = path(folder).join(name);
            if may_change || !path.exists() {
                fs::write(path, format!("{text}\n")).expect("the folder can be written");
            }
        }
    }
    assert_eq!(all(folder), *made, "the files of golden/{folder}; see golden/mod.rs");
}

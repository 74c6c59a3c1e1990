#![allow(clippy::unwrap_used)]

use std::{io::Write as _, net::SocketAddr};

use super::*;

fn reader<const N: usize>(pairs: [(&str, &str); N]) -> Reader {
    Reader::from_pairs(pairs)
}

fn report(reader: Reader) -> String {
    reader.finish().unwrap_err().to_string()
}

#[test]
fn values_and_defaults() {
    let mut r = reader([
        ("NATTERJACK_LISTEN", "127.0.0.1:80"),
        ("NATTERJACK_NATS_URL", "nats://a, nats://b,"),
        ("NATTERJACK_POOL", ""),
        ("NATTERJACK_WAIT_MS", "250"),
        ("PATH", "/bin"),
    ]);
    let listen: SocketAddr = r.parse("NATTERJACK_LISTEN", ([0, 0, 0, 0], 1).into());
    assert_eq!(listen, ([127, 0, 0, 1], 80).into());
    let urls: Vec<String> = r.list("NATTERJACK_NATS_URL", "nats://c");
    assert_eq!(urls, ["nats://a", "nats://b"]);
    assert_eq!(r.in_range("NATTERJACK_POOL", 8, 1..=100), 8);
    assert_eq!(r.millis("NATTERJACK_WAIT_MS", 1), Duration::from_millis(250));
    assert_eq!(r.secs("NATTERJACK_TTL_SECS", 2), Duration::from_secs(2));
    assert_eq!(r.text("NATTERJACK_NODE", Some("here")), "here");
    assert_eq!(r.optional::<u8>("NATTERJACK_OTHER"), None);
    r.finish().unwrap();
}

#[test]
fn every_problem_is_reported_at_once() {
    let mut r = reader([
        ("NATTERJACK_LISTEN", "nowhere"),
        ("NATTERJACK_STREAMS", "99"),
        ("NATTERJACK_NATS_ULR", "nats://a"),
        ("NATTERJACK_ZEBRA_CROSSING", "1"),
        ("NATTERJACK_NUMBERS", "1,x"),
        ("NATTERJACK_EMPTY", " , "),
        ("NATTERJACK_PUBLIC_URL", "somebody else reads it"),
    ]);
    r.parse::<SocketAddr>("NATTERJACK_LISTEN", ([127, 0, 0, 1], 0).into());
    r.in_range("NATTERJACK_STREAMS", 1, 1..=64);
    r.text("NATTERJACK_NATS_URL", Some("nats://b"));
    r.secret("NATTERJACK_AUTH_KEYS");
    r.text("NATTERJACK_NODE", None);
    r.list::<u8>("NATTERJACK_NUMBERS", "");
    r.list::<String>("NATTERJACK_EMPTY", "a");
    r.fail("NATTERJACK_WEB_DIR", "not a directory");
    r.fail("NATTERJACK_WEB_DIR", "not a directory");
    assert_eq!(
        report(r),
        "NATTERJACK_AUTH_KEYS: required but not set\n\
         NATTERJACK_EMPTY: the list is empty\n\
         NATTERJACK_LISTEN: \"nowhere\" is not valid: invalid socket address syntax\n\
         NATTERJACK_NATS_ULR: unknown variable; did you mean NATTERJACK_NATS_URL?\n\
         NATTERJACK_NODE: required but not set\n\
         NATTERJACK_NUMBERS: \"1,x\" is not valid: invalid digit found in string\n\
         NATTERJACK_STREAMS: 99 is not within 1 to 64\n\
         NATTERJACK_WEB_DIR: not a directory\n\
         NATTERJACK_ZEBRA_CROSSING: unknown variable"
    );
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "hunter2").unwrap();
    let path = file.path().to_str().unwrap();

    let mut r = reader([("NATTERJACK_KEY_FILE", path), ("NATTERJACK_PASS", "hunter2")]);
    let shown = format!("{r:?}");
    let key = r.secret("NATTERJACK_KEY");
    let pass = r.optional_secret("NATTERJACK_PASS").unwrap();
    assert_eq!((key.expose(), pass.expose()), ("hunter2", "hunter2"));
    assert!(!format!("{shown}{key:?}").contains("hunter2"));
    assert!(r.optional_secret("NATTERJACK_NONE").is_none());
    r.finish().unwrap();

    let mut r = reader([("NATTERJACK_KEY_FILE", path)]);
    r.parse("NATTERJACK_KEY", 1);
    let shown = report(r);
    assert!(shown.contains("the file's content is not valid"), "{shown}");
}

#[test]
fn a_file_that_cannot_be_used_is_one_problem() {
    let mut r = reader([("NATTERJACK_KEY_FILE", "/nonexistent/key")]);
    r.secret("NATTERJACK_KEY");
    let errors = r.finish().unwrap_err();
    assert_eq!(errors.problems().len(), 1, "{errors}");
    assert_eq!(errors.problems()[0].name(), "NATTERJACK_KEY_FILE");

    let mut r = reader([("NATTERJACK_KEY", "a"), ("NATTERJACK_KEY_FILE", "b")]);
    r.secret("NATTERJACK_KEY");
    assert_eq!(report(r), "NATTERJACK_KEY: set both as NATTERJACK_KEY and as NATTERJACK_KEY_FILE");

    let long = tempfile::NamedTempFile::new().unwrap();
    long.as_file().set_len(MAX_FILE_BYTES + 1).unwrap();
    let mut r = reader([("NATTERJACK_KEY_FILE", long.path().to_str().unwrap())]);
    r.secret("NATTERJACK_KEY");
    assert!(report(r).ends_with("longer than 64 KiB"));
}

//! What a bad disk does to a stopped nats-server's streams.

use std::{fs, path::PathBuf};

use natterjack_stack::NatsServer;

/// The files that hold the messages of the first stream.
pub fn blocks(nats: &NatsServer) -> Vec<PathBuf> {
    let messages = nats.dir().join("jetstream/$G/streams/CHAT-0/msgs");
    let files = fs::read_dir(messages).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "blk")).collect()
}

/// Flips one bit of the message that holds `text`. Doing it again puts it right.
pub fn flip_a_bit(nats: &NatsServer, text: &str) {
    let mut flipped = 0;
    for file in blocks(nats) {
        let mut bytes = fs::read(&file).unwrap();
        if let Some(at) = find(&bytes, text.as_bytes()) {
            bytes[at] ^= 0x20;
            fs::write(&file, bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "{text:?} stands in one file");
}

/// The text, or the same with its first bit flipped.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let mut flipped = text.to_vec();
    flipped[0] ^= 0x20;
    bytes.windows(text.len()).position(|window| window == text || window == flipped)
}

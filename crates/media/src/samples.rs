//! Small files of each kind, made of a few lines each.

#![allow(clippy::trivially_copy_pass_by_ref, reason = "names of chunks are written as b\"IHDR\"")]

use std::io::Cursor;

use image::{Delay, DynamicImage, Frame, ImageFormat, Rgba, RgbaImage, codecs::gif::GifEncoder};

/// A picture whose halves differ, so that one can tell which way up it is.
pub fn picture(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let left = if x < width / 2 { 250 } else { 10 };
        Rgba([left, u8::try_from(y % 200).unwrap(), 90, 255])
    })
}

pub fn encoded(image: RgbaImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::from(image);
    let image = if format == ImageFormat::Jpeg { image.to_rgb8().into() } else { image };
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png(width: u32, height: u32) -> Vec<u8> {
    encoded(picture(width, height), ImageFormat::Png)
}

pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encoded(picture(width, height), ImageFormat::Jpeg)
}

pub fn webp(width: u32, height: u32) -> Vec<u8> {
    encoded(picture(width, height), ImageFormat::WebP)
}

/// Two frames, and a comment that says who made them.
pub fn animated_gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for width in [10, 20] {
        let frame = Frame::from_parts(picture(width, 20), 0, 0, Delay::from_numer_denom_ms(100, 1));
        encoder.encode_frame(frame).unwrap();
    }
    drop(encoder);
    let end = bytes.pop();
    bytes.extend_from_slice(b"\x21\xfe\x06secret\0");
    bytes.extend(end);
    bytes
}

/// Two frames in the container of WebP, and what a camera wrote.
pub fn animated_webp() -> Vec<u8> {
    let still = webp(16, 12);
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let mut chunk = kind.to_vec();
        chunk.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        chunk.extend_from_slice(content);
        if content.len() % 2 == 1 {
            chunk.push(0);
        }
        chunk
    };
    let frame = [&[0, 0, 0, 0, 0, 0, 15, 0, 0, 11, 0, 0, 100, 0, 0, 0][..], &still[12..]].concat();
    let chunks = [
        b"WEBP".to_vec(),
        chunk(b"VP8X", &[0b0000_1010, 0, 0, 0, 15, 0, 0, 11, 0, 0]),
        chunk(b"ANIM", &[0; 6]),
        chunk(b"ANMF", &frame),
        chunk(b"ANMF", &frame),
        chunk(b"EXIF", b"secret"),
    ]
    .concat();
    chunk(b"RIFF", &chunks)
}

pub fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    chunk.extend_from_slice(kind);
    chunk.extend_from_slice(content);
    let crc = crc32(&chunk[4..]);
    chunk.extend_from_slice(&crc.to_be_bytes());
    chunk
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 },
        )
    })
}

/// A picture that says it is larger than it can be: some bytes that would take as many gigabytes.
pub fn pixel_bomb(side: u32) -> Vec<u8> {
    let small = png(1, 1);
    let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [&small[..8], &png_chunk(b"IHDR", &header), &small[33..]].concat()
}

/// Held on its side, and taken at some place.
pub fn turned_jpeg(width: u32, height: u32) -> Vec<u8> {
    let plain = jpeg(width, height);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    exif.extend_from_slice(b"secret place");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&plain[..2], &[0xff, 0xe1], &length, &exif, &plain[2..]].concat()
}

/// Silence and then a tone.
pub fn wav(millis: u32) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    let count = millis * 8;
    for at in 0..count {
        let loud = at * 2 >= count && at % 8 < 4;
        writer.write_sample(if loud { 20_000_i16 } else { 0 }).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// Frames of silence, 26 ms each.
pub fn mp3(frames: usize) -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0xc4];
    frame.resize(417, 0);
    frame.repeat(frames)
}

/// A packet of Opus: 20 ms of silence.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

pub fn ogg_opus(packets: u64) -> Vec<u8> {
    use ogg::PacketWriteEndInfo::{EndPage, EndStream, NormalPacket};
    let mut writer = ogg::PacketWriter::new(Vec::new());
    let head = b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0".to_vec();
    writer.write_packet(head, 7, EndPage, 0).unwrap();
    writer.write_packet(b"OpusTags\x04\0\0\0test\0\0\0\0".to_vec(), 7, EndPage, 0).unwrap();
    for at in 1..=packets {
        let end = if at == packets { EndStream } else { NormalPacket };
        writer.write_packet(OPUS_SILENCE.to_vec(), 7, end, at * 960).unwrap();
    }
    writer.into_inner()
}

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let length = (0x0100_0000_0000_0000 | content.len() as u64).to_be_bytes();
    [id, &length, content].concat()
}

/// As a browser records it: nobody knew how long it would be.
pub fn webm(pictures: bool, millis: u16) -> Vec<u8> {
    let number = |id: &[u8], number: u16| element(id, &number.to_be_bytes());
    let header = element(
        b"\x1a\x45\xdf\xa3",
        &[
            number(b"\x42\x86", 1),
            number(b"\x42\xf7", 1),
            number(b"\x42\xf2", 4),
            number(b"\x42\xf3", 8),
            element(b"\x42\x82", b"webm"),
            number(b"\x42\x87", 4),
            number(b"\x42\x85", 2),
        ]
        .concat(),
    );
    let info = element(
        b"\x15\x49\xa9\x66",
        &[
            element(b"\x2a\xd7\xb1", &1_000_000_u32.to_be_bytes()),
            element(b"\x4d\x80", b"t"),
            element(b"\x57\x41", b"t"),
        ]
        .concat(),
    );
    let sound = element(
        b"\xae",
        &[
            number(b"\xd7", 1),
            number(b"\x73\xc5", 1),
            number(b"\x83", 2),
            element(b"\x86", b"A_OPUS"),
            element(b"\xe1", &[element(b"\xb5", &48_000_f32.to_be_bytes()), number(b"\x9f", 1)].concat()),
        ]
        .concat(),
    );
    let video = element(
        b"\xae",
        &[
            number(b"\xd7", 2),
            number(b"\x73\xc5", 2),
            number(b"\x83", 1),
            element(b"\x86", b"V_VP8"),
            element(b"\xe0", &[number(b"\xb0", 320), number(b"\xba", 240)].concat()),
        ]
        .concat(),
    );
    let tracks = if pictures { [sound, video].concat() } else { sound };
    let mut blocks = number(b"\xe7", 0);
    for at in (0..=millis).step_by(20) {
        let [high, low] = at.to_be_bytes();
        blocks.extend(element(b"\xa3", &[&[0x81, high, low, 0x80][..], &OPUS_SILENCE].concat()));
    }
    let rest = [info, element(b"\x16\x54\xae\x6b", &tracks), element(b"\x1f\x43\xb6\x75", &blocks)].concat();
    [header, b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff".to_vec(), rest].concat()
}

pub fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&length[..], kind, content].concat()
}

/// A film of a minute and a half without a film in it.
pub fn mp4(width: u16, height: u16, turned: bool) -> Vec<u8> {
    let be = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let upright = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    let aside = [0, 0x1_0000, 0, u32::MAX << 16, 0, 0, 0, 0, 0x4000_0000];
    let matrix = be(if turned { &aside } else { &upright });
    let mvhd = [
        be(&[0, 0, 0, 1_000, 90_000, 0x1_0000, 0x0100_0000, 0, 0]),
        matrix.clone(),
        be(&[0, 0, 0, 0, 0, 0, 2]),
    ];
    let size = be(&[u32::from(width) << 16, u32::from(height) << 16]);
    let tkhd = [be(&[3, 0, 0, 1, 0, 90_000, 0, 0, 0, 0]), matrix, size];
    let track = be(&[0, 0, 0, 1_000, 90_000, 0x55c4_0000]);
    let hdlr = [be(&[0, 0]), b"vide".to_vec(), be(&[0, 0, 0]), vec![0]].concat();
    let url = mp4_box(b"url ", &be(&[1]));
    let dinf = mp4_box(b"dinf", &mp4_box(b"dref", &[be(&[0, 1]), url].concat()));
    let empty = |kind| mp4_box(kind, &be(&[0, 0]));
    let tables =
        [empty(b"stsd"), empty(b"stts"), empty(b"stsc"), mp4_box(b"stsz", &be(&[0, 0, 0])), empty(b"stco")];
    let minf = [mp4_box(b"vmhd", &be(&[1, 0, 0])), dinf, mp4_box(b"stbl", &tables.concat())].concat();
    let mdia = [mp4_box(b"mdhd", &track), mp4_box(b"hdlr", &hdlr), mp4_box(b"minf", &minf)].concat();
    let tracks = [mp4_box(b"tkhd", &tkhd.concat()), mp4_box(b"mdia", &mdia)].concat();
    let moov = [mp4_box(b"mvhd", &mvhd.concat()), mp4_box(b"trak", &tracks)].concat();
    [mp4_box(b"ftyp", b"isom\0\0\0\x01isomavc1"), mp4_box(b"moov", &moov), mp4_box(b"mdat", &[0; 64])]
        .concat()
}

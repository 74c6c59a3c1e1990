//! Leaving out of a picture's file what is not the picture: where and by whom it was taken, comments, thumbnails, and
//! whatever was hung on behind its end. The picture's own bytes are not touched.
//!
//! What is kept is listed; all else goes. A file that has no end is refused.

/// Why it is no picture of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("it does not begin like one of its type")]
    Beginning,
    #[error("it ends too early")]
    Truncated,
}

type Stripped = Result<Vec<u8>, Broken>;

pub fn strip(mime: &str, bytes: &[u8]) -> Stripped {
    match mime {
        "image/jpeg" => jpeg(bytes),
        "image/png" => png(bytes),
        "image/gif" => gif(bytes),
        _ => webp(bytes),
    }
}

/// A cursor that never reads past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Broken::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.take(N)?.try_into().map_err(|_| Broken::Truncated)
    }

    fn expect(&mut self, signature: &[u8]) -> Result<(), Broken> {
        if self.take(signature.len()) == Ok(signature) { Ok(()) } else { Err(Broken::Beginning) }
    }
}

/// Chunks (PNG specification, 5.3) that make up the picture and its colours; `ac`, `fc` and `fd` move it (APNG).
const PNG_KEPT: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP",
    b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

fn png(bytes: &[u8]) -> Stripped {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
    let mut reader = Reader(bytes);
    reader.expect(SIGNATURE)?;
    let mut kept = SIGNATURE.to_vec();
    loop {
        let chunk = reader.0;
        let length = usize::try_from(u32::from_be_bytes(reader.array()?)).map_err(|_| Broken::Truncated)?;
        let kind: [u8; 4] = reader.array()?;
        reader.take(length)?;
        reader.take(4)?;
        if PNG_KEPT.contains(&&kind) {
            kept.extend_from_slice(&chunk[..length + 12]);
        }
        if &kind == b"IEND" {
            return Ok(kept);
        }
    }
}

/// Segments (ITU-T T.81, annex B): tables, frames and scans, and of the application's those that say how to read colours.
fn jpeg(bytes: &[u8]) -> Stripped {
    let mut reader = Reader(bytes);
    reader.expect(&[0xff, 0xd8])?;
    let mut kept = vec![0xff, 0xd8];
    loop {
        let marker = marker(&mut reader)?;
        match marker {
            0xd9 => {
                kept.extend_from_slice(&[0xff, 0xd9]);
                return Ok(kept);
            }
            // Without a length: of no meaning between segments.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let segment = reader.0;
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        let content = reader.take(length.checked_sub(2).ok_or(Broken::Truncated)?)?;
        let keep = match marker {
            0xc0..=0xcf | 0xda..=0xdd => true,
            0xe0 => content.starts_with(b"JFIF\0"),
            0xe2 => content.starts_with(b"ICC_PROFILE\0"),
            0xee => content.starts_with(b"Adobe"),
            _ => false,
        };
        if keep {
            kept.extend_from_slice(&[0xff, marker]);
            kept.extend_from_slice(&segment[..length]);
        }
        if marker == 0xda {
            kept.extend_from_slice(scan(&mut reader)?);
        }
    }
}

fn marker(reader: &mut Reader<'_>) -> Result<u8, Broken> {
    loop {
        if reader.byte()? != 0xff {
            continue;
        }
        loop {
            match reader.byte()? {
                0xff => {}
                0 => break,
                marker => return Ok(marker),
            }
        }
    }
}

/// What follows a scan's header, up to the next marker that is neither a stuffed byte nor a restart.
fn scan<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Broken> {
    let from = reader.0;
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd7);
    let length = from.windows(2).position(ends).ok_or(Broken::Truncated)?;
    reader.take(length)
}

/// Blocks (`GIF89a`, 18 ff.): pictures and what controls them; of the application's, the one that repeats them.
fn gif(bytes: &[u8]) -> Stripped {
    let mut reader = Reader(bytes);
    let signature: [u8; 6] = reader.array().map_err(|_| Broken::Beginning)?;
    if &signature != b"GIF87a" && &signature != b"GIF89a" {
        return Err(Broken::Beginning);
    }
    let screen = reader.take(7)?;
    reader.take(color_table(screen[4]))?;
    let mut kept = bytes[..bytes.len() - reader.0.len()].to_vec();
    loop {
        let block = reader.0;
        let keep = match reader.byte()? {
            0x3b => {
                kept.push(0x3b);
                return Ok(kept);
            }
            0x2c => {
                let descriptor = reader.take(9)?;
                reader.take(color_table(descriptor[8]) + 1)?;
                sub_blocks(&mut reader)?;
                true
            }
            0x21 => {
                let label = reader.byte()?;
                let content = reader.0;
                sub_blocks(&mut reader)?;
                let repeats = |name: &[u8]| content.get(1..12) == Some(name);
                label == 0xf9 || label == 0xff && (repeats(b"NETSCAPE2.0") || repeats(b"ANIMEXTS1.0"))
            }
            _ => return Err(Broken::Truncated),
        };
        if keep {
            kept.extend_from_slice(&block[..block.len() - reader.0.len()]);
        }
    }
}

const fn color_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

fn sub_blocks(reader: &mut Reader<'_>) -> Result<(), Broken> {
    loop {
        match reader.byte()? {
            0 => return Ok(()),
            length => reader.take(length.into())?,
        };
    }
}

/// Chunks of the container (RFC 9649, 2.7).
const WEBP_KEPT: &[&[u8; 4]] = &[b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"];
/// Flags of `VP8X` for the chunks EXIF and XMP, which are left out.
const WEBP_METADATA: u8 = 0b0000_1100;

fn webp(bytes: &[u8]) -> Stripped {
    let mut outer = Reader(bytes);
    outer.expect(b"RIFF")?;
    let length = usize::try_from(u32::from_le_bytes(outer.array()?)).map_err(|_| Broken::Truncated)?;
    let mut reader = Reader(outer.take(length)?);
    reader.expect(b"WEBP")?;
    let mut kept = b"RIFF\0\0\0\0WEBP".to_vec();
    while !reader.0.is_empty() {
        let chunk = reader.0;
        let kind: [u8; 4] = reader.array()?;
        let length = usize::try_from(u32::from_le_bytes(reader.array()?)).map_err(|_| Broken::Truncated)?;
        reader.take(length)?;
        // Some writers leave the last chunk's padding out.
        if length % 2 == 1 && !reader.0.is_empty() {
            reader.take(1)?;
        }
        if WEBP_KEPT.contains(&&kind) {
            let begins = kept.len();
            kept.extend_from_slice(&chunk[..8 + length]);
            if length % 2 == 1 {
                kept.push(0);
            }
            if &kind == b"VP8X"
                && let Some(flags) = kept.get_mut(begins + 8)
            {
                *flags &= !WEBP_METADATA;
            }
        }
    }
    let length = u32::try_from(kept.len() - 8).map_err(|_| Broken::Truncated)?;
    kept[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(kept)
}

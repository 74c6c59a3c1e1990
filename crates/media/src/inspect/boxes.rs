//! MP4 and `QuickTime` (ISO/IEC 14496-12): boxes, of which the one that describes the rest is read.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use mp4_atom::{Atom, FourCC, Header, Moof, Moov, ReadFrom as _};

use super::{Tracks, damaged};
use crate::Error;

/// Largest box that is read: an hour's film has some MiB.
const BOX_MAX_BYTES: usize = 32 * 1_048_576;
/// Most boxes at the top: a recording has one or two for each second or so.
const BOXES_MAX: usize = 100_000;

pub fn tracks(file: &mut File, size: u64) -> Result<Tracks, Error> {
    let (mut described, mut recorded) = (None, HashMap::new());
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        if at >= size {
            break;
        }
        file.seek(SeekFrom::Start(at))?;
        let header = Header::read_from(&mut *file).map_err(damaged)?;
        let begins = file.stream_position()?;
        // Without a size it goes to the end of the file.
        let length = header.size.map_or(size - begins.min(size), |length| length as u64);
        at = begins.saturating_add(length);
        if at > size {
            return Err(damaged("a box ends after the file").into());
        }
        match header.kind {
            Moov::KIND if described.is_none() => described = Some(read::<Moov>(file, length)?),
            Moof::KIND => add_fragment(&mut recorded, &read::<Moof>(file, length)?),
            _ => {}
        }
    }
    let described = described.ok_or_else(|| damaged("it has no description"))?;
    Ok(of(&described, &recorded))
}

fn read<A: Atom>(file: &mut File, length: u64) -> Result<A, Error> {
    let length = usize::try_from(length).ok().filter(|length| *length <= BOX_MAX_BYTES);
    let length = length.ok_or_else(|| damaged("its description is too long"))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(A::decode_body(&mut bytes.as_slice()).map_err(damaged)?)
}

/// What browsers record comes in fragments, of which nobody knew how many there would be. Adds up the length of each track.
fn add_fragment(recorded: &mut HashMap<u32, u64>, fragment: &Moof) {
    for track in &fragment.traf {
        let each = u64::from(track.tfhd.default_sample_duration.unwrap_or_default());
        let samples = track.trun.iter().flat_map(|run| run.samples.iter());
        // A run without words on each sample may claim any number of them.
        let ticks = samples
            .take(1 << 20)
            .fold(0_u64, |sum, sample| sum.saturating_add(sample.duration.map_or(each, u64::from)));
        let sum = recorded.entry(track.tfhd.track_id).or_default();
        *sum = sum.saturating_add(ticks);
    }
}

fn of(movie: &Moov, recorded: &HashMap<u32, u64>) -> Tracks {
    let mut tracks = Tracks::default();
    let millis = |ticks: u64, per_second: u32| {
        ticks.saturating_mul(1_000).checked_div(per_second.into()).filter(|ms| *ms > 0)
    };
    tracks.duration_ms = millis(movie.mvhd.duration, movie.mvhd.timescale);
    for track in &movie.trak {
        if track.mdia.hdlr.handler == FourCC::new(b"vide") {
            tracks.pictures = true;
            let side = |side: u16| (side > 0).then_some(u32::from(side));
            let (width, height) = (track.tkhd.width.integer(), track.tkhd.height.integer());
            let stored = side(width).zip(side(height));
            tracks.size = tracks.size.or(stored.map(|stored| shown(stored, &track.tkhd.matrix)));
        }
        let ticks = recorded.get(&track.tkhd.track_id).copied().unwrap_or_default();
        tracks.duration_ms = tracks.duration_ms.max(millis(ticks, track.mdia.mdhd.timescale));
    }
    tracks
}

/// Telephones do not turn pictures, they say how to.
fn shown((width, height): (u32, u32), matrix: &mp4_atom::Matrix) -> (u32, u32) {
    if matrix.a == 0 && matrix.d == 0 && matrix.b != 0 { (height, width) } else { (width, height) }
}

//! `WebM` and Matroska.

use std::{
    fs::File,
    io::{BufReader, Seek as _},
};

use matroska_demuxer::{Frame, MatroskaFile, TrackType};

use super::{Tracks, damaged, waveform::Opus};
use crate::Error;

type Demuxer<'a> = MatroskaFile<BufReader<&'a mut File>>;

fn open(file: &mut File) -> Result<Demuxer<'_>, Error> {
    file.rewind()?;
    Ok(MatroskaFile::open(BufReader::new(file)).map_err(damaged)?)
}

/// What browsers record says nothing of its length: then the last frame does.
pub fn tracks(file: &mut File) -> Result<Tracks, Error> {
    let mut demuxer = open(file)?;
    let mut tracks = Tracks::default();
    for track in demuxer.tracks() {
        if let (TrackType::Video, Some(video)) = (track.track_type(), track.video()) {
            tracks.pictures = true;
            let side = |shown: Option<std::num::NonZeroU64>, stored: std::num::NonZeroU64| {
                u32::try_from(shown.unwrap_or(stored).get()).ok()
            };
            let width = side(video.display_width(), video.pixel_width());
            tracks.size = tracks.size.or(width.zip(side(video.display_height(), video.pixel_height())));
        }
    }
    let scale = demuxer.info().timestamp_scale().get();
    let declared = demuxer.info().duration().filter(|duration| duration.is_finite() && *duration >= 0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is not below 0"
    )]
    let declared = declared.map(|duration| duration as u64);
    let ticks = match declared {
        Some(ticks) if ticks > 0 => Some(ticks),
        _ => last_timestamp(&mut demuxer),
    };
    tracks.duration_ms = ticks.map(|ticks| ticks.saturating_mul(scale) / 1_000_000);
    Ok(tracks)
}

/// What is broken off in the middle counts up to there.
fn last_timestamp(demuxer: &mut Demuxer<'_>) -> Option<u64> {
    let (mut frame, mut last) = (Frame::default(), None);
    while matches!(demuxer.next_frame(&mut frame), Ok(true)) {
        last = last.max(Some(frame.timestamp));
    }
    last
}

/// The loudness of its first track of Opus.
pub fn waveform(file: &mut File) -> Option<Vec<u8>> {
    let mut demuxer = open(file).ok()?;
    let opus = |track: &&matroska_demuxer::TrackEntry| track.codec_id() == "A_OPUS";
    let track = demuxer.tracks().iter().find(opus)?.track_number().get();
    let (mut decoder, mut frame) = (Opus::new()?, Frame::default());
    while matches!(demuxer.next_frame(&mut frame), Ok(true)) {
        if frame.track == track {
            decoder.packet(&frame.data);
        }
    }
    Some(decoder.waveform())
}

//! Sound: how long it is and, where it can be decoded in Rust, how loud.

use std::{
    fs::File,
    io::{BufReader, Seek as _},
};

use lofty::{
    config::{ParseOptions, ParsingMode},
    file::{AudioFile as _, FileType},
    probe::Probe,
};
use natterjack_domain::attachment::AttachmentKind;
use ogg::PacketReader;

use super::{
    Looked, Tracks, damaged, matroska,
    waveform::{Loudness, Opus},
};
use crate::Error;

/// Longest sound whose loudness is looked at: decoding takes about a second for each hour.
const WAVEFORM_MAX_MS: u64 = 4 * 3_600_000;

/// `tracks`: of a container that was looked into already.
pub fn look(mime: &'static str, file: &mut File, tracks: Option<&Tracks>) -> Result<Looked, Error> {
    let mut looked = Looked::new(AttachmentKind::Audio, mime);
    looked.duration_ms = match tracks {
        Some(tracks) => tracks.duration_ms,
        None => Some(duration_ms(mime, file)?),
    };
    if looked.duration_ms.is_some_and(|ms| ms <= WAVEFORM_MAX_MS) {
        looked.waveform = match mime {
            "audio/wav" => wav(file)?,
            "audio/mpeg" => mp3(file)?,
            "audio/ogg" => ogg_opus(file)?,
            "audio/webm" => matroska::waveform(file).unwrap_or_default(),
            _ => vec![],
        };
    }
    Ok(looked)
}

fn duration_ms(mime: &str, file: &mut File) -> Result<u64, Error> {
    file.rewind()?;
    // Not its tags: what they hold may be as long as the file.
    let options =
        ParseOptions::new().read_tags(false).read_cover_art(false).parsing_mode(ParsingMode::Relaxed);
    let reader = BufReader::new(file);
    let probe = match mime {
        "audio/mpeg" => Probe::with_file_type(reader, FileType::Mpeg),
        "audio/flac" => Probe::with_file_type(reader, FileType::Flac),
        "audio/wav" => Probe::with_file_type(reader, FileType::Wav),
        "audio/aac" => Probe::with_file_type(reader, FileType::Aac),
        "audio/aiff" => Probe::with_file_type(reader, FileType::Aiff),
        _ => Probe::new(reader).guess_file_type()?,
    };
    let read = probe.options(options).read().map_err(damaged)?;
    let duration = read.properties().duration();
    if duration.is_zero() {
        return Err(damaged("there is no sound in it").into());
    }
    Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn wav(file: &mut File) -> Result<Vec<u8>, Error> {
    file.rewind()?;
    let Ok(mut reader) = hound::WavReader::new(BufReader::new(file)) else { return Ok(vec![]) };
    let mut loudness = Loudness::new();
    let spec = reader.spec();
    if spec.sample_format == hound::SampleFormat::Float {
        reader.samples::<f32>().map_while(Result::ok).for_each(|sample| loudness.add(sample));
    } else {
        #[expect(clippy::cast_precision_loss, reason = "it is drawn on some pixels")]
        reader.samples::<i32>().map_while(Result::ok).for_each(|sample| loudness.add(sample as f32));
    }
    Ok(loudness.waveform())
}

fn mp3(file: &mut File) -> Result<Vec<u8>, Error> {
    file.rewind()?;
    let Ok(mut reader) = nanomp3::Reader::<_, f32>::new(BufReader::new(file)) else { return Ok(vec![]) };
    let (mut loudness, mut samples) = (Loudness::new(), vec![0.0; 4_096]);
    while let Ok(count @ 1..) = reader.read(&mut samples) {
        samples[..count].iter().for_each(|sample| loudness.add(*sample));
    }
    Ok(loudness.waveform())
}

/// Vorbis, the other one in this container, is not decoded.
fn ogg_opus(file: &mut File) -> Result<Vec<u8>, Error> {
    file.rewind()?;
    let mut packets = PacketReader::new(BufReader::new(file));
    match packets.read_packet() {
        Ok(Some(head)) if head.data.starts_with(b"OpusHead") => {}
        _ => return Ok(vec![]),
    }
    let Some(mut opus) = Opus::new() else { return Ok(vec![]) };
    // Its comments are the second.
    let _ = packets.read_packet();
    while let Ok(Some(packet)) = packets.read_packet() {
        opus.packet(&packet.data);
    }
    Ok(opus.waveform())
}

//! What is in a file, whatever its sender says: its type, its size as a picture, its length as sound.
//!
//! Total: any bytes give an answer or a refusal, in bounded memory. What is read was sent by anybody, so nothing counts
//! but the bytes, and every decoder has its limits. Blocking, and may take seconds of processor time.

mod boxes;
mod matroska;
mod picture;
mod sniff;
mod sound;
mod strip;
mod waveform;

use std::{
    fs::File,
    io::{Read as _, Seek as _},
};

use natterjack_domain::attachment::AttachmentKind;

use crate::{Error, Limits, Preview, Purpose, Refusal};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub kind: AttachmentKind,
    pub mime: String,
    /// Pixels, as it is to be shown.
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub duration_ms: Option<u64>,
    pub waveform: Vec<u8>,
    pub blur: Option<String>,
    /// What is kept instead of the file.
    pub content: Option<Vec<u8>>,
    pub previews: Vec<(Preview, Vec<u8>)>,
}

/// The kinds by their limits: voice is audio here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Image,
    Audio,
    Video,
    File,
}

impl Looked {
    fn new(kind: AttachmentKind, mime: &str) -> Self {
        Self {
            kind,
            mime: mime.to_owned(),
            width: None,
            height: None,
            duration_ms: None,
            waveform: vec![],
            blur: None,
            content: None,
            previews: vec![],
        }
    }
}

/// Looks into a whole file.
pub fn look(file: &mut File, declared: &str, purpose: Purpose, limits: &Limits) -> Result<Looked, Error> {
    let size = file.metadata()?.len();
    if size == 0 {
        return Err(Refusal::Empty.into());
    }
    file.rewind()?;
    let mut head = Vec::with_capacity(sniff::HEAD_BYTES);
    file.by_ref().take(sniff::HEAD_BYTES as u64).read_to_end(&mut head)?;
    let mut mime = sniff::sniff(&head);
    // Both containers hold sound as well as pictures; only what is in them tells.
    let tracks = match mime {
        "video/webm" | "video/x-matroska" => Some(matroska::tracks(file)?),
        "video/mp4" | "video/quicktime" | "audio/mp4" => Some(boxes::tracks(file, size)?),
        _ => None,
    };
    if tracks.as_ref().is_some_and(|tracks| !tracks.is_video()) {
        mime = match mime {
            "video/webm" | "video/x-matroska" => "audio/webm",
            _ => "audio/mp4",
        };
    } else if tracks.is_some() && mime == "audio/mp4" {
        mime = "video/mp4";
    }
    let class = Class::of(mime);
    check(class, mime, size, declared, purpose, limits)?;
    let mut looked = match class {
        Class::Image => {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            file.rewind()?;
            file.by_ref().take(limits.image_max_bytes).read_to_end(&mut bytes)?;
            picture::look(mime, bytes, limits.pixels_max)?
        }
        Class::Audio => sound::look(mime, file, tracks.as_ref())?,
        Class::Video => {
            let mut looked = Looked::new(AttachmentKind::Video, mime);
            if let Some(tracks) = &tracks {
                looked.duration_ms = tracks.duration_ms;
                (looked.width, looked.height) = tracks.size.unzip();
            }
            looked
        }
        Class::File => Looked::new(AttachmentKind::File, mime),
    };
    if purpose == Purpose::Voice {
        looked.kind = AttachmentKind::Voice;
    }
    Ok(looked)
}

fn check(
    class: Class,
    mime: &str,
    size: u64,
    declared: &str,
    purpose: Purpose,
    limits: &Limits,
) -> Result<(), Refusal> {
    let (allowed, max) = limits.of(class);
    if !allowed.iter().any(|pattern| matches(pattern, mime)) {
        return Err(Refusal::Type(mime.to_owned()));
    }
    let mismatch =
        |declared: &str| Refusal::Mismatch { declared: declared.to_owned(), found: mime.to_owned() };
    if purpose == Purpose::Voice && class != Class::Audio {
        return Err(mismatch("a voice message"));
    }
    // A picture that is none misleads; a JPEG that is called a PNG, or sound in a container of video, is put right.
    let said = Class::of_declared(declared);
    let played = |class| matches!(class, Class::Audio | Class::Video);
    if said != Class::File && said != class && !(played(said) && played(class)) {
        return Err(mismatch(declared));
    }
    if size > max {
        return Err(Refusal::TooLarge { what: class.name(), length: size, max });
    }
    Ok(())
}

/// `image/png` is matched by itself, `image/*` and `*`.
fn matches(pattern: &str, mime: &str) -> bool {
    pattern == "*"
        || pattern == mime
        || pattern.strip_suffix('*').is_some_and(|start| start.ends_with('/') && mime.starts_with(start))
}

impl Class {
    /// Of a type that was found: only those that can be looked into are more than files.
    fn of(mime: &str) -> Self {
        match mime {
            "image/jpeg" | "image/png" | "image/gif" | "image/webp" => Self::Image,
            "audio/mpeg" | "audio/ogg" | "audio/mp4" | "audio/webm" | "audio/wav" | "audio/flac"
            | "audio/aac" | "audio/aiff" => Self::Audio,
            "video/mp4" | "video/quicktime" | "video/webm" | "video/x-matroska" => Self::Video,
            _ => Self::File,
        }
    }

    /// Of a type that was said: pictures and sound that cannot be looked into are sent as files.
    fn of_declared(mime: &str) -> Self {
        let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let known = |class| if mime.contains("svg") { Self::File } else { class };
        match mime.split('/').next() {
            Some("image") => match mime.as_str() {
                "image/jpeg" | "image/jpg" | "image/png" | "image/apng" | "image/gif" | "image/webp" => {
                    Self::Image
                }
                _ => known(Self::File),
            },
            Some("audio") => Self::Audio,
            Some("video") => Self::Video,
            _ => Self::File,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Image => "an image",
            Self::Audio => "sound",
            Self::Video => "a video",
            Self::File => "a file",
        }
    }
}

impl Limits {
    fn of(&self, class: Class) -> (&[String], u64) {
        match class {
            Class::Image => (&self.image_types, self.image_max_bytes),
            Class::Audio => (&self.audio_types, self.audio_max_bytes),
            Class::Video => (&self.video_types, self.video_max_bytes),
            Class::File => (&self.file_types, self.file_max_bytes),
        }
    }

    /// What an upload may have by what is said of it; by what it is, it may be less.
    pub(crate) fn of_declared(&self, declared: &str) -> (&'static str, u64) {
        match Class::of_declared(declared) {
            Class::File => ("an upload", self.max_bytes()),
            class => (class.name(), self.of(class).1),
        }
    }
}

/// What a container of sound and pictures says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tracks {
    duration_ms: Option<u64>,
    /// Of its first picture track.
    size: Option<(u32, u32)>,
    pictures: bool,
}

impl Tracks {
    const fn is_video(&self) -> bool {
        self.pictures
    }
}

fn damaged(why: impl std::fmt::Display) -> Refusal {
    // Words of a library, about bytes of anybody's.
    Refusal::Damaged(why.to_string().chars().filter(|c| !c.is_control()).take(120).collect())
}

#[cfg(test)]
mod tests;

//! Pictures: decoded once, under limits, for smaller ones of them and a blur, and kept without what is not the picture.

use std::io::Cursor;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
    metadata::Orientation,
};
use natterjack_domain::attachment::AttachmentKind;

use super::{Looked, damaged, strip};
use crate::{Preview, Refusal};

/// Longest sides of smaller pictures; none is made that would not be smaller.
const PREVIEW_SIDES: [u16; 2] = [360, 1_280];
/// Of what is shown for a moment, and of what takes the place of a picture that was turned.
const PREVIEW_QUALITY: u8 = 80;
const TURNED_QUALITY: u8 = 92;
/// A thumbhash takes no larger pictures.
const BLUR_SIDE: u32 = 100;
/// What decoding may take beyond the pixels: eight bytes each, and a profile of colours.
const EXTRA_BYTES: u64 = 16 * 1_048_576;

/// `mime`: one of the four that are decoded.
pub fn look(mime: &'static str, bytes: Vec<u8>, pixels_max: u64) -> Result<Looked, Refusal> {
    let format = ImageFormat::from_mime_type(mime).ok_or_else(|| Refusal::Type(mime.to_owned()))?;
    let (width, height) = reader(&bytes, format, Limits::no_limits()).into_dimensions().map_err(refusal)?;
    if u64::from(width) * u64::from(height) > pixels_max {
        return Err(Refusal::Pixels { width, height, max: pixels_max });
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(u64::from(width) * u64::from(height) * 8 + EXTRA_BYTES);
    let turned = orientation(&bytes, format, limits.clone());
    let bare = strip::strip(mime, &bytes).map_err(damaged)?;
    drop(bytes);
    let mut decoder = reader(&bare, format, limits).into_decoder().map_err(refusal)?;
    let profile = decoder.icc_profile().ok().flatten();
    let mut image = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    let content = if turned == Orientation::NoTransforms {
        bare
    } else {
        image.apply_orientation(turned);
        encode(&image, format, TURNED_QUALITY, profile.clone()).map_err(refusal)?
    };
    let mut looked = Looked::new(AttachmentKind::Image, mime);
    (looked.width, looked.height) = (Some(image.width()), Some(image.height()));
    looked.blur = Some(blur(&image));
    looked.previews = previews(&image, profile.as_ref()).map_err(refusal)?;
    looked.content = Some(content);
    Ok(looked)
}

fn reader(bytes: &[u8], format: ImageFormat, limits: Limits) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    reader
}

/// How the camera was held. What cannot be read says nothing.
fn orientation(bytes: &[u8], format: ImageFormat, limits: Limits) -> Orientation {
    let decoder = reader(bytes, format, limits).into_decoder();
    decoder.and_then(|mut decoder| decoder.orientation()).unwrap_or(Orientation::NoTransforms)
}

fn previews(image: &DynamicImage, profile: Option<&Vec<u8>>) -> Result<Vec<(Preview, Vec<u8>)>, ImageError> {
    let longest = image.width().max(image.height());
    let mut source = image;
    let mut made = Vec::with_capacity(PREVIEW_SIDES.len());
    let mut smaller: DynamicImage;
    // From the largest to the smallest, each from the one before.
    for side in PREVIEW_SIDES.into_iter().rev().filter(|side| u32::from(*side) < longest) {
        smaller = source.thumbnail(side.into(), side.into());
        let format = if is_opaque(&smaller) { ImageFormat::Jpeg } else { ImageFormat::WebP };
        let bytes = encode(&smaller, format, PREVIEW_QUALITY, profile.cloned())?;
        let mime = format.to_mime_type().to_owned();
        let size = bytes.len() as u64;
        made.push((Preview { side, width: smaller.width(), height: smaller.height(), mime, size }, bytes));
        source = &smaller;
    }
    made.reverse();
    Ok(made)
}

fn is_opaque(image: &DynamicImage) -> bool {
    !image.color().has_alpha() || image.to_rgba8().pixels().all(|pixel| pixel.0[3] == u8::MAX)
}

fn encode(
    image: &DynamicImage,
    format: ImageFormat,
    quality: u8,
    profile: Option<Vec<u8>>,
) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    match format {
        ImageFormat::Jpeg => {
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
            set_profile(&mut encoder, profile);
            DynamicImage::from(image.to_rgb8()).write_with_encoder(encoder)?;
        }
        ImageFormat::WebP => {
            let mut encoder = WebPEncoder::new_lossless(&mut bytes);
            set_profile(&mut encoder, profile);
            DynamicImage::from(image.to_rgba8()).write_with_encoder(encoder)?;
        }
        _ => {
            let mut encoder = PngEncoder::new(&mut bytes);
            set_profile(&mut encoder, profile);
            image.write_with_encoder(encoder)?;
        }
    }
    Ok(bytes)
}

/// Where it cannot be set, colours are off by a shade.
fn set_profile(encoder: &mut impl image::ImageEncoder, profile: Option<Vec<u8>>) {
    let _ = profile.map(|profile| encoder.set_icc_profile(profile));
}

/// Some thirty bytes that show what the picture is like (<https://evanw.github.io/thumbhash/>), in base64.
fn blur(image: &DynamicImage) -> String {
    let small = image.thumbnail(BLUR_SIDE, BLUR_SIDE).to_rgba8();
    let (width, height) = (small.width() as usize, small.height() as usize);
    STANDARD_NO_PAD.encode(thumbhash::rgba_to_thumb_hash(width, height, small.as_raw()))
}

fn refusal(error: ImageError) -> Refusal {
    damaged(error)
}

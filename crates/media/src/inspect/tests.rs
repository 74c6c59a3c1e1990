use std::io::{Cursor, Write as _};

use image::{AnimationDecoder as _, ImageFormat, codecs::gif::GifDecoder};
use natterjack_domain::attachment::AttachmentKind;
use natterjack_runtime::config::Reader;
use proptest::prelude::*;

use super::*;
use crate::{Config, samples};

fn limits() -> Limits {
    let mut reader = Reader::from_pairs([("NATTERJACK_MEDIA_PIXELS_MAX", "1000000")]);
    Config::read(&mut reader).limits
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn look_as(bytes: &[u8], declared: &str, purpose: Purpose) -> Result<Looked, Refusal> {
    look(&mut file(bytes), declared, purpose, &limits()).map_err(|error| match error {
        Error::Refused(refusal) => refusal,
        // What cannot be read to its end.
        other => Refusal::Damaged(other.to_string()),
    })
}

fn look_at(bytes: &[u8]) -> Result<Looked, Refusal> {
    look_as(bytes, "", Purpose::Message)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_still_picture_has_its_size_a_blur_and_smaller_ones() {
    for (bytes, mime) in [
        (samples::png(800, 400), "image/png"),
        (samples::jpeg(800, 400), "image/jpeg"),
        (samples::webp(800, 400), "image/webp"),
    ] {
        let looked = look_at(&bytes).unwrap();
        assert_eq!((looked.kind, looked.mime.as_str()), (AttachmentKind::Image, mime));
        assert_eq!((looked.width, looked.height), (Some(800), Some(400)));
        assert!(looked.blur.is_some_and(|blur| (20..=64).contains(&blur.len())));
        let [(preview, small)] = looked.previews.as_slice() else { panic!("{mime}") };
        assert_eq!((preview.side, preview.width, preview.height), (360, 360, 180));
        assert_eq!(preview.mime, "image/jpeg");
        assert_eq!(image::load_from_memory(small).unwrap().width(), 360);
        let kept = image::load_from_memory(&looked.content.unwrap()).unwrap().to_rgb8();
        assert_eq!(kept, image::load_from_memory(&bytes).unwrap().to_rgb8(), "{mime}: no pixel is changed");
    }
    // What can be seen through stays so.
    let clear = image::RgbaImage::from_pixel(500, 500, image::Rgba([1, 2, 3, 40]));
    let looked = look_at(&samples::encoded(clear, ImageFormat::Png)).unwrap();
    assert_eq!(looked.previews[0].0.mime, "image/webp");
    assert!(look_at(&samples::png(300, 300)).unwrap().previews.is_empty());
}

#[test]
fn a_picture_is_turned_as_the_camera_was_held_and_says_no_more_where_that_was() {
    let looked = look_as(&samples::turned_jpeg(60, 40), "image/jpeg", Purpose::Message).unwrap();
    assert_eq!((looked.width, looked.height), (Some(40), Some(60)));
    let kept = looked.content.unwrap();
    assert!(!holds(&kept, b"secret") && !holds(&kept, b"Exif"));
    // Its left is its top now.
    let kept = image::load_from_memory(&kept).unwrap().to_rgb8();
    assert!(kept.get_pixel(20, 5).0[0] > 200 && kept.get_pixel(20, 55).0[0] < 60);
}

#[test]
fn what_is_not_the_picture_is_left_out() {
    let png = samples::png(10, 10);
    let zip = b"PK\x03\x04 a whole archive <script>alert(1)</script>";
    let text = samples::png_chunk(b"tEXt", b"Author\0secret");
    let polyglots = [
        [&png[..33], &text, &png[33..], zip].concat(),
        [&samples::jpeg(10, 10)[..], zip].concat(),
        [&samples::webp(10, 10)[..], zip].concat(),
        [&samples::animated_gif()[..], zip].concat(),
    ];
    for bytes in polyglots {
        let looked = look_at(&bytes).unwrap();
        let kept = looked.content.unwrap();
        assert!(
            !holds(&kept, b"PK\x03\x04") && !holds(&kept, b"script") && !holds(&kept, b"secret"),
            "{}",
            looked.mime
        );
        assert!(image::load_from_memory(&kept).is_ok());
    }
}

#[test]
fn what_moves_goes_on_moving() {
    let gif = look_at(&samples::animated_gif()).unwrap();
    assert_eq!((gif.mime.as_str(), gif.width, gif.height), ("image/gif", Some(10), Some(20)));
    let kept = gif.content.unwrap();
    assert!(!holds(&kept, b"secret"));
    assert_eq!(GifDecoder::new(Cursor::new(&kept)).unwrap().into_frames().count(), 2);

    let webp = look_at(&samples::animated_webp()).unwrap();
    assert_eq!((webp.mime.as_str(), webp.width, webp.height), ("image/webp", Some(16), Some(12)));
    let kept = webp.content.unwrap();
    assert!(!holds(&kept, b"secret") && kept[20] == 0b0000_0010);
    let decoder = image::codecs::webp::WebPDecoder::new(Cursor::new(&kept)).unwrap();
    assert_eq!(decoder.into_frames().count(), 2);
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() {
    for side in [1_001, 50_000, u32::MAX / 4] {
        let refusal = look_at(&samples::pixel_bomb(side)).unwrap_err();
        assert!(matches!(refusal, Refusal::Pixels { .. } | Refusal::Damaged(_)), "{refusal:?}");
    }
    assert!(matches!(
        look_at(&samples::pixel_bomb(1_001)),
        Err(Refusal::Pixels { width: 1_001, height: 1_001, .. })
    ));
    let mut webp = samples::animated_webp();
    webp[24..30].copy_from_slice(&[0xff, 0x3f, 0, 0xff, 0x3f, 0]);
    assert!(matches!(look_at(&webp), Err(Refusal::Pixels { .. })));
    // A chunk that unpacks to as much as one likes is not even kept; pixels beyond the picture's are not unpacked.
    let png = samples::png(10, 10);
    let zeros = image::RgbaImage::new(2_000, 400);
    let large = samples::encoded(zeros, ImageFormat::Png);
    let text = samples::png_chunk(b"zTXt", &[b"k\0\0", &large[41..large.len() - 16]].concat());
    let looked = look_at(&[&png[..33], &text, &png[33..]].concat()).unwrap();
    assert!(!holds(&looked.content.unwrap(), b"zTXt"));
    let _ = look_at(&[&png[..33], &large[33..]].concat());
}

#[test]
fn a_file_that_is_cut_off_or_empty_is_damaged() {
    assert_eq!(look_at(b""), Err(Refusal::Empty));
    for whole in [
        samples::png(40, 40),
        samples::jpeg(40, 40),
        samples::webp(40, 40),
        samples::animated_gif(),
        samples::mp4(320, 240, false),
    ] {
        assert!(look_at(&whole).is_ok());
        for part in [whole.len() - 1, whole.len() / 2, 40] {
            let looked = look_at(&whole[..part]);
            assert!(matches!(looked, Err(Refusal::Damaged(_))), "{part} of {}: {looked:?}", whole.len());
        }
    }
}

#[test]
fn sound_has_a_length_and_shows_how_loud_it_is() {
    for (bytes, mime, millis, loudness) in [
        (samples::wav(3_000), "audio/wav", 3_000, true),
        (samples::mp3(40), "audio/mpeg", 1_044, true),
        (samples::ogg_opus(100), "audio/ogg", 2_000, true),
        (samples::webm(false, 1_000), "audio/webm", 1_000, true),
    ] {
        let looked = look_at(&bytes).unwrap();
        assert_eq!((looked.kind, looked.mime.as_str()), (AttachmentKind::Audio, mime));
        let found = looked.duration_ms.unwrap();
        assert!(found.abs_diff(millis) <= 60, "{mime}: {found} ms");
        assert_eq!(!looked.waveform.is_empty(), loudness, "{mime}");
        assert!(looked.waveform.len() <= 64);
        assert_eq!(look_as(&bytes, "", Purpose::Voice).unwrap().kind, AttachmentKind::Voice);
    }
    let waveform = look_at(&samples::wav(3_000)).unwrap().waveform;
    assert_eq!(waveform.len(), 64);
    assert!(
        waveform[..31].iter().all(|value| *value == 0) && waveform[33..].iter().all(|value| *value == 100)
    );
}

#[test]
fn a_film_has_a_size_and_a_length() {
    let looked = look_at(&samples::mp4(640, 360, false)).unwrap();
    assert_eq!((looked.kind, looked.mime.as_str()), (AttachmentKind::Video, "video/mp4"));
    assert_eq!((looked.width, looked.height, looked.duration_ms), (Some(640), Some(360), Some(90_000)));
    let turned = look_at(&samples::mp4(640, 360, true)).unwrap();
    assert_eq!((turned.width, turned.height), (Some(360), Some(640)));
    let recorded = look_at(&samples::webm(true, 500)).unwrap();
    assert_eq!((recorded.kind, recorded.mime.as_str()), (AttachmentKind::Video, "video/webm"));
    assert_eq!((recorded.width, recorded.height, recorded.duration_ms), (Some(320), Some(240), Some(500)));
}

#[test]
fn a_lie_is_refused_or_put_right() {
    let jpeg = samples::jpeg(10, 10);
    assert_eq!(look_as(&jpeg, "image/png", Purpose::Message).unwrap().mime, "image/jpeg");
    assert_eq!(look_as(&jpeg, "application/pdf", Purpose::Message).unwrap().mime, "image/jpeg");
    assert_eq!(
        look_as(&samples::webm(false, 100), "video/webm", Purpose::Message).unwrap().mime,
        "audio/webm"
    );
    for (bytes, declared) in [
        (&b"<html><script>alert(1)</script>"[..], "image/png"),
        (b"plain words", "image/jpeg"),
        (&jpeg, "video/mp4"),
        (&samples::wav(100), "image/png"),
    ] {
        let refused = look_as(bytes, declared, Purpose::Message);
        assert!(matches!(refused, Err(Refusal::Mismatch { .. })), "{declared}: {refused:?}");
    }
    for bytes in [&jpeg[..], &samples::mp4(8, 8, false), b"plain words"] {
        assert!(matches!(look_as(bytes, "audio/ogg", Purpose::Voice), Err(Refusal::Mismatch { .. })));
    }
}

#[test]
fn what_runs_is_a_file_or_nothing() {
    for (bytes, mime) in [
        (&b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"[..], "image/svg+xml"),
        (b"<!DOCTYPE html><body onload=alert(1)>", "text/html"),
        (b"words", "text/plain"),
    ] {
        let looked = look_as(bytes, "image/svg+xml", Purpose::Message).unwrap();
        assert_eq!((looked.kind, looked.mime.as_str()), (AttachmentKind::File, mime));
        assert!(looked.content.is_none() && looked.previews.is_empty());
    }
    let program = [&b"MZ\x90\0"[..], &[0; 200]].concat();
    assert!(matches!(look_at(&program), Err(Refusal::Type(_))));
}

#[test]
fn patterns_of_types() {
    assert!(
        matches("image/png", "image/png") && matches("image/*", "image/png") && matches("*", "image/png")
    );
    assert!(
        !matches("image/p", "image/png")
            && !matches("image*", "image/png")
            && !matches("text/*", "image/png")
    );
}

fn all_samples() -> Vec<Vec<u8>> {
    vec![
        samples::png(20, 20),
        samples::jpeg(20, 20),
        samples::turned_jpeg(20, 10),
        samples::webp(20, 20),
        samples::animated_gif(),
        samples::animated_webp(),
        samples::wav(50),
        samples::mp3(4),
        samples::ogg_opus(5),
        samples::webm(true, 100),
        samples::webm(false, 100),
        samples::mp4(20, 20, false),
        [&b"fLaC\x80\0\0\x22"[..], &[0; 60]].concat(),
        [&b"\xff\xf1\x50\x80\x02\x1f\xfc"[..], &[0; 60]].concat(),
        [&b"FORM\0\0\0\x40AIFFCOMM"[..], &[0; 60]].concat(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 150 } else { 20_000 }))]

    /// Whatever comes is answered: no panic, no endless loop, no memory beyond the limits.
    #[test]
    fn any_bytes_give_an_answer_or_a_refusal(
        which in 0_usize..15,
        cut in proptest::option::of(0.0..1.0),
        changes in proptest::collection::vec((0.0..1.0, any::<u8>()), 0..8),
        tail in proptest::collection::vec(any::<u8>(), 0..16),
    ) {
        let mut bytes = all_samples().swap_remove(which);
        let place = |at: f64, length: usize| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let place = (at * length as f64) as usize;
            place
        };
        for (at, byte) in changes {
            let at = place(at, bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(place(cut, bytes.len()));
        }
        bytes.extend(tail);
        for purpose in [Purpose::Message, Purpose::Voice] {
            let _ = look_as(&bytes, "", purpose);
        }
    }

    #[test]
    fn what_was_kept_of_a_picture_is_kept_again(which in 0_usize..6) {
        let bytes = all_samples().swap_remove(which);
        let once = look_at(&bytes).unwrap().content.unwrap();
        let twice = look_at(&once).unwrap().content.unwrap();
        prop_assert_eq!(once, twice);
    }
}

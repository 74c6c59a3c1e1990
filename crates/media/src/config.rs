use std::{path::PathBuf, time::Duration};

use natterjack_runtime::config::{Reader, Secret};

/// How attachments are taken in and kept.
#[derive(Debug, Clone)]
pub struct Config {
    pub store: StoreConfig,
    /// Where a whole upload is put together to be looked into; nothing stays there.
    pub scratch_dir: PathBuf,
    pub limits: Limits,
    /// How long a link to a file is good for.
    pub link_ttl: Duration,
    /// A sender who is silent for so long is cut off.
    pub stall_timeout: Duration,
    /// How long one request may bring bytes; what has come is kept, and the next one goes on.
    pub request_timeout: Duration,
    /// What belongs to no message, or to none that is left, is removed after this time.
    pub orphan_age: Duration,
    /// How often that is looked for.
    pub collect_period: Duration,
    /// Files looked into at once, each on a thread of its own.
    pub workers: usize,
    /// Bodies taken in at once.
    pub bodies: usize,
}

/// Where files lie.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// One front's own, or shared between all.
    Directory(PathBuf),
    S3(S3Config),
}

/// Anything that speaks S3.
#[derive(Debug, Clone)]
pub struct S3Config {
    pub bucket: String,
    pub region: String,
    /// Amazon's when there is none.
    pub endpoint: Option<String>,
    pub key_id: String,
    pub secret: Secret,
}

/// What may be uploaded.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Patterns of media types: `image/png`, `image/*`, `*`.
    pub image_types: Vec<String>,
    pub audio_types: Vec<String>,
    pub video_types: Vec<String>,
    pub file_types: Vec<String>,
    pub image_max_bytes: u64,
    pub audio_max_bytes: u64,
    pub video_max_bytes: u64,
    pub file_max_bytes: u64,
    /// Width times height of an image.
    pub pixels_max: u64,
    /// What all uploads of one person may come to.
    pub quota_bytes: u64,
    /// Uploads of one person that are not whole yet.
    pub open_max: u32,
}

const MIB: u64 = 1_048_576;
const DAY_SECS: u64 = 86_400;

const IMAGE_TYPES: &str = "image/jpeg,image/png,image/gif,image/webp";
const AUDIO_TYPES: &str = "audio/mpeg,audio/ogg,audio/mp4,audio/webm,audio/wav,audio/flac,audio/aac";
const VIDEO_TYPES: &str = "video/mp4,video/webm,video/quicktime";
/// No programs. Who wants to send one packs it.
const FILE_TYPES: &str = "text/*,image/*,audio/*,video/*,font/*,application/pdf,application/rtf,\
     application/octet-stream,application/zip,application/gzip,application/x-tar,application/x-7z-compressed,\
     application/x-bzip2,application/x-xz,application/zstd,application/vnd.rar,application/epub+zip,application/msword,\
     application/vnd.ms-excel,application/vnd.ms-powerpoint,\
     application/vnd.openxmlformats-officedocument.wordprocessingml.document,\
     application/vnd.openxmlformats-officedocument.spreadsheetml.sheet,\
     application/vnd.openxmlformats-officedocument.presentationml.presentation,\
     application/vnd.oasis.opendocument.text,application/vnd.oasis.opendocument.spreadsheet,\
     application/vnd.oasis.opendocument.presentation";

impl Config {
    pub fn read(r: &mut Reader) -> Self {
        let secs = |r: &mut Reader, name: &str, default: u64, most: u64| {
            Duration::from_secs(r.in_range(name, default, 1..=most))
        };
        Self {
            store: StoreConfig::read(r),
            scratch_dir: r
                .parse("NATTERJACK_MEDIA_SCRATCH_DIR", std::env::temp_dir().display().to_string())
                .into(),
            limits: Limits::read(r),
            link_ttl: secs(r, "NATTERJACK_MEDIA_LINK_S", 300, DAY_SECS),
            stall_timeout: secs(r, "NATTERJACK_MEDIA_STALL_S", 30, 3_600),
            request_timeout: secs(r, "NATTERJACK_MEDIA_REQUEST_S", 900, DAY_SECS),
            orphan_age: secs(r, "NATTERJACK_MEDIA_ORPHAN_S", DAY_SECS, 365 * DAY_SECS),
            collect_period: secs(r, "NATTERJACK_MEDIA_COLLECT_S", 600, DAY_SECS),
            workers: r.in_range("NATTERJACK_MEDIA_WORKERS", 2, 1..=64),
            bodies: r.in_range("NATTERJACK_MEDIA_BODIES", 64, 1..=4_096),
        }
    }
}

impl StoreConfig {
    fn read(r: &mut Reader) -> Self {
        let dir: Option<PathBuf> = r.optional("NATTERJACK_MEDIA_DIR");
        let bucket: Option<String> = r.optional("NATTERJACK_MEDIA_S3_BUCKET");
        let region = r.text("NATTERJACK_MEDIA_S3_REGION", Some("us-east-1"));
        let endpoint = r.optional("NATTERJACK_MEDIA_S3_ENDPOINT");
        let key_id = r.text("NATTERJACK_MEDIA_S3_KEY_ID", Some(""));
        let secret = r.optional_secret("NATTERJACK_MEDIA_S3_SECRET");
        let Some(bucket) = bucket else {
            return Self::Directory(dir.unwrap_or_else(|| ".data/media".into()));
        };
        if dir.is_some() {
            r.fail("NATTERJACK_MEDIA_DIR", "files lie in a directory or in S3, not in both");
        }
        if key_id.is_empty() || secret.is_none() {
            r.fail(
                "NATTERJACK_MEDIA_S3_BUCKET",
                "needs NATTERJACK_MEDIA_S3_KEY_ID and NATTERJACK_MEDIA_S3_SECRET",
            );
        }
        Self::S3(S3Config { bucket, region, endpoint, key_id, secret: secret.unwrap_or_default() })
    }
}

impl Limits {
    fn read(r: &mut Reader) -> Self {
        let bytes =
            |r: &mut Reader, name: &str, default: u64| r.in_range(name, default, 1..=64 * 1_024 * MIB);
        Self {
            image_types: r.list("NATTERJACK_MEDIA_IMAGE_TYPES", IMAGE_TYPES),
            audio_types: r.list("NATTERJACK_MEDIA_AUDIO_TYPES", AUDIO_TYPES),
            video_types: r.list("NATTERJACK_MEDIA_VIDEO_TYPES", VIDEO_TYPES),
            file_types: r.list("NATTERJACK_MEDIA_FILE_TYPES", FILE_TYPES),
            // An image is held in memory while it is looked into.
            image_max_bytes: r.in_range("NATTERJACK_MEDIA_IMAGE_MAX_BYTES", 20 * MIB, 1..=256 * MIB),
            audio_max_bytes: bytes(r, "NATTERJACK_MEDIA_AUDIO_MAX_BYTES", 50 * MIB),
            video_max_bytes: bytes(r, "NATTERJACK_MEDIA_VIDEO_MAX_BYTES", 200 * MIB),
            file_max_bytes: bytes(r, "NATTERJACK_MEDIA_FILE_MAX_BYTES", 100 * MIB),
            pixels_max: r.in_range("NATTERJACK_MEDIA_PIXELS_MAX", 50_000_000, 1..=400_000_000),
            quota_bytes: r.in_range("NATTERJACK_MEDIA_QUOTA_BYTES", 2_048 * MIB, 1..=i64::MAX.unsigned_abs()),
            open_max: r.in_range("NATTERJACK_MEDIA_OPEN_MAX", 20, 1..=10_000),
        }
    }

    /// The most that any upload may have.
    pub fn max_bytes(&self) -> u64 {
        self.image_max_bytes.max(self.audio_max_bytes).max(self.video_max_bytes).max(self.file_max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, String) {
        let mut r = Reader::from_pairs(pairs.iter().copied());
        let config = Config::read(&mut r);
        (config, r.finish().err().map(|e| e.to_string()).unwrap_or_default())
    }

    #[test]
    fn files_lie_in_one_place_and_its_secret_shows_nowhere() {
        assert!(matches!(read(&[]), (Config { store: StoreConfig::Directory(_), .. }, e) if e.is_empty()));
        let s3 = [
            ("NATTERJACK_MEDIA_S3_BUCKET", "b"),
            ("NATTERJACK_MEDIA_S3_KEY_ID", "k"),
            ("NATTERJACK_MEDIA_S3_SECRET", "hunter2"),
        ];
        let (config, errors) = read(&s3);
        assert_eq!(errors, "");
        assert!(matches!(config.store, StoreConfig::S3(_)) && !format!("{config:?}").contains("hunter2"));
        assert!(read(&s3[..2]).1.contains("NATTERJACK_MEDIA_S3_SECRET"));
        assert!(read(&[s3[0], s3[1], s3[2], ("NATTERJACK_MEDIA_DIR", "/x")]).1.contains("not in both"));
    }
}

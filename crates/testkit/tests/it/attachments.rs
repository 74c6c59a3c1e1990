//! Files that messages bear: uploaded in any number of pieces, over any front; given to members and to nobody else.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use natterjack_domain::RoomId;
use natterjack_testkit::{Account, Front, Site, eventually};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;

/// 1 × 1 pixel.
#[rustfmt::skip]
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b,
    0x55, 0x00, 0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00,
    0x82, 0x00, 0x81, 0x77, 0xcd, 0x72, 0xb6, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae,
    0x42, 0x60, 0x82,
];

/// A person with a room, and a front.
struct Scene {
    site: Site,
    front: Front,
    ann: Account,
    room: RoomId,
}

async fn scene(settings: &[(&str, &str)]) -> Scene {
    let mut builder = Site::builder();
    for (name, value) in settings {
        builder = builder.set(name, value);
    }
    let site = builder.start().await;
    let front = site.front().await;
    let ann = site.register(&front.url(), "ann").await;
    let room = ann.create_room(&front.url(), "files", "public").await;
    Scene { site, front, ann, room }
}

impl Scene {
    fn begin(&self, name: &str, mime: &str) -> RequestBuilder {
        let room = self.room.to_string();
        let query = [("room", room.as_str()), ("name", name), ("type", mime)];
        self.ann.request(Method::POST, &format!("{}/v1/attachments", self.front.url())).query(&query)
    }

    async fn upload(&self, name: &str, mime: &str, bytes: impl Into<Bytes>) -> (StatusCode, Value) {
        let response = self.begin(name, mime).body(bytes.into()).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn uploaded(&self, name: &str, mime: &str, bytes: impl Into<Bytes>) -> String {
        let (status, body) = self.upload(name, mime, bytes).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["id"].as_str().unwrap().to_owned()
    }

    /// Begins an upload of `length` bytes that come later; its path.
    async fn later(&self, name: &str, length: usize) -> String {
        let request = self.begin(name, "").header("upload-length", length).header("tus-resumable", "1.0.0");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        response.headers()[header::LOCATION].to_str().unwrap().to_owned()
    }

    fn patch(&self, front: &str, path: &str, offset: u64) -> RequestBuilder {
        let request = self.ann.request(Method::PATCH, &format!("{front}{path}"));
        request
            .header("upload-offset", offset)
            .header(header::CONTENT_TYPE, "application/offset+octet-stream")
    }

    /// Where an upload is.
    async fn offset(&self, front: &str, path: &str) -> Option<String> {
        let response = self.ann.request(Method::HEAD, &format!("{front}{path}")).send().await.unwrap();
        Some(response.headers().get("upload-offset")?.to_str().unwrap().to_owned())
    }

    async fn links(&self, who: &Account, id: &str) -> (StatusCode, Value) {
        who.get(&format!("{}/v1/rooms/{}/attachments/{id}", self.front.url(), self.room)).await
    }

    fn file(&self, links: &Value) -> RequestBuilder {
        self.site.http.get(format!("{}{}", self.front.url(), links["url"].as_str().unwrap()))
    }

    async fn writers(&self) -> i64 {
        let client = self.site.admin().await.unwrap();
        client.query_one("SELECT count(writer) FROM media.uploads", &[]).await.unwrap().get(0)
    }

    /// Waits until a request writes to an upload.
    async fn written(&self) {
        eventually("somebody to write", async || (self.writers().await == 1).then_some(())).await;
    }

    async fn written_by_nobody(&self) {
        eventually("nobody to write", async || (self.writers().await == 0).then_some(())).await;
    }

    /// Neither a row nor a file is left of anything.
    async fn assert_nothing_left(&self) {
        let client = self.site.admin().await.unwrap();
        eventually("nothing to be left", async || {
            let rows: i64 = client.query_one("SELECT count(*) FROM media.uploads", &[]).await.ok()?.get(0);
            (rows == 0 && files(self.site.media.path()) == 0).then_some(())
        })
        .await;
    }
}

fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

async fn code(response: Response) -> (u16, u64) {
    let status = response.status().as_u16();
    (status, response.json::<Value>().await.unwrap()["code"].as_u64().unwrap())
}

#[tokio::test]
async fn what_was_uploaded_is_had_by_its_owner_over_any_front_whole_or_in_part() {
    let scene = scene(&[]).await;
    let id = scene.uploaded("€ notes.txt", "text/plain", "0123456789").await;
    let (status, links) = scene.links(&scene.ann, &id).await;
    assert_eq!(status, StatusCode::OK, "{links}");
    assert_eq!(links["attachment"]["kind"], "file");
    assert_eq!(links["attachment"]["mime"], "text/plain");

    let other = scene.site.front().await;
    let url = format!("{}{}", other.url(), links["url"].as_str().unwrap());
    let whole = scene.site.http.get(&url).send().await.unwrap();
    let headers = whole.headers().clone();
    assert_eq!(headers[header::CONTENT_LENGTH], "10");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "sandbox; default-src 'none'");
    assert!(headers[header::CACHE_CONTROL].to_str().unwrap().contains("private"));
    let disposition = headers[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert_eq!(disposition, "attachment; filename=\"_ notes.txt\"; filename*=UTF-8''%E2%82%AC%20notes.txt");
    assert_eq!(whole.text().await.unwrap(), "0123456789");

    let part = scene.site.http.get(&url).header(header::RANGE, "bytes=2-4").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 2-4/10");
    assert_eq!(part.text().await.unwrap(), "234");
    let beyond = scene.site.http.get(&url).header(header::RANGE, "bytes=10-").send().await.unwrap();
    assert_eq!(beyond.headers()[header::CONTENT_RANGE], "bytes */10");
    assert_eq!(code(beyond).await, (416, 6024));
    let known =
        scene.site.http.get(&url).header(header::IF_NONE_MATCH, &headers[header::ETAG]).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn an_image_is_shown_and_what_runs_is_saved_and_never_named() {
    let scene = scene(&[]).await;
    let image = scene.uploaded("dot.png", "image/png", PNG).await;
    let (_, links) = scene.links(&scene.ann, &image).await;
    assert_eq!((&links["attachment"]["width"], &links["attachment"]["kind"]), (&1.into(), &"image".into()));
    assert!(links["attachment"]["blur"].is_string());
    let response = scene.file(&links).send().await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "image/png");
    assert_eq!(response.headers()[header::CONTENT_DISPOSITION], "inline; filename=\"dot.png\"");
    let saved = scene.file(&links).query(&[("download", "true")]).send().await.unwrap();
    assert_eq!(saved.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"dot.png\"");

    for (name, content) in [
        ("x.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("x.html", "<!doctype html><script>alert(1)</script>"),
        ("x.xml", "<?xml version='1.0'?><a/>"),
    ] {
        let id = scene.uploaded(name, "image/svg+xml", content).await;
        let (_, links) = scene.links(&scene.ann, &id).await;
        let response = scene.file(&links).send().await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream", "{name}");
        let disposition = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap();
        assert!(disposition.starts_with("attachment"), "{disposition}");
    }
}

#[tokio::test]
async fn an_upload_goes_on_over_another_front_where_it_broke_off() {
    let scene = scene(&[]).await;
    let (one, two) = (scene.front.url(), scene.site.front().await);
    let words = "a line of text, again and again\n".repeat(4_000);
    let (first, rest) = words.split_at(50_000);
    let path = scene.later("long.txt", words.len()).await;

    let wrong = scene.patch(&one, &path, 1).body("x").send().await.unwrap();
    assert_eq!(code(wrong).await, (409, 6011));
    let had = scene.patch(&one, &path, 0).body(first.to_owned()).send().await.unwrap();
    assert_eq!(had.status(), StatusCode::NO_CONTENT);
    assert_eq!(had.headers()["upload-offset"], "50000");
    assert_eq!(scene.offset(&two.url(), &path).await.unwrap(), "50000");

    // Broken off in the middle: it goes on from what had come by then.
    let (beginning, _) = rest.split_at(30_000);
    let chunks = [Ok(Bytes::from(beginning.to_owned())), Err(std::io::Error::other("gone"))];
    let body = reqwest::Body::wrap_stream(stream::iter(chunks));
    assert!(scene.patch(&two.url(), &path, 50_000).body(body).send().await.is_err());
    scene.written_by_nobody().await;
    let at: usize = scene.offset(&one, &path).await.unwrap().parse().unwrap();
    assert!((50_000..=80_000).contains(&at), "{at}");
    let end = &words[at..];
    let too_much = scene.patch(&one, &path, at as u64).body(format!("{end}x")).send().await.unwrap();
    assert_eq!(code(too_much).await, (413, 6004));
    let done = scene.patch(&one, &path, at as u64).body(end.to_owned()).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    let (_, state) = scene.ann.get(&format!("{}{path}", two.url())).await;
    assert_eq!(state["attachment"]["size"], words.len());
    let (_, links) = scene.links(&scene.ann, state["id"].as_str().unwrap()).await;
    assert_eq!(scene.file(&links).send().await.unwrap().text().await.unwrap(), words);
    // Only the file is left, not what it came in.
    assert_eq!(files(scene.site.media.path()), 1);
}

#[tokio::test]
async fn two_writers_do_not_mix() {
    let scene = scene(&[("MEDIA_STALL_S", "600")]).await;
    let front = scene.front.url();
    let path = scene.later("a.txt", 10).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let body = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let first = scene.patch(&front, &path, 0).body(reqwest::Body::wrap_stream(body));
    let first = tokio::spawn(async move { first.send().await.unwrap() });
    sender.send(Ok("01234".into())).await.unwrap();
    scene.written().await;
    let second = scene.patch(&front, &path, 0).body("01234").send().await.unwrap();
    assert_eq!(code(second).await, (423, 6012));
    sender.send(Ok("56789".into())).await.unwrap();
    drop(sender);
    assert_eq!(first.await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn only_members_have_what_was_sent_and_only_as_long_as_they_are() {
    let scene = scene(&[("MEDIA_LINK_S", "1")]).await;
    let url = scene.front.url();
    let eve = scene.site.register(&url, "eve").await;
    let id = scene.uploaded("a.txt", "text/plain", "words").await;
    assert_eq!(scene.links(&eve, &id).await.0, StatusCode::FORBIDDEN);
    eve.join(&url, scene.room).await;
    // A member, but it was not sent.
    assert_eq!(scene.links(&eve, &id).await.1["code"], 6001);
    assert_eq!(eve.get(&format!("{url}/v1/attachments/{id}")).await.1["code"], 6001);

    let says = serde_json::json!({ "body": "look", "attachments": [id] });
    let (status, sent) = scene.ann.post(&format!("{url}/v1/rooms/{}/messages", scene.room), says).await;
    assert!(status.is_success(), "{sent}");
    let (status, links) = scene.links(&eve, &id).await;
    assert_eq!(status, StatusCode::OK, "{links}");
    let left = eve.post(&format!("{url}/v1/rooms/{}/leave", scene.room), Value::Null).await;
    assert_eq!(left.0, StatusCode::OK);
    assert_eq!(scene.links(&eve, &id).await.0, StatusCode::FORBIDDEN);

    let (_, links) = scene.links(&scene.ann, &id).await;
    let link = links["url"].as_str().unwrap();
    let forged = format!("{url}{}", link.replace("/v1/media/A", "/v1/media/B"));
    assert_eq!(code(scene.site.http.get(forged).send().await.unwrap()).await, (403, 6022));
    eventually("the link to expire", async || {
        let response = scene.file(&links).send().await.unwrap();
        (response.status() == StatusCode::GONE).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_accepted_is_refused_with_its_reason_and_leaves_nothing_behind() {
    let scene = scene(&[
        ("MEDIA_PIXELS_MAX", "1000"),
        ("MEDIA_QUOTA_BYTES", "5000"),
        ("MEDIA_IMAGE_MAX_BYTES", "1000"),
        ("MEDIA_FILE_MAX_BYTES", "4000"),
        ("MEDIA_AUDIO_MAX_BYTES", "1000"),
        ("MEDIA_VIDEO_MAX_BYTES", "1000"),
    ])
    .await;
    let mut bomb = PNG.to_vec();
    // 65,535 pixels each way, and the checksum of that.
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    bomb[29..33].copy_from_slice(&[0x93, 0x6e, 0x86, 0x8c]);
    let bidi = "photo\u{202e}gpj.exe";
    let long = "n".repeat(256);
    let cases: Vec<(&str, &str, Vec<u8>, u16, u64)> = vec![
        ("a.png", "image/png", bomb, 422, 6008),
        ("a.png", "image/png", b"<html><script>alert(1)</script>".to_vec(), 422, 6006),
        ("a.png", "image/png", PNG[..50].to_vec(), 422, 6007),
        ("a.exe", "", [b"MZ\x90\0".to_vec(), vec![0; 100]].concat(), 415, 6005),
        ("a.png", "image/png", vec![0; 2_000], 413, 6004),
        ("a.bin", "", vec![0; 4_001], 413, 6004),
        ("a.txt", "", vec![], 422, 6003),
        ("../../etc/passwd", "", b"x".to_vec(), 422, 6002),
        ("a\r\nb", "", b"x".to_vec(), 422, 6002),
        (bidi, "", b"x".to_vec(), 422, 6002),
        (&long, "", b"x".to_vec(), 422, 6002),
    ];
    for (name, mime, bytes, status, expected) in cases {
        let (had, body) = scene.upload(name, mime, bytes).await;
        assert_eq!(
            (had.as_u16(), body["code"].as_u64()),
            (status, Some(expected)),
            "{name:?} {mime}: {body}"
        );
    }
    scene.assert_nothing_left().await;

    // What is refused only once all of it has come leaves nothing either.
    let path = scene.later("a.png", 50).await;
    let done = scene.patch(&scene.front.url(), &path, 0).body(&PNG[..50]).send().await.unwrap();
    assert_eq!(code(done).await, (422, 6007));
    scene.assert_nothing_left().await;

    let first = scene.uploaded("a.txt", "", "x".repeat(3_000)).await;
    let (status, body) = scene.upload("b.txt", "", "x".repeat(3_000)).await;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &6009.into()));
    assert!(body["detail"].as_str().unwrap().contains("3000 bytes of 5000"), "{body}");
    let gone =
        scene.ann.ask(Method::DELETE, &format!("{}/v1/attachments/{first}", scene.front.url()), None).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    scene.assert_nothing_left().await;
}

#[tokio::test]
async fn a_sender_who_goes_or_falls_silent_leaves_nothing_behind() {
    let scene = scene(&[("MEDIA_STALL_S", "1"), ("MEDIA_ORPHAN_S", "1"), ("MEDIA_COLLECT_S", "1")]).await;
    let url = format!("{}/v1/attachments?room={}&name=a.txt", scene.front.url(), scene.room);
    let begin = |chunks: Vec<Result<Bytes, std::io::Error>>, silent: bool| {
        let sent = futures_util::StreamExt::chain(
            stream::iter(chunks),
            stream::once(async move {
                if silent {
                    std::future::pending::<()>().await;
                }
                Err(std::io::Error::other("gone"))
            }),
        );
        let request = scene.ann.request(Method::POST, &url).header(header::CONTENT_LENGTH, 10_000);
        request.body(reqwest::Body::wrap_stream(sent))
    };
    assert!(begin(vec![Ok("x".repeat(5_000).into())], false).send().await.is_err());
    let silent = begin(vec![Ok("x".repeat(5_000).into())], true).send().await.unwrap();
    assert_eq!(code(silent).await, (408, 6013));
    scene.assert_nothing_left().await;

    // Begun and never gone on with, and whole but never sent: collected.
    scene.later("later.txt", 100).await;
    scene.uploaded("unsent.txt", "", "words").await;
    scene.assert_nothing_left().await;
}

#[tokio::test]
async fn an_upload_goes_on_elsewhere_when_its_front_drains() {
    let Scene { site, front, ann, room } = scene(&[("MEDIA_STALL_S", "600")]).await;
    let two = site.front().await;
    let scene = Scene { site, front: two, ann, room };
    let path = scene.later("a.txt", 10).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let body = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let request = scene.patch(&front.url(), &path, 0).body(reqwest::Body::wrap_stream(body));
    let sending = tokio::spawn(request.send());
    sender.send(Ok("01234".into())).await.unwrap();
    scene.written().await;
    tokio::time::timeout(Duration::from_secs(20), front.drain()).await.unwrap();
    let _ = sending.await;
    // From where it is, it goes on elsewhere.
    scene.written_by_nobody().await;
    let at = scene.offset(&scene.front.url(), &path).await.unwrap();
    let rest = if at == "0" { "0123456789" } else { "56789" };
    let done = scene.patch(&scene.front.url(), &path, at.parse().unwrap()).body(rest).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
}

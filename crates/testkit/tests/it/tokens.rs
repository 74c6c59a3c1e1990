//! Access tokens that nobody should have.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use natterjack_domain::SessionId;
use natterjack_testkit::{Account, Closed, Site, Socket, refused};
use natterjack_wire::ErrorCode;
use reqwest::Method;
use serde_json::{Value, json};

/// The key of all test sites, as `Site` sets it.
const SECRET: &[u8] = b"test-test-test-test-test-test-test";
const NEVER: u64 = 9_999_999_999;

fn claims(account: &Account, exp: u64) -> Value {
    json!({
        "sub": account.user, "sid": SessionId::random(), "name": account.username, "iat": 1_700_000_000, "exp": exp,
        "iss": "natterjack", "aud": "natterjack",
    })
}

fn signed(claims: &Value, kid: Option<&str>, algorithm: Algorithm, secret: &[u8]) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// A token whose header says that nothing is signed.
fn unsigned(good: &str) -> String {
    // {"alg":"none","kid":"test"}
    let body = good.split('.').nth(1).unwrap();
    format!("eyJhbGciOiJub25lIiwia2lkIjoidGVzdCJ9.{body}.")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_forged_foreign_or_expired_opens_nothing() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let hs256 = Algorithm::HS256;
    let valid = signed(&claims(&ada, NEVER), Some("test"), hs256, SECRET);
    let expired = signed(&claims(&ada, 1_700_000_001), Some("test"), hs256, SECRET);
    let good = Account { token: valid, ..ada.clone() };
    assert_eq!(good.get(&format!("{front}/v1/me")).await.0, 200, "the test knows how to sign");

    let never = claims(&ada, NEVER);
    let cases = [
        (expired, ErrorCode::TokenExpired),
        (
            signed(&never, Some("test"), hs256, b"another secret of the same good length"),
            ErrorCode::TokenInvalid,
        ),
        (signed(&never, Some("other"), hs256, SECRET), ErrorCode::TokenInvalid),
        (signed(&never, None, hs256, SECRET), ErrorCode::TokenInvalid),
        (signed(&never, Some("test"), Algorithm::HS512, SECRET), ErrorCode::TokenInvalid),
        (unsigned(&ada.token), ErrorCode::TokenInvalid),
        (format!("{}x", ada.token), ErrorCode::TokenInvalid),
        (ada.refresh_token.clone(), ErrorCode::TokenInvalid),
        (String::new(), ErrorCode::TokenInvalid),
        ("x".repeat(8_000), ErrorCode::TokenInvalid),
    ];
    for (token, expected) in cases {
        let bearer = Account { token: token.clone(), ..ada.clone() };
        let request = bearer.request(Method::GET, &format!("{front}/v1/me"));
        assert_eq!(refused(request).await, expected, "REST: {token:.80}");
        let mut socket = Socket::open(&front).await.unwrap();
        socket.send(&json!({ "t": "hello", "token": token })).await.unwrap();
        assert_eq!(socket.next().await.unwrap()["code"], expected.number(), "hello: {token:.80}");
        assert_eq!(socket.closed().await, Closed(Some(4501)));
    }
    let nobody = site.http.get(format!("{front}/v1/me"));
    assert_eq!(refused(nobody).await, ErrorCode::TokenMissing);
    let basic = site.http.get(format!("{front}/v1/me")).basic_auth("ada", Some("secret"));
    assert_eq!(refused(basic).await, ErrorCode::TokenInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_key_that_signs_no_more_are_good_until_it_is_removed() {
    let site = Site::builder().start().await;
    let old = site.front().await.url();
    let ada = site.register(&old, "ada").await;
    let (fresh, former) = (
        "fresh:ZnJlc2gtZnJlc2gtZnJlc2gtZnJlc2gtZnJlc2gtZnJlc2g",
        "test:dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtdGVzdA",
    );
    let both = site.front_with(&[("AUTH_KEYS", &format!("{fresh},{former}"))]).await.url();
    assert_eq!(ada.get(&format!("{both}/v1/me")).await.0, 200);
    let renewed = ada.refreshed(&both).await;
    let only = site.front_with(&[("AUTH_KEYS", fresh)]).await.url();
    assert_eq!(renewed.get(&format!("{only}/v1/me")).await.0, 200);
    let me = |account: &Account, front: &str| account.request(Method::GET, &format!("{front}/v1/me"));
    assert_eq!(refused(me(&ada, &only)).await, ErrorCode::TokenInvalid);
    assert_eq!(refused(me(&renewed, &old)).await, ErrorCode::TokenInvalid);
}

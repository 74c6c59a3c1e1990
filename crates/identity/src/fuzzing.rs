//! What holds for any token that somebody presents. `fuzz/` runs it, and the tests run it over the corpus.

use std::time::Duration;

use serde_json::Value;
use time::{OffsetDateTime, macros::datetime};

use crate::{
    access_token::{AccessTokens, TokenError},
    refresh_token,
};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn tokens() -> AccessTokens {
    let keys = "k:dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtdGVzdA".parse().expect("a key");
    AccessTokens::new(&keys, Duration::from_mins(15))
}

/// A token is good only with our signature on it, for us, and in its time. Both as it is, and as the header and the claims, a
/// line each, of a token with a good signature, which nobody finds by chance.
pub fn access_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let tokens = tokens();
    if tokens.verify(text, NOW) != Err(TokenError::Invalid) {
        let (content, signature) = text.rsplit_once('.').expect("it has three parts");
        assert_eq!(tokens.sign(content), signature);
    }
    let Some((header, claims)) = text.split_once('\n') else { return };
    let verified = tokens.verify(&tokens.seal(header, claims), NOW);
    if verified == Err(TokenError::Invalid) {
        return;
    }
    let header: Value = serde_json::from_str(header).expect("a header");
    assert_eq!((&header["alg"], &header["kid"]), (&"HS256".into(), &"k".into()));
    let said: Value = serde_json::from_str(claims).expect("claims");
    assert_eq!((&said["iss"], &said["aud"]), (&"natterjack".into(), &"natterjack".into()));
    let expires = said["exp"].as_i64().expect("a whole number");
    match verified {
        Err(_) => assert!(expires <= NOW.unix_timestamp()),
        Ok(claims) => {
            assert!(expires > NOW.unix_timestamp());
            assert_eq!(claims.expires_at.unix_timestamp(), expires);
            assert_eq!(said["sub"], claims.user.to_string());
            assert_eq!(said["sid"], claims.session.to_string());
            assert_eq!(said["name"], claims.username);
        }
    }
}

/// A refresh token has one spelling.
pub fn refresh_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(hash) = refresh_token::parse(text) {
        assert_eq!(text.len(), 47);
        let mut last = text.to_owned();
        let was = last.pop();
        // The last character holds four bits of the secret and two of nothing.
        let others = "AEIMQUYcgkosw048".chars().filter(|c| Some(*c) != was);
        assert!(was.is_some_and(|c| "AEIMQUYcgkosw048".contains(c)));
        assert!(others.into_iter().all(|c| refresh_token::parse(&format!("{last}{c}")) != Some(hash)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpora_hold() {
        replay::replay("access_token", access_token);
        replay::replay("refresh_token", refresh_token);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

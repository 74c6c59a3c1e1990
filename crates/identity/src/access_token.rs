use std::{collections::HashMap, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use natterjack_domain::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::SigningKeys;

/// A longer token is refused before anything of it is read.
pub const MAX_TOKEN_BYTES: usize = 4096;

const ALGORITHM: Algorithm = Algorithm::HS256;
/// Issuer and audience: tokens are made by the product for itself.
const PARTY: &str = "natterjack";

/// What an access token says. It was true when the token was made: the session may have ended since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub user: UserId,
    pub session: SessionId,
    pub username: String,
    /// Whole seconds.
    pub issued_at: OffsetDateTime,
    /// Whole seconds; from this moment on the token is refused.
    pub expires_at: OffsetDateTime,
}

/// Why an access token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once: a client should refresh.
    #[error("the access token has expired")]
    Expired,
    /// It is not a token of this installation, was changed, or was signed with a key no longer in use.
    #[error("the access token is not valid")]
    Invalid,
}

/// Signs and verifies access tokens (JWT, HS256), without any I/O. Cheap to clone.
#[derive(Clone)]
pub struct AccessTokens(Arc<Inner>);

struct Inner {
    header: Header,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    validation: Validation,
    ttl: Duration,
}

#[derive(Serialize, Deserialize)]
struct Body {
    sub: UserId,
    sid: SessionId,
    name: String,
    iat: i64,
    exp: i64,
    iss: String,
    aud: String,
}

impl AccessTokens {
    /// `ttl` is how long tokens are good for.
    pub fn new(keys: &SigningKeys, ttl: Duration) -> Self {
        let (id, secret) = keys.iter().next().expect("keys are never empty");
        let mut header = Header::new(ALGORITHM);
        header.kid = Some(id.to_owned());
        let mut validation = Validation::new(ALGORITHM);
        validation.set_required_spec_claims(&["sub", "exp", "iss", "aud"]);
        validation.set_issuer(&[PARTY]);
        validation.set_audience(&[PARTY]);
        // Expiry is checked here, against the time that the caller gives.
        validation.validate_exp = false;
        Self(Arc::new(Inner {
            header,
            signing: EncodingKey::from_secret(secret),
            verifying: keys.iter().map(|(id, key)| (id.to_owned(), DecodingKey::from_secret(key))).collect(),
            validation,
            ttl,
        }))
    }

    /// Whole seconds for which tokens are good.
    pub fn ttl_secs(&self) -> u64 {
        self.0.ttl.as_secs()
    }

    /// Makes a token for a session. Whoever holds the signing key can, so that it needs no account.
    pub fn issue(&self, user: UserId, session: SessionId, username: &str, now: OffsetDateTime) -> String {
        let body = Body {
            sub: user,
            sid: session,
            name: username.to_owned(),
            iat: now.unix_timestamp(),
            exp: (now + self.0.ttl).unix_timestamp(),
            iss: PARTY.to_owned(),
            aud: PARTY.to_owned(),
        };
        encode(&self.0.header, &body, &self.0.signing).expect("strings and numbers can be written as JSON")
    }

    /// Checks a token's signature, parties and expiry at the time `now`.
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let id = decode_header(token).map_err(|_| TokenError::Invalid)?.kid.ok_or(TokenError::Invalid)?;
        let key = self.0.verifying.get(&id).ok_or(TokenError::Invalid)?;
        let body = decode::<Body>(token, key, &self.0.validation).map_err(|_| TokenError::Invalid)?.claims;
        let moment = |secs| OffsetDateTime::from_unix_timestamp(secs).map_err(|_| TokenError::Invalid);
        let expires_at = moment(body.exp)?;
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        let (user, session, username) = (body.sub, body.sid, body.name);
        Ok(Claims { user, session, username, issued_at: moment(body.iat)?, expires_at })
    }
}

#[cfg(any(test, fuzzing))]
impl AccessTokens {
    /// The signature of what stands before it in a token.
    pub(crate) fn sign(&self, content: &str) -> String {
        jsonwebtoken::crypto::sign(content.as_bytes(), &self.0.signing, ALGORITHM).expect("it can be signed")
    }

    /// A token of any content.
    pub(crate) fn seal(&self, header: &str, claims: &str) -> String {
        let encode = |text| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
        let content = format!("{}.{}", encode(header), encode(claims));
        format!("{content}.{}", self.sign(&content))
    }
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.0.verifying.keys();
        f.debug_struct("AccessTokens").field("keys", &ids).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
    const TTL: Duration = Duration::from_mins(15);

    fn tokens(keys: &str) -> AccessTokens {
        AccessTokens::new(&keys.parse().unwrap(), TTL)
    }

    fn key(id: &str) -> String {
        SigningKeys::generate(id).expose().to_owned()
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let tokens = tokens(&key("a"));
        let (user, session) = (UserId::random(), SessionId::random());
        let token = tokens.issue(user, session, "ada", NOW);
        let claims = tokens.verify(&token, NOW).unwrap();
        let expected =
            Claims { user, session, username: "ada".into(), issued_at: NOW, expires_at: NOW + TTL };
        assert_eq!(claims, expected);
        assert!(tokens.verify(&token, NOW + TTL - Duration::from_secs(1)).is_ok());
        assert_eq!(tokens.verify(&token, NOW + TTL), Err(TokenError::Expired));
    }

    #[test]
    fn keys_rotate() {
        let (old, new) = (key("old"), key("new"));
        let token = tokens(&old).issue(UserId::random(), SessionId::random(), "ada", NOW);
        for (keys, good) in
            [(format!("{old},{new}"), true), (format!("{new},{old}"), true), (new.clone(), false)]
        {
            assert_eq!(tokens(&keys).verify(&token, NOW).is_ok(), good);
        }
        let fresh = tokens(&format!("{new},{old}")).issue(UserId::random(), SessionId::random(), "ada", NOW);
        assert!(tokens(&new).verify(&fresh, NOW).is_ok());
        assert_eq!(
            tokens(&key("new")).verify(&fresh, NOW),
            Err(TokenError::Invalid),
            "same id, other secret"
        );
    }

    #[test]
    fn forgeries_are_invalid() {
        let keys = key("a");
        let tokens = tokens(&keys);
        let token = tokens.issue(UserId::random(), SessionId::random(), "ada", NOW);
        let parts: Vec<&str> = token.split('.').collect();
        let json = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let none = json(json!({"alg": "none", "kid": "a"}));
        let other = json(json!({"alg": "HS512", "kid": "a"}));
        let nobody = json(json!({"alg": "HS256"}));
        let body = json(json!({"sub": UserId::random(), "exp": 9_999_999_999_i64}));
        for forged in [
            String::new(),
            "..".into(),
            "a.b.c".into(),
            "\u{0}\u{7f}é".into(),
            format!("{none}.{}.", parts[1]),
            format!("{other}.{}.{}", parts[1], parts[2]),
            format!("{nobody}.{}.{}", parts[1], parts[2]),
            format!("{}.{body}.{}", parts[0], parts[2]),
            format!("{token}x"),
            format!("{token}.{}", parts[2]),
            token.to_uppercase(),
            "a".repeat(MAX_TOKEN_BYTES + 1),
        ] {
            assert_eq!(tokens.verify(&forged, NOW), Err(TokenError::Invalid), "{forged:.80}");
        }
    }

    #[test]
    fn a_token_for_another_party_is_invalid() {
        let keys: SigningKeys = key("a").parse().unwrap();
        let tokens = AccessTokens::new(&keys, TTL);
        let good = json!({
            "sub": UserId::random(), "sid": SessionId::random(), "name": "ada",
            "iat": NOW.unix_timestamp(), "exp": NOW.unix_timestamp() + 60, "iss": PARTY, "aud": PARTY,
        });
        let sign = |body: &serde_json::Value| encode(&tokens.0.header, body, &tokens.0.signing).unwrap();
        assert!(tokens.verify(&sign(&good), NOW).is_ok());
        for (field, value) in [
            ("iss", json!("other")),
            ("aud", json!("other")),
            ("aud", json!(null)),
            ("sub", json!("nobody")),
            ("sid", json!(7)),
            ("exp", json!("soon")),
            ("exp", json!(i64::MAX)),
            ("exp", json!(null)),
        ] {
            let mut bad = good.clone();
            bad[field] = value.clone();
            assert_eq!(tokens.verify(&sign(&bad), NOW), Err(TokenError::Invalid), "{field} {value}");
        }
    }
}

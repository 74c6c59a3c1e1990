use std::{collections::HashSet, fmt, str::FromStr};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use natterjack_runtime::config::Secret;
use sha2::Sha256;
use zeroize::Zeroizing;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of access tokens, written `id:secret,id:secret`: the first signs, all verify.
///
/// To change keys without logging anyone out: append the new one on every front, then put it first on
/// every front, and remove the old one when its last token has expired.
#[derive(Clone)]
pub struct SigningKeys(Vec<(String, Zeroizing<Vec<u8>>)>);

/// Why a text holds no [`SigningKeys`]; never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    #[error("there is no key")]
    Empty,
    #[error("key {0} is not of the form id:secret with an id of 1 to 32 letters, digits, '_' and '-'")]
    Form(usize),
    #[error("the secret of key {0} is not base64url")]
    Base64(usize),
    #[error("the secret of key {0} has fewer than {min} bytes", min = SigningKeys::MIN_BYTES)]
    Short(usize),
    #[error("key {0} has the id of another one")]
    Duplicate(usize),
}

impl SigningKeys {
    /// As long as the output of HS256 (RFC 7518, 3.2).
    pub const MIN_BYTES: usize = 32;

    /// A fresh key in the written form, for an installation that has none yet.
    pub fn generate(id: &str) -> Secret {
        let bytes = Zeroizing::new(rand::random::<[u8; Self::MIN_BYTES]>());
        Secret::new(format!("{id}:{}", BASE64.encode(*bytes)))
    }

    /// Keys for another purpose that tell nothing of these, in the same order; never empty.
    pub fn derive(&self, purpose: &str) -> Vec<[u8; 32]> {
        let derived = self.iter().map(|(_, secret)| {
            let mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
            mac.chain_update(purpose).finalize().into_bytes().into()
        });
        derived.collect()
    }

    /// Ids and secrets; never empty.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(id, secret)| (id.as_str(), secret.as_slice()))
    }
}

impl FromStr for SigningKeys {
    type Err = InvalidKeys;

    fn from_str(text: &str) -> Result<Self, InvalidKeys> {
        let mut keys = Vec::new();
        let mut ids = HashSet::new();
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        for (number, item) in items.enumerate().map(|(index, item)| (index + 1, item)) {
            let (id, secret) = item.split_once(':').ok_or(InvalidKeys::Form(number))?;
            if !is_id(id) {
                return Err(InvalidKeys::Form(number));
            }
            if !ids.insert(id) {
                return Err(InvalidKeys::Duplicate(number));
            }
            let secret = Zeroizing::new(BASE64.decode(secret).map_err(|_| InvalidKeys::Base64(number))?);
            if secret.len() < Self::MIN_BYTES {
                return Err(InvalidKeys::Short(number));
            }
            keys.push((id.to_owned(), secret));
        }
        if keys.is_empty() { Err(InvalidKeys::Empty) } else { Ok(Self(keys)) }
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys() {
        let (a, b) = (SigningKeys::generate("a"), SigningKeys::generate("b"));
        let both: SigningKeys = format!("{}, {}=,", a.expose(), b.expose()).parse().unwrap();
        assert_eq!(both.iter().map(|(id, _)| id).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(format!("{both:?}"), r#"["a", "b"]"#);
        let derived = both.derive("one");
        assert!(derived[0] != derived[1] && derived[0] != both.derive("another")[0]);
        assert_eq!(derived, both.clone().derive("one"));
        for (text, expected) in [
            ("", InvalidKeys::Empty),
            (" , ", InvalidKeys::Empty),
            ("nothing", InvalidKeys::Form(1)),
            (":c2VjcmV0", InvalidKeys::Form(1)),
            ("a b:c2VjcmV0", InvalidKeys::Form(1)),
            ("a:c2VjcmV0", InvalidKeys::Short(1)),
            ("a:???", InvalidKeys::Base64(1)),
            (&format!("{0},{0}", a.expose()), InvalidKeys::Duplicate(2)),
        ] {
            assert_eq!(text.parse::<SigningKeys>().unwrap_err(), expected, "{text}");
        }
    }
}

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Tells what a leaked string is, to people and to scanners.
const PREFIX: &str = "njr_";
const SECRET_BYTES: usize = 32;
/// 32 bytes in base64url without padding.
const SECRET_CHARS: usize = 43;

/// What is stored of a refresh token. The secret has 256 random bits, so that a plain hash cannot be undone.
pub(crate) type TokenHash = [u8; 32];

/// A fresh token: the text for its owner, the hash for the table.
pub(crate) fn generate() -> (String, TokenHash) {
    let secret: [u8; SECRET_BYTES] = rand::random();
    (format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(secret)), Sha256::digest(secret).into())
}

/// The hash of a presented token, if it has the form of one.
pub(crate) fn parse(text: &str) -> Option<TokenHash> {
    let encoded = text.strip_prefix(PREFIX).filter(|encoded| encoded.len() == SECRET_CHARS)?;
    let secret = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?;
    Some(Sha256::digest(secret).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_form() {
        let (text, hash) = generate();
        assert_eq!(parse(&text), Some(hash));
        assert_ne!(generate().1, hash);
        for bad in ["", "njr_", &text[4..], &text[..46], &format!("{text}A"), &text.replace("njr_", "xxx_")] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("njr_{}", "!".repeat(43))), None);
    }
}

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use natterjack_domain::AttachmentId;
use sha2::Sha256;
use uuid::Uuid;

use crate::serve::Part;

/// Makes links that give one file to whoever holds them, for minutes, on any front, and checks them without a look at
/// anything.
#[derive(Clone)]
pub struct Links(Arc<[[u8; 32]]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLink {
    #[error("the link is not one of ours")]
    Forged,
    #[error("the link has expired")]
    Expired,
}

/// Attachment, part, and the end in seconds since 1970.
const PAYLOAD_BYTES: usize = 16 + 2 + 8;

impl Links {
    /// The first key signs, all verify. There is at least one.
    pub fn new(keys: impl Into<Arc<[[u8; 32]]>>) -> Self {
        Self(keys.into())
    }

    /// `expires`: seconds since 1970.
    pub fn sign(&self, id: AttachmentId, part: Part, expires: u64) -> String {
        let mut bytes = Vec::with_capacity(PAYLOAD_BYTES + 32);
        bytes.extend_from_slice(id.as_uuid().as_bytes());
        bytes.extend_from_slice(&part.side().to_be_bytes());
        bytes.extend_from_slice(&expires.to_be_bytes());
        let signature = self.0.first().map(|key| mac(key, &bytes).finalize().into_bytes());
        bytes.extend_from_slice(&signature.unwrap_or_default());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn verify(&self, text: &str, now: u64) -> Result<(AttachmentId, Part), InvalidLink> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidLink::Forged)?;
        let (payload, signature) = bytes.split_at_checked(PAYLOAD_BYTES).ok_or(InvalidLink::Forged)?;
        // In constant time.
        if !self.0.iter().any(|key| mac(key, payload).verify_slice(signature).is_ok()) {
            return Err(InvalidLink::Forged);
        }
        let (id, rest) = payload.split_first_chunk().ok_or(InvalidLink::Forged)?;
        let (side, rest) = rest.split_first_chunk().ok_or(InvalidLink::Forged)?;
        let (expires, _) = rest.split_first_chunk().ok_or(InvalidLink::Forged)?;
        if u64::from_be_bytes(*expires) < now {
            return Err(InvalidLink::Expired);
        }
        let id = AttachmentId::from_uuid(Uuid::from_bytes(*id));
        Ok((id, Part::of_side(u16::from_be_bytes(*side))))
    }
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(bytes);
    mac
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Links")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_its_file_and_time_and_not_a_byte_else() {
        let (links, id) = (Links::new([[7; 32]]), AttachmentId::random());
        for part in [Part::Original, Part::Preview(360)] {
            let text = links.sign(id, part, 100);
            assert_eq!(links.verify(&text, 100), Ok((id, part)));
            assert_eq!(links.verify(&text, 101), Err(InvalidLink::Expired));
            assert_eq!(Links::new([[8; 32], [7; 32]]).verify(&text, 1), Ok((id, part)));
            assert_eq!(Links::new([[8; 32]]).verify(&text, 1), Err(InvalidLink::Forged));
            let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert_eq!(links.verify(&URL_SAFE_NO_PAD.encode(other), 1), Err(InvalidLink::Forged));
                assert_eq!(links.verify(&URL_SAFE_NO_PAD.encode(&bytes[..at]), 1), Err(InvalidLink::Forged));
            }
        }
        assert_eq!(links.verify("", 1), Err(InvalidLink::Forged));
        assert_eq!(links.verify("not base64!", 1), Err(InvalidLink::Forged));
    }
}

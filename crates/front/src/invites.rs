//! The token of an invite: the room that it leads to, and a secret.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use natterjack_domain::{InviteId, RoomId};
use natterjack_wire::ErrorCode;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const ID_LEN: usize = 16;
const SECRET_LEN: usize = 16;

/// Shown once to who makes the invite; the log holds its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteToken {
    pub room: RoomId,
    secret: [u8; SECRET_LEN],
}

impl InviteToken {
    pub fn random(room: RoomId) -> Self {
        Self { room, secret: rand::random() }
    }

    pub fn id(&self) -> InviteId {
        InviteId::of_digest(Sha256::digest(self.bytes()).into())
    }

    fn bytes(&self) -> [u8; ID_LEN + SECRET_LEN] {
        let mut bytes = [0; ID_LEN + SECRET_LEN];
        bytes[..ID_LEN].copy_from_slice(self.room.as_uuid().as_bytes());
        bytes[ID_LEN..].copy_from_slice(&self.secret);
        bytes
    }
}

impl FromStr for InviteToken {
    type Err = ErrorCode;

    fn from_str(text: &str) -> Result<Self, ErrorCode> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ErrorCode::InviteInvalid)?;
        let (room, secret) = bytes.split_first_chunk::<ID_LEN>().ok_or(ErrorCode::InviteInvalid)?;
        let secret = secret.try_into().map_err(|_| ErrorCode::InviteInvalid)?;
        Ok(Self { room: RoomId::from_uuid(Uuid::from_bytes(*room)), secret })
    }
}

impl fmt::Display for InviteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.bytes()))
    }
}

impl fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteToken({}, …)", self.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_its_room_and_has_one_id() {
        let room = RoomId::random();
        let (one, two) = (InviteToken::random(room), InviteToken::random(room));
        assert_eq!(one.to_string().parse::<InviteToken>(), Ok(one.clone()));
        assert_eq!(one.id(), one.to_string().parse::<InviteToken>().unwrap().id());
        assert_ne!(one.id(), two.id());
        assert!(!format!("{one:?}").contains(&one.to_string()));
        for bad in ["", "x", "....", &one.to_string()[1..], &format!("{one}AAAA")] {
            assert_eq!(bad.parse::<InviteToken>(), Err(ErrorCode::InviteInvalid), "{bad}");
        }
    }
}

//! Files that messages bear: what the store of files says, in the words of the interface.

use natterjack_domain::InvalidFileName;
use natterjack_media::{Error, InvalidLink, Refusal};
use natterjack_wire::ErrorCode;

use crate::fault::Fault;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Database(error) => error.into(),
            Error::Storage(_) | Error::Scratch(_) => Self::caused(ErrorCode::StorageUnavailable, error),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NotFound => ErrorCode::AttachmentNotFound,
            Refusal::Empty => ErrorCode::FileEmpty,
            Refusal::TooLarge { .. } => ErrorCode::FileTooLarge,
            Refusal::Type(_) => ErrorCode::FileTypeRefused,
            Refusal::Mismatch { .. } => ErrorCode::FileTypeMismatch,
            Refusal::Damaged(_) => ErrorCode::FileDamaged,
            Refusal::Pixels { .. } => ErrorCode::ImageTooLarge,
            Refusal::Quota { .. } => ErrorCode::QuotaReached,
            Refusal::Open(_) => ErrorCode::TooManyUploads,
            Refusal::Offset(_) => ErrorCode::UploadOffset,
            Refusal::Locked => ErrorCode::UploadLocked,
            Refusal::Slow(_) => ErrorCode::UploadSlow,
            Refusal::Aborted(_) => ErrorCode::UploadAborted,
            Refusal::Cut(_) => ErrorCode::Draining,
            Refusal::Busy => ErrorCode::Busy,
            Refusal::Unfinished => ErrorCode::UploadUnfinished,
            Refusal::Foreign(_) => ErrorCode::AttachmentForeign,
        };
        Self::from(code).because(refusal.to_string())
    }
}

impl From<InvalidFileName> for Fault {
    fn from(error: InvalidFileName) -> Self {
        Self::from(ErrorCode::FileNameInvalid).because(error.to_string())
    }
}

impl From<InvalidLink> for Fault {
    fn from(error: InvalidLink) -> Self {
        match error {
            InvalidLink::Forged => ErrorCode::LinkInvalid.into(),
            InvalidLink::Expired => ErrorCode::LinkExpired.into(),
        }
    }
}

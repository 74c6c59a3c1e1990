//! The registry of error codes: stable numbers that clients may rely on, the same over REST and WebSocket.
//!
//! `docs/errors.md` is made from this table; a test holds the two equal. A number is never reused.

use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($($number:literal $variant:ident $name:literal $status:literal $title:literal;)*) => {
        /// What went wrong, as clients see it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($variant),* }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $number),* }
            }

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The HTTP status that carries the error over REST.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    1001 UsernameTaken "username_taken" 409 "The user name is taken";
    1002 EmailTaken "email_taken" 409 "The e-mail address is in use";
    1003 UsernameInvalid "username_invalid" 422 "The user name is not valid";
    1004 EmailInvalid "email_invalid" 422 "The e-mail address is not valid";
    1005 PasswordInvalid "password_invalid" 422 "The password is too short or too long";
    1006 CredentialsWrong "credentials_wrong" 401 "User name or password is wrong";
    1007 TokenMissing "token_missing" 401 "An access token is required";
    1008 TokenInvalid "token_invalid" 401 "The access token is not valid";
    1009 TokenExpired "token_expired" 401 "The access token has expired";
    1010 RefreshInvalid "refresh_invalid" 401 "The refresh token is not valid";
    1011 RefreshReused "refresh_reused" 401 "The refresh token was used before; the session is ended";
    1012 SessionEnded "session_ended" 401 "The session has ended";
    1013 UserNotFound "user_not_found" 404 "There is no such person";

    1014 PasswordWrong "password_wrong" 403 "The password is wrong";
    1015 SessionNotFound "session_not_found" 404 "There is no such session";
    1016 TooManyWatched "too_many_watched" 422 "Too many people are watched at once";
    1017 NicknameInvalid "nickname_invalid" 422 "The nickname is not valid";
    1018 AvatarInvalid "avatar_invalid" 422 "The avatar is not valid";
    1019 BioInvalid "bio_invalid" 422 "The text about oneself is not valid";
    1020 StatusInvalid "status_invalid" 422 "The status is not valid";
    1021 PhoneInvalid "phone_invalid" 422 "The phone number is not valid";
    1022 LocaleInvalid "locale_invalid" 422 "The locale is not valid";

    2001 MessageNotFound "message_not_found" 404 "There is no such message";
    2002 MessageEmpty "message_empty" 422 "The message is empty";
    2003 MessageTooLong "message_too_long" 422 "The message is too long";
    2004 MessageInvalid "message_invalid" 422 "The message contains a character that cannot be sent";
    2005 NotAuthor "not_author" 403 "Only its author may change a message";
    2006 MessageRecalled "message_recalled" 409 "The message was recalled or deleted";
    2007 MentionsInvalid "mentions_invalid" 422 "These people cannot be mentioned here";
    2008 ThreadInvalid "thread_invalid" 422 "A thread begins at a message of the room that stands in no thread itself";
    2009 MetaInvalid "meta_invalid" 422 "The structured content is too long or too deep";
    2010 ForwardInvalid "forward_invalid" 422 "The message cannot be forwarded like this";
    2011 TooManyAttachments "too_many_attachments" 422 "The message has too many attachments";
    2012 EmojiInvalid "emoji_invalid" 422 "A reaction is one emoji or a :name:";
    2013 TooManyReactions "too_many_reactions" 409 "The message has too many different reactions";
    2014 TooManyPins "too_many_pins" 409 "The room has too many pinned messages";
    2015 RecallTooLate "recall_too_late" 409 "The message is too old to be recalled";
    2016 MessageChanged "message_changed" 412 "The message was edited in the meantime";
    2040 ReceiptsOff "receipts_off" 409 "The room is too large to tell who has read what";
    2041 NotDirect "not_direct" 409 "Only rooms of two tell what was delivered";
    2042 QuietInvalid "quiet_invalid" 422 "The times not to be disturbed are not valid";
    2043 TooManySaved "too_many_saved" 409 "Too many messages are saved";
    2044 ScheduleNotFound "schedule_not_found" 404 "There is no such message to be sent later";
    2045 ScheduleBegun "schedule_begun" 409 "The message is being sent, or was";
    2046 ScheduleTimeInvalid "schedule_time_invalid" 422 "The message cannot be sent at that time";
    2047 TooManySchedules "too_many_schedules" 409 "Too many messages are to be sent later";
    2048 SettingContended "setting_contended" 503 "Too many changes of yours at once";

    3001 RoomNotFound "room_not_found" 404 "There is no such room";
    3002 NotMember "not_member" 403 "Only members may do this";
    3003 RoomNameInvalid "room_name_invalid" 422 "The room name is not valid";
    3004 RoomFull "room_full" 409 "The room is full";
    3005 RoomContended "room_contended" 503 "Too many changes to the room at once";
    3006 NotSubscribed "not_subscribed" 409 "The connection is not subscribed to the room";
    3007 TooManySubscriptions "too_many_subscriptions" 409 "The connection is subscribed to too many rooms";

    3008 RoleTooLow "role_too_low" 403 "Your role in the room does not permit this";
    3009 RankTooLow "rank_too_low" 403 "The person's rank in the room is not below yours";
    3010 Muted "muted" 403 "You are muted in this room";
    3011 Banned "banned" 403 "The person is banned from this room";
    3012 RoomReadOnly "room_read_only" 403 "The room is read-only";
    3013 RoomArchived "room_archived" 409 "The room is archived";
    3014 SlowMode "slow_mode" 429 "Too soon after your last message in this room";
    3015 LastOwner "last_owner" 409 "An owner has to hand over the room before leaving it";
    3016 NotInDirect "not_in_direct" 409 "This cannot be done in a direct room";
    3017 InviteInvalid "invite_invalid" 404 "The invite is not valid, or not any more";
    3018 RoomListFull "room_list_full" 409 "The room takes no more of these";
    3019 NoSuchMember "no_such_member" 404 "The person is not a member of the room";
    3020 RoomTextInvalid "room_text_invalid" 422 "A text about the room or a reason is not valid";
    3021 DirectSize "direct_size" 422 "A direct room is between oneself and a few others";
    3022 RoomSettingInvalid "room_setting_invalid" 422 "A setting of the room is out of range";

    4001 FrameMalformed "frame_malformed" 400 "The frame is not a known frame";
    4002 FrameTooLarge "frame_too_large" 413 "The frame is too large";
    4003 NotText "not_text" 400 "Frames are UTF-8 text";
    4004 HelloExpected "hello_expected" 400 "The first frame has to be hello";
    4005 HelloRepeated "hello_repeated" 400 "hello was said already";
    4006 BatchTooLong "batch_too_long" 400 "Too many frames in one message";

    5001 RateLimited "rate_limited" 429 "Too many requests";
    5002 LogUnavailable "log_unavailable" 503 "The event log cannot be reached; nothing was stored for certain";
    5003 DatabaseUnavailable "database_unavailable" 503 "The database cannot be reached";
    5004 Busy "busy" 503 "The server is busy";
    5005 Draining "draining" 503 "This node is shutting down; another one serves you";
    5006 RequestInvalid "request_invalid" 400 "The request is not valid";
    5007 NotFound "not_found" 404 "There is nothing here";
    5008 MethodNotAllowed "method_not_allowed" 405 "The method is not allowed here";
    5009 BodyTooLarge "body_too_large" 413 "The request body is too large";
    5010 Internal "internal" 500 "Something went wrong on the server";
    5011 ReadBehind "read_behind" 503 "The read model has not caught up yet";
    5012 CursorInvalid "cursor_invalid" 400 "The cursor is not valid";
    5013 Unsupported "media_type_unsupported" 415 "The body has to be JSON";
    5014 UpgradeExpected "upgrade_expected" 426 "This address speaks WebSocket";
    5015 LogRefuses "log_refuses" 503 "The event log takes nothing at this moment";
    5016 SearchInvalid "search_invalid" 422 "The search cannot be made";
    5017 SearchTooBroad "search_too_broad" 422 "The search takes too long; narrow it";
    5018 SearchesLimited "searches_limited" 429 "Too many searches";

    6001 AttachmentNotFound "attachment_not_found" 404 "There is no such attachment";
    6002 FileNameInvalid "file_name_invalid" 422 "The file name is not valid";
    6003 FileEmpty "file_empty" 422 "The file is empty";
    6004 FileTooLarge "file_too_large" 413 "The file is too large";
    6005 FileTypeRefused "file_type_refused" 415 "Files of this type are not accepted";
    6006 FileTypeMismatch "file_type_mismatch" 422 "The file is not what it was said to be";
    6007 FileDamaged "file_damaged" 422 "The file is damaged or cut off";
    6008 ImageTooLarge "image_too_large" 422 "The image has too many pixels";
    6009 QuotaReached "quota_reached" 409 "Your attachments have no room left";
    6010 TooManyUploads "too_many_uploads" 409 "Too many uploads are under way";
    6011 UploadOffset "upload_offset" 409 "The upload is at another offset";
    6012 UploadLocked "upload_locked" 423 "Another request is writing to the upload";
    6013 UploadSlow "upload_slow" 408 "The upload takes too long";
    6014 UploadAborted "upload_aborted" 400 "The upload ended early";
    6015 UploadUnfinished "upload_unfinished" 409 "The upload is not finished";
    6016 AttachmentForeign "attachment_foreign" 403 "The attachment was not uploaded by you for this room";
    6017 LengthRequired "length_required" 411 "The length has to be said first";
    6018 UploadHeaderInvalid "upload_header_invalid" 400 "A header of the upload is missing or not valid";
    6019 OffsetStreamExpected "offset_stream_expected" 415 "The body has to be application/offset+octet-stream";
    6020 TusVersion "tus_version" 412 "This server speaks version 1.0.0 of tus";
    6021 StorageUnavailable "storage_unavailable" 503 "Files cannot be stored or read";
    6022 LinkInvalid "link_invalid" 403 "The link is not valid";
    6023 LinkExpired "link_expired" 410 "The link has expired; ask for a new one";
    6024 RangeInvalid "range_invalid" 416 "The file has no such bytes";
}

impl ErrorCode {
    /// Whether the same request may succeed later without a change.
    pub const fn is_transient(self) -> bool {
        matches!(self.status(), 429 | 503)
    }
}

/// The body of every error answer over REST (RFC 9457), served as `application/problem+json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:natterjack:error:<name>`.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// Stable number, see docs/errors.md.
    pub code: u16,
    /// What was wrong with this very request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When to try again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

impl Problem {
    pub fn new(code: ErrorCode) -> Self {
        Self {
            kind: format!("urn:natterjack:error:{}", code.name()),
            title: code.title().into(),
            status: code.status(),
            code: code.number(),
            detail: None,
            retry_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_belong_to_their_hundreds() {
        let numbers: HashSet<_> = ErrorCode::ALL.iter().map(|c| c.number()).collect();
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(numbers.len(), ErrorCode::ALL.len());
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.iter().all(|c| (1001..=6099).contains(&c.number())));
    }
}

// Made from crates/wire by its test `typescript`; do not edit.
// Again: UPDATE_GENERATED=1 cargo test -p natterjack-wire --test typescript

/**
 * Plain values, filled in by the server once, when the message is sent: they are the same for ever after.
 */
export type Attachment = { id: AttachmentId, kind: AttachmentKind, 
/**
 * The file's name, without a path.
 */
name: string, 
/**
 * Its media type, by its content.
 */
mime: string, 
/**
 * In bytes.
 */
size: number, 
/**
 * In pixels.
 */
width?: number, height?: number, duration_ms?: number, 
/**
 * How loud it is, in equal steps of time.
 */
waveform?: Array<number>, 
/**
 * What to show until the image is there.
 */
blur?: string, };

/**
 * A file that a message may bear.
 */
export type AttachmentId = string;

export type AttachmentKind = "image" | "audio" | "video" | "voice" | "file";

/**
 * What one device says of its person; the later ones are the more present.
 */
export type Availability = "away" | "busy" | "online" | "invisible";

export type ClientFrame = { "t": "hello", token?: string, 
/**
 * Name and version of the client, for the operator's eyes.
 */
client?: string, resume?: Position, } | { "t": "auth", id: number, token: string, } | { "t": "sub", id: number, room: RoomId, after?: number, epoch?: string, 
/**
 * Most missed events wanted, at most 500 (the default).
 */
limit?: number, } | { "t": "unsub", id: number, room: RoomId, } | { "t": "send", id: number, room: RoomId, 
/**
 * A UUID that the client makes; a repeat with the same `cid` is the same message.
 */
cid: ClientId, 
/**
 * May be missing where the message bears something else: see [`crate::draft::Draft`].
 */
body?: string, reply_to?: MessageId, thread?: MessageId, mentions?: Mentioned, meta?: Record<string, unknown>, forwarded?: Original, attachments?: Array<AttachmentId>, } | { "t": "edit", id: number, room: RoomId, mid: MessageId, 
/**
 * Names this edit, so that a repeat of it is recognised.
 */
cid: ClientId, body: string, mentions?: Mentioned, meta?: Record<string, unknown>, } | { "t": "recall", id: number, room: RoomId, mid: MessageId, cid: ClientId, } | { "t": "delete", id: number, room: RoomId, mid: MessageId, cid: ClientId, reason?: string, } | { "t": "react", id: number, room: RoomId, mid: MessageId, cid: ClientId, 
/**
 * One character as people see it, or a `:name:`.
 */
emoji: string, on: boolean, } | { "t": "pin", id: number, room: RoomId, mid: MessageId, cid: ClientId, } | { "t": "unpin", id: number, room: RoomId, mid: MessageId, cid: ClientId, } | { "t": "read", room: RoomId, seq: number, 
/**
 * The message that began the thread.
 */
thread?: MessageId, } | { "t": "delivered", room: RoomId, seq: number, } | { "t": "draft", room: RoomId, thread?: MessageId, body: string, } | { "t": "typing", room: RoomId, on: boolean, } | { "t": "presence", state?: Availability, watch?: Array<UserId>, } | { "t": "ping", n: number, };

/**
 * What a client calls its own request, so that a repeat of it is recognised.
 */
export type ClientId = string;

export type ClientLimits = { frame_bytes: number, message_chars: number, subscriptions: number, };

/**
 * When a person does not want to be disturbed: in the hours of the week, and until a moment. Clients keep to it.
 */
export type DoNotDisturb = { 
/**
 * Name of the time zone (IANA) of the hours; there is one if there are hours.
 */
zone?: string, hours?: Array<QuietHours>, 
/**
 * Milliseconds since 1970.
 */
until?: number, };

/**
 * What is sent without being stored, also between nodes. Every field may be missing.
 */
export type Ephemeral = { room?: RoomId, typing?: Array<Typing>, 
/**
 * Up to where people have read the room: of each person that read something a moment ago.
 */
reads?: Array<Reached>, 
/**
 * In a room of two: up to where it has reached the person.
 */
delivered?: Array<Reached>, 
/**
 * Of those whom the connection watches.
 */
presence?: Array<Seen>, 
/**
 * To one person: this room of theirs appeared, changed or went away; `seq` is the event that did it.
 */
membership?: Membership, };

/**
 * A stored event.
 */
export type EventId = string;

export type FeedEvent = { seq: number, prev: number, ts: string, e: StoredEvent | null, };

/**
 * Where a message was first said, and by whom.
 */
export type Forwarded = { room: RoomId, mid: MessageId, author: UserId, };

/**
 * An invite: a digest of its token, which only those know to whom it was given.
 */
export type InviteId = string;

export type Membership = { room: RoomId, seq: number, };

/**
 * Whom a message calls.
 */
export type Mentioned = { 
/**
 * At most 50 members of the room.
 */
users?: Array<UserId>, 
/**
 * Everybody in the room.
 */
all?: boolean, 
/**
 * Everybody in the room who is online.
 */
here?: boolean, };

/**
 * Whom a message calls.
 */
export type Mentions = { users?: Array<UserId>, 
/**
 * Everybody in the room.
 */
all?: boolean, 
/**
 * Everybody in the room who is online.
 */
here?: boolean, };

/**
 * A message.
 */
export type MessageId = string;

/**
 * Which messages of a room a person is told of.
 */
export type NotifyLevel = "all" | "mentions" | "nothing";

/**
 * The message to forward.
 */
export type Original = { room: RoomId, mid: MessageId, };

/**
 * A place in a stream. Sequences of different epochs cannot be compared.
 */
export type Position = { epoch: string, seq: number, };

/**
 * What others see of a person.
 */
export type Presence = "online" | "busy" | "away" | "offline";

/**
 * From a minute of a day of the week to another one: of the next day where that is not later.
 */
export type QuietHours = { 
/**
 * 1 for Monday to 7 for Sunday.
 */
day: number, 
/**
 * 0–1439.
 */
from_min: number, 
/**
 * 0–1440.
 */
to_min: number, };

export type Reached = { user: UserId, seq: number, };

/**
 * The answer to a request; which fields are there depends on the request.
 */
export type Reply = { id: number, 
/**
 * `send` and changes of a message: where the log holds the event.
 */
seq?: number, 
/**
 * `send`: the message's id.
 */
mid?: MessageId, 
/**
 * `sub`, `unsub`.
 */
room?: RoomId, 
/**
 * `sub`: the epoch of the room's stream.
 */
epoch?: string, 
/**
 * `sub`: events up to this sequence are sent now, later ones as they come.
 */
head?: number, 
/**
 * `sub`: whether everything after `after` follows. If not, following begins at `head`, and what lies
 * before is to be had from a fresh snapshot.
 */
recovered?: boolean, };

export type ResetReason = "gap_too_large" | "epoch_changed" | "late_event" | "not_member";

/**
 * What a member is in a room of the kind [`Kind::Room`], the lowest first. In the other kinds everybody is a member and
 * nobody has a rank.
 */
export type Role = "member" | "moderator" | "admin" | "owner";

/**
 * What has changed of a room; what is missing has not. An empty text and a 0 take away.
 */
export type RoomChange = { name?: string, topic?: string, description?: string, avatar?: string, visibility?: Visibility, 
/**
 * Seconds between two messages of one member.
 */
slow_mode_s?: number, 
/**
 * Only moderators and above write.
 */
read_only?: boolean, 
/**
 * Most members of this room.
 */
members_max?: number, };

export type RoomEvent = { room: RoomId, seq: number, 
/**
 * Sequence of the room's event before this one; 0 before the first, and where the server has read this event back
 * from the log and vouches that nothing is missing before it.
 */
prev: number, 
/**
 * When the log stored it (RFC 3339, UTC).
 */
ts: string, 
/**
 * `null` for an event that no front wrote and none can vouch for.
 */
e: StoredEvent | null, };

/**
 * A room.
 */
export type RoomId = string;

/**
 * What a room is for. Never changes.
 */
export type RoomKind = "room" | "direct" | "group_direct";

/**
 * A message that is to be sent later.
 */
export type ScheduleId = string;

/**
 * How present somebody is.
 */
export type Seen = { user: UserId, state: Presence, 
/**
 * Since when, in milliseconds since 1970, where that is known.
 */
since?: number, 
/**
 * The person's status, where it has just changed; `null` when it was taken away.
 */
status?: Status | null, };

export type ServerFrame = { "t": "welcome" } & Welcome | { "t": "ok" } & Reply | { "t": "err", id?: number, code: number, title: string, detail?: string, retry_ms?: number, } | { "t": "ev" } & RoomEvent | { "t": "u" } & FeedEvent | { "t": "eph" } & Ephemeral | { "t": "reset", room?: RoomId, epoch: string, reason: ResetReason, } | { "t": "bye", code: number, retry_ms?: number, };

/**
 * What a person is about for a while.
 */
export type Status = { text: string, emoji?: string, 
/**
 * When it ends, in milliseconds since 1970; without it, never by itself.
 */
until?: number, };

export type StoredEvent = { 
/**
 * Version of the envelope and of the event in it.
 */
v: number, id: EventId, 
/**
 * Who caused it.
 */
by: UserId, } & ({ "type": "room.created", 
/**
 * Empty in direct rooms.
 */
name: string, visibility: Visibility, members: Array<UserId>, 
/**
 * `room` when missing.
 */
kind?: RoomKind, } | { "type": "room.changed" } & RoomChange | { "type": "room.archived" } | { "type": "room.restored" } | { "type": "room.deleted" } | { "type": "room.member_joined", user: UserId, invite?: InviteId, } | { "type": "room.member_left", user: UserId, reason?: string, } | { "type": "room.role_changed", user: UserId, role: Role, } | { "type": "room.member_muted", user: UserId, until?: number, reason?: string, } | { "type": "room.member_unmuted", user: UserId, } | { "type": "room.member_banned", user: UserId, until?: number, reason?: string, } | { "type": "room.member_unbanned", user: UserId, } | { "type": "room.invite_created", invite: InviteId, expires?: number, uses_max?: number, } | { "type": "room.invite_revoked", invite: InviteId, } | { "type": "message.posted", cid: ClientId, body: string, reply_to?: MessageId, thread?: MessageId, mentions?: Mentions, meta?: Record<string, unknown>, forwarded?: Forwarded, attachments?: Array<Attachment>, } | { "type": "message.edited", mid: MessageId, body: string, mentions?: Mentions, meta?: Record<string, unknown>, } | { "type": "message.recalled", mid: MessageId, } | { "type": "message.deleted", mid: MessageId, reason?: string, } | { "type": "message.reacted", mid: MessageId, emoji: string, on: boolean, } | { "type": "message.pinned", mid: MessageId, } | { "type": "message.unpinned", mid: MessageId, } | { "type": "user.registered", username: string, } | { "type": "user.profile_changed", nickname?: string, avatar?: string, bio?: string, status?: Status, } | { "type": "user.deactivated", } | { "type": "user.read", room: RoomId, seq: number, } | { "type": "user.marked_unread", room: RoomId, seq: number, } | { "type": "user.thread_read", room: RoomId, thread: MessageId, seq: number, } | { "type": "user.thread_followed", room: RoomId, thread: MessageId, on: boolean, } | { "type": "user.delivered", room: RoomId, seq: number, } | { "type": "user.draft_saved", room: RoomId, thread?: MessageId, body?: string, } | { "type": "user.message_saved", room: RoomId, mid: MessageId, on: boolean, } | { "type": "user.notify_changed", room: RoomId, level: NotifyLevel, } | { "type": "user.dnd_changed", dnd: DoNotDisturb, } | { "type": "user.scheduled", sid: ScheduleId, room: RoomId, at: number, body: string, reply_to?: MessageId, thread?: MessageId, mentions?: Mentions, } | { "type": "user.schedule_begun", sid: ScheduleId, } | { "type": "user.schedule_cancelled", sid: ScheduleId, } | { "type": "user.schedule_sent", sid: ScheduleId, seq: number, } | { "type": "user.schedule_failed", sid: ScheduleId, code: number, });

export type Typing = { user: UserId, on: boolean, };

/**
 * A person's account.
 */
export type UserId = string;

/**
 * Who can find and join a room.
 */
export type Visibility = "public" | "private";

export type Welcome = { conn: string, node: string, user: UserId, 
/**
 * Epoch of the stream that holds the person's feed, and the last sequence of the feed there.
 */
epoch: string, seq: number, 
/**
 * Whether `resume` was met: what was missed follows in `u` frames.
 */
recovered: boolean, 
/**
 * The server's clock in milliseconds since 1970.
 */
now: number, 
/**
 * A client that is silent for twice as long is taken for dead.
 */
heartbeat_ms: number, limits: ClientLimits, };

/** Stable numbers of errors, see docs/errors.md. */
export const ErrorCode = {
  UsernameTaken: 1001,
  EmailTaken: 1002,
  UsernameInvalid: 1003,
  EmailInvalid: 1004,
  PasswordInvalid: 1005,
  CredentialsWrong: 1006,
  TokenMissing: 1007,
  TokenInvalid: 1008,
  TokenExpired: 1009,
  RefreshInvalid: 1010,
  RefreshReused: 1011,
  SessionEnded: 1012,
  UserNotFound: 1013,
  PasswordWrong: 1014,
  SessionNotFound: 1015,
  TooManyWatched: 1016,
  NicknameInvalid: 1017,
  AvatarInvalid: 1018,
  BioInvalid: 1019,
  StatusInvalid: 1020,
  PhoneInvalid: 1021,
  LocaleInvalid: 1022,
  MessageNotFound: 2001,
  MessageEmpty: 2002,
  MessageTooLong: 2003,
  MessageInvalid: 2004,
  NotAuthor: 2005,
  MessageRecalled: 2006,
  MentionsInvalid: 2007,
  ThreadInvalid: 2008,
  MetaInvalid: 2009,
  ForwardInvalid: 2010,
  TooManyAttachments: 2011,
  EmojiInvalid: 2012,
  TooManyReactions: 2013,
  TooManyPins: 2014,
  RecallTooLate: 2015,
  MessageChanged: 2016,
  ReceiptsOff: 2040,
  NotDirect: 2041,
  QuietInvalid: 2042,
  TooManySaved: 2043,
  ScheduleNotFound: 2044,
  ScheduleBegun: 2045,
  ScheduleTimeInvalid: 2046,
  TooManySchedules: 2047,
  SettingContended: 2048,
  RoomNotFound: 3001,
  NotMember: 3002,
  RoomNameInvalid: 3003,
  RoomFull: 3004,
  RoomContended: 3005,
  NotSubscribed: 3006,
  TooManySubscriptions: 3007,
  RoleTooLow: 3008,
  RankTooLow: 3009,
  Muted: 3010,
  Banned: 3011,
  RoomReadOnly: 3012,
  RoomArchived: 3013,
  SlowMode: 3014,
  LastOwner: 3015,
  NotInDirect: 3016,
  InviteInvalid: 3017,
  RoomListFull: 3018,
  NoSuchMember: 3019,
  RoomTextInvalid: 3020,
  DirectSize: 3021,
  RoomSettingInvalid: 3022,
  FrameMalformed: 4001,
  FrameTooLarge: 4002,
  NotText: 4003,
  HelloExpected: 4004,
  HelloRepeated: 4005,
  BatchTooLong: 4006,
  RateLimited: 5001,
  LogUnavailable: 5002,
  DatabaseUnavailable: 5003,
  Busy: 5004,
  Draining: 5005,
  RequestInvalid: 5006,
  NotFound: 5007,
  MethodNotAllowed: 5008,
  BodyTooLarge: 5009,
  Internal: 5010,
  ReadBehind: 5011,
  CursorInvalid: 5012,
  Unsupported: 5013,
  UpgradeExpected: 5014,
  LogRefuses: 5015,
  SearchInvalid: 5016,
  SearchTooBroad: 5017,
  SearchesLimited: 5018,
  AttachmentNotFound: 6001,
  FileNameInvalid: 6002,
  FileEmpty: 6003,
  FileTooLarge: 6004,
  FileTypeRefused: 6005,
  FileTypeMismatch: 6006,
  FileDamaged: 6007,
  ImageTooLarge: 6008,
  QuotaReached: 6009,
  TooManyUploads: 6010,
  UploadOffset: 6011,
  UploadLocked: 6012,
  UploadSlow: 6013,
  UploadAborted: 6014,
  UploadUnfinished: 6015,
  AttachmentForeign: 6016,
  LengthRequired: 6017,
  UploadHeaderInvalid: 6018,
  OffsetStreamExpected: 6019,
  TusVersion: 6020,
  StorageUnavailable: 6021,
  LinkInvalid: 6022,
  LinkExpired: 6023,
  RangeInvalid: 6024,
} as const;

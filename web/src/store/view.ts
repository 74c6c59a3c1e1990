/** What a room's list of messages shows: the timeline, overlaid with what is not settled yet. */
import type { Entry } from '../protocol/outbox';
import { type ClientId, ErrorCode, type MessageId, type RoomId, type UserId } from '../protocol/wire.gen';
import type { Line, Timeline } from './timeline';

/** What is not stored so long after it was written is late. */
export const LATE_MS = 5_000;

export type Delivery =
  | { kind: 'sent' }
  /** `late`: not stored yet although it could have been. */
  | { kind: 'sending'; cid: ClientId; late: boolean }
  | { kind: 'failed'; cid: ClientId; code: number; title: string };

export interface ShownLine {
  /** Stays the same when a pending line becomes a message. */
  readonly key: string;
  readonly id: MessageId | undefined;
  readonly seq: number | undefined;
  readonly author: UserId;
  readonly own: boolean;
  readonly body: string | undefined;
  readonly replyTo: MessageId | undefined;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly edited: boolean;
  readonly delivery: Delivery;
}

const SENT: Delivery = { kind: 'sent' };
const made = new WeakMap<Line, ShownLine>();

export function shownLines(timeline: Timeline, entries: readonly Entry[], me: UserId, now: number): ShownLine[] {
  const shown = timeline.lines.map((line) => overlaid(line, entries, me, now));
  for (const entry of entries) {
    if (entry.what.t === 'send' && !timeline.has(me, entry.cid)) shown.push(pending(entry, me, now));
  }
  return shown;
}

function overlaid(line: Line, entries: readonly Entry[], me: UserId, now: number): ShownLine {
  const changes = entries.filter((entry) => entry.what.t !== 'send' && entry.what.mid === line.id);
  return changes.reduce((shown, entry) => overlay(shown, entry, now), settled(line, me));
}

/** The same line gives the same object, so that nothing is drawn anew that did not change. */
function settled(line: Line, me: UserId): ShownLine {
  let shown = made.get(line);
  if (!shown) {
    shown = {
      key: `${line.author} ${line.cid}`,
      id: line.id,
      seq: line.seq,
      author: line.author,
      own: line.author === me,
      body: line.body,
      replyTo: line.replyTo,
      at: Date.parse(line.at),
      edited: line.editedAt !== undefined,
      delivery: SENT,
    };
    made.set(line, shown);
  }
  return shown;
}

function overlay(line: ShownLine, entry: Entry, now: number): ShownLine {
  const delivery = deliveryOf(entry, now);
  if (delivery.kind === 'failed') return { ...line, delivery };
  if (entry.what.t === 'recall') return { ...line, body: undefined, delivery };
  if (entry.what.t === 'edit' && line.body !== undefined) return { ...line, body: entry.what.body, edited: true, delivery };
  return line;
}

function pending(entry: Entry, me: UserId, now: number): ShownLine {
  const what = entry.what;
  return {
    key: `${me} ${entry.cid}`,
    id: undefined,
    seq: undefined,
    author: me,
    own: true,
    body: what.t === 'send' ? what.body : undefined,
    replyTo: what.t === 'send' ? what.reply_to : undefined,
    at: entry.at,
    edited: false,
    delivery: deliveryOf(entry, now),
  };
}

function deliveryOf({ cid, at, state, refused }: Entry, now: number): Delivery {
  if (state.kind === 'failed') return { kind: 'failed', cid, code: state.code, title: state.title };
  if (state.kind === 'stored') return SENT;
  const away = refused === ErrorCode.LogUnavailable || refused === ErrorCode.LogRefuses;
  return { kind: 'sending', cid, late: away || now - at >= LATE_MS };
}

/** For the list of rooms: newest message first (where there is none, when the room was new), then by name. */
export function compareRooms(a: RoomOrder, b: RoomOrder): number {
  return (b.lastAt ?? '').localeCompare(a.lastAt ?? '') || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1);
}

export interface RoomOrder {
  id: RoomId;
  name: string;
  /** RFC 3339. */
  lastAt: string | undefined;
}

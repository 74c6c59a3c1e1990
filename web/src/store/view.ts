/** What a room's list of messages shows: the timeline, overlaid with what is not settled yet. */
import type { Entry } from '../protocol/outbox';
import type { ClientId, MessageId, RoomId, UserId } from '../protocol/wire.gen';
import type { Line, Timeline } from './timeline';

export type Delivery =
  | { kind: 'sent' }
  | { kind: 'sending'; cid: ClientId }
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

export function shownLines(timeline: Timeline, entries: readonly Entry[], me: UserId): ShownLine[] {
  const shown = timeline.lines.map((line) => overlaid(line, entries, me));
  for (const entry of entries) {
    if (entry.what.t === 'send' && !timeline.has(me, entry.cid)) shown.push(pending(entry, me));
  }
  return shown;
}

function overlaid(line: Line, entries: readonly Entry[], me: UserId): ShownLine {
  const changes = entries.filter((entry) => entry.what.t !== 'send' && entry.what.mid === line.id);
  return changes.reduce(overlay, settled(line, me));
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

function overlay(line: ShownLine, entry: Entry): ShownLine {
  const delivery = deliveryOf(entry);
  if (delivery.kind === 'failed') return { ...line, delivery };
  if (entry.what.t === 'recall') return { ...line, body: undefined, delivery };
  if (entry.what.t === 'edit' && line.body !== undefined) return { ...line, body: entry.what.body, edited: true, delivery };
  return line;
}

function pending(entry: Entry, me: UserId): ShownLine {
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
    delivery: deliveryOf(entry),
  };
}

function deliveryOf({ cid, state }: Entry): Delivery {
  if (state.kind === 'failed') return { kind: 'failed', cid, code: state.code, title: state.title };
  return state.kind === 'stored' ? SENT : { kind: 'sending', cid };
}

/** For the list of rooms: newest message first, then by name. */
export function compareRooms(a: RoomOrder, b: RoomOrder): number {
  return (b.lastAt ?? '').localeCompare(a.lastAt ?? '') || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1);
}

export interface RoomOrder {
  id: RoomId;
  name: string;
  lastAt: string | undefined;
}

/** What the client knows of one room: facts, counts, typists and, once it was opened, messages. */
import type { RoomSummary, Visibility } from '../api/schema.gen';
import type { Position, RoomEvent, RoomId, UserId } from '../protocol/wire.gen';
import { type Line, Timeline, type TimelineDump, fromPage } from './timeline';
import { Unread, type UnreadDump } from './unread';

/** A typist who says nothing for so long has stopped. */
export const TYPING_MS = 6_000;

export interface RoomFacts {
  name: string;
  visibility: Visibility;
  owner: UserId;
  memberCount: number;
}

/** What survives a reload. One record, so that position and content always belong together. */
export interface RoomRecord {
  id: RoomId;
  facts: RoomFacts;
  position: Position;
  unread: UnreadDump;
  last?: Line;
  since?: string;
  timeline?: TimelineDump;
}

export class Room {
  timeline: Timeline | undefined;
  /** When the room became the person's, RFC 3339; if that was seen here. */
  since: string | undefined;
  #typists = new Map<UserId, number>();
  #factsAsOf: number;

  private constructor(
    readonly id: RoomId,
    private readonly me: UserId,
    public facts: RoomFacts,
    public unread: Unread,
    /** The newest message, for the list of rooms. */
    public last: Line | undefined,
    factsAsOf: number,
  ) {
    this.#factsAsOf = factsAsOf;
  }

  static fromSummary(summary: RoomSummary, me: UserId): Room {
    const last = summary.last_message ? fromPage(summary.last_message, summary.as_of.seq) : undefined;
    return new Room(summary.id, me, factsOf(summary), new Unread(baseOf(summary)), last, summary.as_of.seq);
  }

  static restore(record: RoomRecord, me: UserId): Room {
    const unread = Unread.restore(record.unread);
    const room = new Room(record.id, me, record.facts, unread, record.last, record.position.seq);
    room.since = record.since;
    if (record.timeline) room.timeline = Timeline.restore(record.timeline);
    return room;
  }

  /** Takes a newer summary's word. */
  absorb(summary: RoomSummary): void {
    if (summary.as_of.seq < this.#factsAsOf) return;
    this.#factsAsOf = summary.as_of.seq;
    this.facts = factsOf(summary);
    this.unread.absorb(baseOf(summary));
    const { last_message: last } = summary;
    if (last && last.seq >= (this.last?.seq ?? 0)) this.last = fromPage(last, summary.as_of.seq);
  }

  /** The log was begun anew or too much was missed: what was known is void. */
  replace(summary: RoomSummary, timeline: Timeline | undefined): void {
    this.#factsAsOf = summary.as_of.seq;
    this.facts = factsOf(summary);
    this.unread = new Unread(baseOf(summary));
    this.last = summary.last_message ? fromPage(summary.last_message, summary.as_of.seq) : undefined;
    this.timeline = timeline;
  }

  /** Folds one event; the follower sees to it that each comes once and in order. */
  apply(event: RoomEvent, now: number): void {
    const { e, seq } = event;
    this.timeline?.fold(event);
    if (!e) return;
    if (e.type === 'message.posted') {
      this.typing(e.by, false, now);
      this.unread.posted(seq, e.by === this.me);
    }
    this.#foldLast(event);
    if (seq <= this.#factsAsOf) return;
    if (e.type === 'room.member_joined') this.#members(+1);
    else if (e.type === 'room.member_left') this.#members(-1);
  }

  typing(user: UserId, on: boolean, now: number): void {
    if (on && user !== this.me) this.#typists.set(user, now + TYPING_MS);
    else this.#typists.delete(user);
  }

  /** Who is writing now. */
  typists(now: number): UserId[] {
    return [...this.#typists].filter(([, until]) => until > now).map(([user]) => user);
  }

  record(position: Position, keepLines: number): RoomRecord {
    return {
      id: this.id,
      facts: this.facts,
      position,
      unread: this.unread.dump(),
      ...(this.last && { last: this.last }),
      ...(this.since !== undefined && { since: this.since }),
      ...(this.timeline && { timeline: this.timeline.dump(keepLines) }),
    };
  }

  #members(by: number): void {
    this.facts = { ...this.facts, memberCount: this.facts.memberCount + by };
  }

  /** The last message alone is a timeline of one line. */
  #foldLast(event: RoomEvent): void {
    const small = Timeline.restore({ lines: this.last ? [this.last] : [], older: { kind: 'none' }, loaded: true });
    small.fold(event);
    this.last = small.lines.at(-1);
  }
}

function factsOf(summary: RoomSummary): RoomFacts {
  const { name, visibility, owner, member_count: memberCount } = summary;
  return { name, visibility, owner, memberCount };
}

function baseOf(summary: RoomSummary) {
  const { as_of: asOf, last_message: last, unread: count, read_seq: readSeq } = summary;
  return { asOf: asOf.seq, lastSeq: last?.seq ?? 0, count, readSeq };
}

/**
 * The person's rooms: which there are, and each one's follower.
 *
 * Membership is in the rooms, not in the person's feed: a room that is new is learnt of by a notice that may be
 * lost, and for certain by the list of rooms, which is therefore read on every connection. A room that is one's
 * own no more is learnt of when following it is refused.
 */
import type { Api } from '../api/client';
import type { RoomSummary } from '../api/schema.gen';
import { backoffMs } from '../protocol/backoff';
import type { Clock } from '../protocol/clock';
import { Refused, isTransient, retryMs } from '../protocol/errors';
import { RoomFollower } from '../protocol/room';
import type { Position, Reply, ResetReason, RoomEvent, RoomId, UserId } from '../protocol/wire.gen';
import { Room, type RoomRecord } from './room';
import { compareRooms } from './view';

const LIST_PAGE = 200;
/** So often a room is asked for that the read model does not have yet. */
const ADOPT_TRIES = 7;

export interface BookPort {
  user: UserId;
  clock: Clock;
  api: Pick<Api, 'rooms' | 'room'>;
  subscribe(room: RoomId, after: Position): Promise<Reply>;
  unsubscribe(room: RoomId): void;
  /** Replaces what is known of the room, see `RoomFollower`. */
  renew(room: Room, atLeast: number | undefined): Promise<Position>;
  /** After the room has folded it. */
  onEvent(room: Room, event: RoomEvent): void;
  onAdded(room: Room): void;
  onChange(room: RoomId): void;
  onGone(room: RoomId): void;
  /** The list of rooms has been read, even if there are none. */
  onListed(): void;
}

interface Followed {
  room: Room;
  follower: RoomFollower;
}

export class RoomBook {
  #rooms = new Map<RoomId, Followed>();
  #attachable = 0;
  /** Told apart from what was begun on an earlier connection. */
  #turn = 0;
  #listed = false;

  constructor(private readonly port: BookPort) {}

  /** Whether the list of rooms has been read, or rooms are known from before. */
  get listed(): boolean {
    return this.#listed || this.#rooms.size > 0;
  }

  get(id: RoomId): Room | undefined {
    return this.#rooms.get(id)?.room;
  }

  position(id: RoomId): Position | undefined {
    return this.#rooms.get(id)?.follower.position;
  }

  /** Newest message first. */
  sorted(): Room[] {
    const order = ({ id, facts, last, since }: Room) => ({ id, name: facts.name, lastAt: last?.at ?? since });
    return [...this.#rooms.values()].map(({ room }) => room).sort((a, b) => compareRooms(order(a), order(b)));
  }

  restore(records: readonly RoomRecord[]): void {
    for (const record of records) this.#add(Room.restore(record, this.port.user), record.position);
  }

  record(id: RoomId, keepLines: number): RoomRecord | undefined {
    const known = this.#rooms.get(id);
    return known?.room.record(known.follower.position, keepLines);
  }

  /** A connection is there: follows `first`, does what is `urgent`, then follows the liveliest; at most `max`. */
  attach(first: RoomId | undefined, max: number, urgent: () => void): void {
    this.#turn += 1;
    this.#attachable = max;
    const ids = this.sorted().map(({ id }) => id);
    const order = first === undefined ? ids : [first, ...ids.filter((id) => id !== first)];
    this.#rooms.get(order[0] ?? '')?.follower.attach();
    urgent();
    for (const id of order.slice(1, max)) this.#rooms.get(id)?.follower.attach();
    this.refresh();
  }

  detach(): void {
    this.#turn += 1;
    this.#attachable = 0;
    for (const { follower } of this.#rooms.values()) follower.detach();
  }

  event(event: RoomEvent): void {
    this.#rooms.get(event.room)?.follower.event(event);
  }

  reset(room: RoomId, reason: ResetReason): void {
    this.#rooms.get(room)?.follower.reset(reason);
  }

  /** Reads the list of rooms: for new ones, and for what other devices read. Tries until the connection ends. */
  refresh(attempt = 0): void {
    const turn = this.#turn;
    this.#list().catch((error: unknown) => {
      if (!isTransient(error)) return;
      this.#later(attempt, error, () => this.#turn === turn && this.refresh(attempt + 1));
    });
  }

  /** Learns of a room from its event `seq` on: that it is one's own, or that it is no more. */
  async adopt(id: RoomId, seq: number, attempt = 0): Promise<void> {
    try {
      this.#take(await this.port.api.room(id, seq));
    } catch (error) {
      if (error instanceof Refused && !isTransient(error)) return this.remove(id);
      if (attempt + 1 >= ADOPT_TRIES) throw error;
      await new Promise<void>((resolve) => this.#later(attempt, error, resolve));
      await this.adopt(id, seq, attempt + 1);
    }
  }

  remove(id: RoomId): void {
    const known = this.#rooms.get(id);
    if (!known) return;
    this.#rooms.delete(id);
    if (known.follower.phase !== 'ended') {
      known.follower.detach();
      this.port.unsubscribe(id);
    }
    this.port.onGone(id);
  }

  async #list(): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await this.port.api.rooms({ limit: LIST_PAGE, ...(cursor !== undefined && { cursor }) });
      for (const summary of page.items) this.#take(summary);
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
    this.#listed = true;
    this.port.onListed();
  }

  #take(summary: RoomSummary): void {
    if (!summary.joined) return this.remove(summary.id);
    const known = this.#rooms.get(summary.id);
    if (!known) this.#add(this.#fresh(summary), summary.as_of);
    else if (known.follower.position.epoch === summary.as_of.epoch) known.room.absorb(summary);
    // Another epoch: the follower finds out and takes a snapshot.
    this.port.onChange(summary.id);
  }

  /** A room that was not there when the list was first read is new now. */
  #fresh(summary: RoomSummary): Room {
    const room = Room.fromSummary(summary, this.port.user);
    if (this.#listed) room.since = new Date(this.port.clock.now()).toISOString();
    return room;
  }

  #add(room: Room, position: Position): void {
    const follower = new RoomFollower(room.id, position, {
      clock: this.port.clock,
      subscribe: (id, after) => this.port.subscribe(id, after),
      snapshot: (_id, atLeast) => this.port.renew(room, atLeast),
      apply: (event) => this.#apply(room, event),
      gone: (id) => this.remove(id),
    });
    this.#rooms.set(room.id, { room, follower });
    if (this.#rooms.size <= this.#attachable) follower.attach();
    this.port.onAdded(room);
  }

  #apply(room: Room, event: RoomEvent): void {
    room.apply(event, this.port.clock.now());
    this.port.onEvent(room, event);
    if (event.e?.type === 'room.member_left' && event.e.user === this.port.user) this.remove(room.id);
  }

  #later(attempt: number, error: unknown, again: () => void): void {
    const ms = Math.max(retryMs(error), backoffMs(attempt, () => this.port.clock.random()));
    this.port.clock.after(ms, again);
  }
}

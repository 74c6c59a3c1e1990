/**
 * What the person said and the server has not yet answered for: kept, in order, sent again with the same
 * `cid` on every connection until it is settled. A repeat is the same message, so sending again is safe.
 *
 * One entry of a room is under way at a time: the next waits for the answer, so that the log's order is the
 * order in which they were written. Entries are given to `keep` before they are sent and survive a reload.
 */
import { backoffMs } from './backoff';
import type { Cancel, Clock } from './clock';
import { Refused, isTransient, retryMs } from './errors';
import { newClientId } from './ids';
import type { ClientId, MessageId, Reply, RoomId } from './wire.gen';

export type Utterance =
  | { t: 'send'; room: RoomId; body: string; reply_to?: MessageId }
  | { t: 'edit'; room: RoomId; mid: MessageId; body: string }
  | { t: 'recall'; room: RoomId; mid: MessageId };

export type EntryState =
  | { kind: 'queued' }
  | { kind: 'sending' }
  /** The log holds it at `seq`; the event itself has not come yet. */
  | { kind: 'stored'; seq: number }
  | { kind: 'failed'; code: number; title: string };

export interface Entry {
  readonly cid: ClientId;
  /** Milliseconds since 1970, by the client's clock: for display only. */
  readonly at: number;
  readonly what: Utterance;
  readonly state: EntryState;
  /** Why the last attempt failed that is going to be repeated. */
  readonly refused?: number;
}

export interface OutboxPort {
  clock: Clock;
  request(frame: Utterance & { cid: ClientId }): Promise<Reply>;
  /** Keeps the entry over a reload. */
  keep(entry: Entry): void;
  forget(cid: ClientId): void;
  onChange(room: RoomId): void;
}

interface Lane {
  entries: Entry[];
  attempt: number;
  cancelRetry: Cancel;
}

export class Outbox {
  #lanes = new Map<RoomId, Lane>();
  #attached = false;
  #turn = 0;

  constructor(private readonly port: OutboxPort) {}

  /** In the order of writing. The array is never changed in place. */
  entries(room: RoomId): readonly Entry[] {
    return this.#lanes.get(room)?.entries ?? [];
  }

  /** What an earlier page left unsettled. */
  restore(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const state: EntryState = entry.state.kind === 'failed' ? entry.state : { kind: 'queued' };
      const lane = this.#lane(entry.what.room);
      if (!lane.entries.some((known) => known.cid === entry.cid)) lane.entries = [...lane.entries, { ...entry, state }];
    }
    for (const [room, lane] of this.#lanes) {
      lane.entries.sort((a, b) => (a.cid < b.cid ? -1 : 1)); // UUIDv7: the order of writing
      this.#advance(room);
    }
  }

  say(what: Utterance): Entry {
    const at = this.port.clock.now();
    const entry: Entry = { cid: newClientId(at), at, what, state: { kind: 'queued' } };
    const lane = this.#lane(what.room);
    lane.entries = [...lane.entries, entry];
    this.port.keep(entry);
    this.port.onChange(what.room);
    this.#advance(what.room);
    return entry;
  }

  /** A connection is there: what was not answered goes out again. */
  attach(): void {
    this.#attached = true;
    for (const [room, lane] of this.#lanes) {
      lane.attempt = 0;
      this.#advance(room);
    }
  }

  detach(): void {
    this.#attached = false;
    this.#turn += 1;
    for (const [room, lane] of this.#lanes) {
      lane.cancelRetry();
      for (const entry of lane.entries) if (entry.state.kind === 'sending') this.#set(room, entry.cid, { kind: 'queued' });
    }
  }

  retry(room: RoomId, cid: ClientId): void {
    this.#set(room, cid, { kind: 'queued' });
    this.#advance(room);
  }

  /** The event is there (or nobody will show it): the entry is done with. */
  settle(room: RoomId, cid: ClientId): void {
    const lane = this.#lanes.get(room);
    if (!lane?.entries.some((entry) => entry.cid === cid)) return;
    lane.entries = lane.entries.filter((entry) => entry.cid !== cid);
    this.port.forget(cid);
    this.port.onChange(room);
    this.#advance(room);
  }

  #lane(room: RoomId): Lane {
    let lane = this.#lanes.get(room);
    if (!lane) this.#lanes.set(room, (lane = { entries: [], attempt: 0, cancelRetry: () => {} }));
    return lane;
  }

  #set(room: RoomId, cid: ClientId, state: EntryState, refused?: number): void {
    const lane = this.#lane(room);
    lane.entries = lane.entries.map((entry) => (entry.cid === cid ? { ...entry, state, ...(refused !== undefined && { refused }) } : entry));
    this.port.onChange(room);
  }

  /** Sends the first queued entry, unless one is under way. */
  #advance(room: RoomId): void {
    const lane = this.#lane(room);
    lane.cancelRetry();
    if (!this.#attached || lane.entries.some((entry) => entry.state.kind === 'sending')) return;
    const next = lane.entries.find((entry) => entry.state.kind === 'queued');
    if (!next) return;
    const turn = this.#turn;
    this.#set(room, next.cid, { kind: 'sending' });
    this.port.request({ ...next.what, cid: next.cid }).then(
      (reply) => this.#answered(room, next.cid, reply),
      (error: unknown) => this.#turn === turn && this.#refused(room, next.cid, error),
    );
  }

  /** An `ok` counts whichever connection it came on. */
  #answered(room: RoomId, cid: ClientId, reply: Reply): void {
    const lane = this.#lane(room);
    lane.attempt = 0;
    if (lane.entries.some((entry) => entry.cid === cid)) {
      this.port.forget(cid);
      this.#set(room, cid, { kind: 'stored', seq: reply.seq ?? 0 });
    }
    this.#advance(room);
  }

  #refused(room: RoomId, cid: ClientId, error: unknown): void {
    const lane = this.#lane(room);
    const entry = lane.entries.find((known) => known.cid === cid);
    if (!entry) return this.#advance(room); // its event came first
    if (isTransient(error)) {
      this.#set(room, cid, { kind: 'queued' }, error instanceof Refused ? error.code : undefined);
      const ms = Math.max(retryMs(error), backoffMs(lane.attempt++, () => this.port.clock.random()));
      lane.cancelRetry = this.port.clock.after(ms, () => this.#advance(room));
      return;
    }
    const refused = error instanceof Refused ? error : new Refused(0, String(error));
    this.#set(room, cid, { kind: 'failed', code: refused.code, title: refused.title });
    this.port.keep({ ...entry, state: { kind: 'failed', code: refused.code, title: refused.title } });
    this.#advance(room);
  }
}

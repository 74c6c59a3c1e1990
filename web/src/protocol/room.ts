/**
 * Following one room without a gap and without a repeat: the client rule of docs/protocol.md.
 *
 * A follower holds the position up to which its owner has applied the room's events. Every event passes
 * through it; what it hands on is in order, each once.
 */
import { backoffMs } from './backoff';
import type { Cancel, Clock } from './clock';
import { Refused, isTransient, retryMs } from './errors';
import { ErrorCode, type Position, type Reply, type ResetReason, type RoomEvent, type RoomId } from './wire.gen';

/** Most events kept while a snapshot is under way; beyond it they are fetched again. */
export const HELD_MAX_EVENTS = 1_000;

export type Judgement = 'drop' | 'apply' | 'gap';

/** What to do with an event, `last` being the last sequence that was applied. */
export function judge(last: number, event: { seq: number; prev: number }): Judgement {
  if (event.seq <= last) return 'drop';
  return event.prev <= last ? 'apply' : 'gap';
}

export interface FollowerPort {
  clock: Clock;
  subscribe(room: RoomId, after: Position): Promise<Reply>;
  /** Takes a fresh snapshot, at least as new as `atLeast`; what was known before is to be dropped. Resolves
   *  with the position that it reflects. */
  snapshot(room: RoomId, atLeast: number | undefined): Promise<Position>;
  apply(event: RoomEvent): void;
  /** The person is not a member any more. */
  gone(room: RoomId): void;
}

const MEMBERSHIP_OVER: ReadonlySet<number> = new Set([ErrorCode.NotMember, ErrorCode.RoomNotFound]);

type Phase = 'detached' | 'subscribing' | 'following' | 'snapshotting' | 'ended';

export class RoomFollower {
  #phase: Phase = 'detached';
  #held: RoomEvent[] = [];
  #overflowed = false;
  #attempt = 0;
  /** Told apart from answers to what was asked before the last change of phase. */
  #turn = 0;
  #cancelRetry: Cancel = () => {};

  constructor(
    readonly room: RoomId,
    private position_: Position,
    private readonly port: FollowerPort,
  ) {}

  get position(): Position {
    return this.position_;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** A connection is there: follow from the position on. */
  attach(): void {
    if (this.#phase === 'ended') return;
    this.#attempt = 0;
    this.#subscribe();
  }

  /** The connection is gone, or the owner follows the room no longer. */
  detach(): void {
    if (this.#phase !== 'ended') this.#enter('detached');
  }

  event(event: RoomEvent): void {
    if (this.#phase === 'snapshotting') this.#hold(event);
    else if (this.#phase === 'subscribing' || this.#phase === 'following') this.#offer(event);
  }

  reset(reason: ResetReason): void {
    if (this.#phase === 'detached' || this.#phase === 'ended') return;
    if (reason === 'not_member') this.#end();
    else this.#renew(undefined);
  }

  #enter(phase: Phase): number {
    this.#phase = phase;
    this.#cancelRetry();
    this.#held = [];
    this.#overflowed = false;
    return ++this.#turn;
  }

  #offer(event: RoomEvent): void {
    const judgement = judge(this.position_.seq, event);
    if (judgement === 'apply') {
      this.position_ = { epoch: this.position_.epoch, seq: event.seq };
      this.port.apply(event);
    } else if (judgement === 'gap' && this.#phase === 'following') {
      this.#subscribe();
    }
    // A gap while subscribing: the answer brings the event again, in its place.
  }

  #hold(event: RoomEvent): void {
    if (this.#held.length < HELD_MAX_EVENTS) this.#held.push(event);
    else this.#overflowed = true;
  }

  #subscribe(): void {
    const turn = this.#enter('subscribing');
    this.port.subscribe(this.room, this.position_).then(
      (reply) => this.#turn === turn && this.#subscribed(reply),
      (error: unknown) => this.#turn === turn && this.#failed(error, () => this.#subscribe()),
    );
  }

  #subscribed(reply: Reply): void {
    const sameEpoch = reply.epoch === undefined || reply.epoch === this.position_.epoch;
    if (reply.recovered === false || !sameEpoch) return this.#renew(reply);
    this.#attempt = 0;
    this.#phase = 'following';
  }

  /** Takes a fresh snapshot. With `from`, following began at its head, and what comes is held meanwhile. */
  #renew(from: Reply | undefined): void {
    const turn = this.#enter('snapshotting');
    const take = () => {
      this.port.snapshot(this.room, from?.head).then(
        (position) => this.#turn === turn && this.#renewed(position, from),
        (error: unknown) => this.#turn === turn && this.#failed(error, take),
      );
    };
    take();
  }

  #renewed(position: Position, from: Reply | undefined): void {
    this.position_ = position;
    const fits = from && position.epoch === from.epoch && position.seq >= (from.head ?? 0);
    if (fits && !this.#overflowed) this.#resume();
    else if (fits || !from) this.#subscribe();
    else this.#retry(0, () => this.#subscribe()); // the read model still speaks of another epoch
  }

  #resume(): void {
    const held = this.#held;
    this.#enter('following');
    this.#attempt = 0;
    for (const event of held) this.event(event);
  }

  #failed(error: unknown, again: () => void): void {
    if (isTransient(error)) this.#retry(retryMs(error), again);
    else if (error instanceof Refused && MEMBERSHIP_OVER.has(error.code)) this.#end();
    else this.#enter('detached');
  }

  #retry(atLeastMs: number, again: () => void): void {
    const ms = Math.max(atLeastMs, backoffMs(this.#attempt++, () => this.port.clock.random()));
    this.#cancelRetry();
    this.#cancelRetry = this.port.clock.after(ms, again);
  }

  #end(): void {
    this.#enter('ended');
    this.port.gone(this.room);
  }
}

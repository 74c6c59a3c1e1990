/** Pages of messages, fetched when the reader comes to their edge. */
import type { Api } from '../api/client';
import type { Clock } from '../protocol/clock';
import { Unanswered, isTransient, retryMs } from '../protocol/errors';
import type { Position, RoomId } from '../protocol/wire.gen';
import type { Room } from './room';
import { Timeline } from './timeline';

/** Messages of a page of history. */
export const PAGE_LINES = 50;
/** A page that could not be had is asked for again so long after. */
export const PAGE_RETRY_MS = 3_000;

export interface HistoryPort {
  clock: Clock;
  api: Pick<Api, 'room' | 'messages'>;
  /** How far the room is followed; pages must not lag behind it. */
  position(room: RoomId): Position | undefined;
  /** Whether somebody looks at the room. */
  isOpen(room: RoomId): boolean;
  onChange(room: RoomId): void;
}

export type Paging = 'idle' | 'loading' | 'failed';

export class History {
  #paging = new Map<RoomId, Paging>();

  constructor(private readonly port: HistoryPort) {}

  paging(room: RoomId): Paging {
    return this.#paging.get(room) ?? 'idle';
  }

  /** Fetches the page before the oldest message that is there. */
  async loadOlder(room: Room): Promise<void> {
    room.timeline ??= new Timeline();
    const timeline = room.timeline;
    if (timeline.older.kind === 'none' || this.paging(room.id) === 'loading') return;
    this.#become(room.id, 'loading');
    try {
      await this.#fetch(room, timeline);
      this.#become(room.id, 'idle');
    } catch (error) {
      this.#become(room.id, 'failed');
      if (isTransient(error)) this.#retryLater(room, retryMs(error));
    }
  }

  /** Replaces what is known of a room by a fresh snapshot. What is shown stays until it is there. */
  async renew(room: Room, atLeast: number | undefined): Promise<Position> {
    const { api } = this.port;
    const summary = await api.room(room.id, atLeast);
    const position = summary.as_of;
    let timeline: Timeline | undefined;
    if (room.timeline) {
      timeline = new Timeline();
      timeline.awaitPage();
      const page = await api.messages(room.id, { limit: PAGE_LINES, at_least: position.seq });
      if (page.as_of.epoch !== position.epoch) throw new Unanswered('the read model is being replaced');
      timeline.addPage(page);
    }
    room.replace(summary, timeline);
    return position;
  }

  async #fetch(room: Room, timeline: Timeline): Promise<void> {
    let reached = false;
    while (!reached && room.timeline === timeline) {
      const { older } = timeline;
      const position = this.port.position(room.id);
      const query = {
        limit: PAGE_LINES,
        ...(position && { at_least: position.seq }),
        ...(older.kind === 'cursor' && { cursor: older.cursor }),
      };
      timeline.awaitPage();
      try {
        ({ reached } = timeline.addPage(await this.port.api.messages(room.id, query)));
      } catch (error) {
        timeline.pageFailed();
        throw error;
      }
    }
  }

  #retryLater(room: Room, atLeastMs: number): void {
    this.port.clock.after(Math.max(PAGE_RETRY_MS, atLeastMs), () => {
      if (this.port.isOpen(room.id) && this.paging(room.id) === 'failed') void this.loadOlder(room);
    });
  }

  #become(room: RoomId, paging: Paging): void {
    this.#paging.set(room, paging);
    this.port.onChange(room);
  }
}

/** Tells the server how far the person has read: soon, and not more often than needed. */
import type { Cancel, Clock } from '../protocol/clock';
import type { RoomId } from '../protocol/wire.gen';
import type { Room } from './room';

/** Marks of one room are sent together when they come so close. */
export const MARK_AFTER_MS = 500;

export interface MarksPort {
  clock: Clock;
  /** `false` when there is no connection. */
  send(room: RoomId, seq: number): boolean;
}

export class ReadMarks {
  #waiting = new Map<RoomId, Cancel>();

  constructor(private readonly port: MarksPort) {}

  /** Sends the room's mark if the server does not know it yet. Without a connection it waits for the next call. */
  tell(room: Room): void {
    if (!room.unread.untold || this.#waiting.has(room.id)) return;
    const send = () => {
      this.#waiting.delete(room.id);
      const seq = room.unread.readSeq;
      if (room.unread.untold && this.port.send(room.id, seq)) room.unread.told(seq);
    };
    this.#waiting.set(room.id, this.port.clock.after(MARK_AFTER_MS, send));
  }
}

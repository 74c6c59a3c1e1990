import type { Cancel, Clock } from './clock';
import { Refused, Unanswered } from './errors';
import type { Reply, ServerFrame } from './wire.gen';

export const REQUEST_TIMEOUT_MS = 30_000;

interface Waiting {
  resolve(reply: Reply): void;
  reject(error: Error): void;
  cancelTimeout: Cancel;
}

/** Requests of one connection that wait for `ok` or `err`. */
export class Requests {
  #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor(private readonly clock: Clock) {}

  nextId(): number {
    return ++this.#lastId;
  }

  /** Settles with the answer to `id`; rejects with `Refused` or `Unanswered`. */
  answer(id: number): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const cancelTimeout = this.clock.after(REQUEST_TIMEOUT_MS, () => {
        this.#waiting.delete(id);
        reject(new Unanswered('no answer in time'));
      });
      this.#waiting.set(id, { resolve, reject, cancelTimeout });
    });
  }

  settle(frame: Extract<ServerFrame, { t: 'ok' | 'err' }>): void {
    const waiting = frame.id === undefined ? undefined : this.#waiting.get(frame.id);
    if (!waiting) return; // the answer to a ping, or one that came after its time
    this.#waiting.delete(frame.id!);
    waiting.cancelTimeout();
    if (frame.t === 'ok') waiting.resolve(frame);
    else waiting.reject(new Refused(frame.code, frame.title, frame.detail, frame.retry_ms));
  }

  abandonAll(): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const waiting of all) {
      waiting.cancelTimeout();
      waiting.reject(new Unanswered('the connection was lost'));
    }
  }
}

import type { Cancel, Clock } from '../clock';

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  #now = 1_000_000;
  #timers = new Map<object, { at: number; run: () => void }>();
  chance = 0.5;

  now = () => this.#now;
  random = () => this.chance;

  after(ms: number, run: () => void): Cancel {
    const key = {};
    this.#timers.set(key, { at: this.#now + ms, run });
    return () => this.#timers.delete(key);
  }

  /** Lets `ms` pass, running what falls due, and what that promises. */
  async pass(ms: number): Promise<void> {
    await settled();
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
      await settled();
    }
    this.#now = end;
    await settled();
  }

  /** Milliseconds until the next timer, if any. */
  next(): number | undefined {
    const times = [...this.#timers.values()].map((t) => t.at - this.#now);
    return times.length ? Math.min(...times) : undefined;
  }
}

/** Promises that are settled already have had their say. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

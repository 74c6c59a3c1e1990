/** Names of people, looked up once each when first asked for. */
import type { Person } from '../api/schema.gen';
import { isTransient } from '../protocol/errors';
import type { UserId } from '../protocol/wire.gen';

/** Look-ups under way at once. */
const LOOKUPS_MAX = 4;
/** A look-up that could not be had is not tried again sooner. */
const RETRY_MS = 10_000;

export interface PeoplePort {
  now(): number;
  person(user: UserId): Promise<Person>;
  onChange(): void;
}

export class People {
  #names = new Map<UserId, string>();
  #wanted: UserId[] = [];
  #asked = new Map<UserId, number>();
  #running = 0;

  constructor(private readonly port: PeoplePort) {}

  /** The name, if known yet; asks for it if not. */
  name(user: UserId): string | undefined {
    const name = this.#names.get(user);
    if (name === undefined) this.#want(user);
    return name;
  }

  learn(people: Iterable<Person | readonly [UserId, string]>): void {
    let news = false;
    for (const person of people) {
      const [id, name] = 'id' in person ? [person.id, person.username] : person;
      news ||= this.#names.get(id) !== name;
      this.#names.set(id, name);
    }
    if (news) this.port.onChange();
  }

  entries(): [UserId, string][] {
    return [...this.#names];
  }

  #want(user: UserId): void {
    const asked = this.#asked.get(user);
    if (asked !== undefined && this.port.now() - asked < RETRY_MS) return;
    this.#asked.set(user, this.port.now());
    this.#wanted.push(user);
    // Not at once: names are asked for while a view is being made.
    queueMicrotask(() => this.#next());
  }

  #next(): void {
    if (this.#running >= LOOKUPS_MAX) return;
    const user = this.#wanted.shift();
    if (user === undefined) return;
    this.#running += 1;
    this.port
      .person(user)
      .then((person) => this.learn([person]))
      .catch((error: unknown) => {
        if (!isTransient(error)) this.#asked.set(user, Infinity);
      })
      .finally(() => {
        this.#running -= 1;
        this.#next();
      });
  }
}

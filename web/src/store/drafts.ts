/** What was written in each room and not sent: of one person, in one tab, over reloads. */
import type { RoomId, UserId } from '../protocol/wire.gen';

const PREFIX = 'natterjack.drafts.';

export type DraftStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>;

export class Drafts {
  #texts: Map<RoomId, string>;

  /** Leaves nothing of other people behind. Without a storage, drafts live as long as the page. */
  constructor(
    private readonly user: UserId,
    private readonly storage?: DraftStorage,
  ) {
    const keys = Array.from({ length: storage?.length ?? 0 }, (_, index) => storage!.key(index)!);
    for (const key of keys) if (key.startsWith(PREFIX) && key !== PREFIX + user) storage!.removeItem(key);
    this.#texts = new Map(parsed(storage?.getItem(PREFIX + user)));
  }

  get(room: RoomId): string {
    return this.#texts.get(room) ?? '';
  }

  set(room: RoomId, text: string): void {
    if (text) this.#texts.set(room, text);
    else this.#texts.delete(room);
    try {
      this.storage?.setItem(PREFIX + this.user, JSON.stringify([...this.#texts]));
    } catch {
      // The storage is full: the draft lives as long as the page.
    }
  }

  clear(): void {
    this.#texts.clear();
    this.storage?.removeItem(PREFIX + this.user);
  }
}

function parsed(text: string | null | undefined): [RoomId, string][] {
  try {
    return text ? (JSON.parse(text) as [RoomId, string][]) : [];
  } catch {
    return [];
  }
}

/** What survives a reload, in IndexedDB: rooms with their positions, unsettled sends, names. */
import { type DBSchema, type IDBPDatabase, deleteDB, openDB } from 'idb';
import type { Entry } from '../protocol/outbox';
import type { ClientId, Position, RoomId, UserId } from '../protocol/wire.gen';
import type { RoomRecord } from './room';

export interface Remembered {
  rooms: RoomRecord[];
  entries: Entry[];
  people: [UserId, string][];
  feed: Position | undefined;
}

export interface Vault {
  load(): Promise<Remembered>;
  saveRooms(rooms: RoomRecord[], people: [UserId, string][], feed: Position | undefined): Promise<void>;
  deleteRoom(room: RoomId): Promise<void>;
  saveEntry(entry: Entry): Promise<void>;
  deleteEntry(cid: ClientId): Promise<void>;
}

interface Schema extends DBSchema {
  rooms: { key: RoomId; value: RoomRecord };
  entries: { key: ClientId; value: Entry };
  meta: { key: string; value: unknown };
}

const VERSION = 1;

export class IndexedVault implements Vault {
  private constructor(private readonly db: IDBPDatabase<Schema>) {}

  static async open(user: UserId): Promise<IndexedVault> {
    const db = await openDB<Schema>(nameFor(user), VERSION, {
      upgrade(db) {
        db.createObjectStore('rooms', { keyPath: 'id' });
        db.createObjectStore('entries', { keyPath: 'cid' });
        db.createObjectStore('meta');
      },
      blocking: (_from, _to, event) => (event.target as IDBDatabase).close(),
    });
    return new IndexedVault(db);
  }

  /** Leaves nothing of this person behind. */
  static async erase(user: UserId): Promise<void> {
    await deleteDB(nameFor(user));
  }

  async load(): Promise<Remembered> {
    const work = this.db.transaction(['rooms', 'entries', 'meta']);
    const [rooms, entries, people, feed] = await Promise.all([
      work.objectStore('rooms').getAll(),
      work.objectStore('entries').getAll(),
      work.objectStore('meta').get('people'),
      work.objectStore('meta').get('feed'),
    ]);
    return { rooms, entries, people: (people ?? []) as [UserId, string][], feed: feed as Position | undefined };
  }

  async saveRooms(rooms: RoomRecord[], people: [UserId, string][], feed: Position | undefined): Promise<void> {
    const work = this.db.transaction(['rooms', 'meta'], 'readwrite');
    const meta = work.objectStore('meta');
    for (const room of rooms) void work.objectStore('rooms').put(room);
    void meta.put(people, 'people');
    void (feed ? meta.put(feed, 'feed') : meta.delete('feed'));
    await work.done;
  }

  async deleteRoom(room: RoomId): Promise<void> {
    await this.db.delete('rooms', room);
  }

  async saveEntry(entry: Entry): Promise<void> {
    await this.db.put('entries', entry);
  }

  async deleteEntry(cid: ClientId): Promise<void> {
    await this.db.delete('entries', cid);
  }
}

function nameFor(user: UserId): string {
  return `natterjack-${user}`;
}

/** For browsers that keep nothing (private windows, full disks). */
export class ForgetfulVault implements Vault {
  async load(): Promise<Remembered> {
    return { rooms: [], entries: [], people: [], feed: undefined };
  }
  async saveRooms(): Promise<void> {}
  async deleteRoom(): Promise<void> {}
  async saveEntry(): Promise<void> {}
  async deleteEntry(): Promise<void> {}
}

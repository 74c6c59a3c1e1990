/**
 * One person's chat: rooms, followed over one connection; what was said; what survives a reload.
 *
 * The order of things: what is remembered is shown at once; each `online` follows every room from its own
 * position, sends again what was not answered, and reads the list of rooms for those that are new.
 */
import type { Api } from '../api/client';
import type { Person } from '../api/schema.gen';
import type { Clock } from '../protocol/clock';
import { Connection, type ConnectionState, type Socket } from '../protocol/connection';
import { Outbox, type Utterance } from '../protocol/outbox';
import { judge } from '../protocol/room';
import type { FeedEvent, Position, RoomEvent, RoomId, ServerFrame, UserId } from '../protocol/wire.gen';
import { RoomBook } from './book';
import { Drafts, type DraftStorage } from './drafts';
import { History, type Paging } from './history';
import { ReadMarks } from './marks';
import { Observable } from './observable';
import { People } from './people';
import type { Room } from './room';
import { Timeline } from './timeline';
import type { Vault } from './vault';
import { LATE_MS, type ShownLine, shownLines } from './view';

/** Messages of each room that survive a reload. */
export const KEPT_LINES = 100;
/** Messages in memory of a room that is not open, and the most of one that is read at its end. */
export const CLOSED_LINES = 200;
export const OPEN_LINES_MAX = 1_000;
/** What changed is written down so long after. */
export const SAVE_AFTER_MS = 300;
/** A person who types says so at most so often. */
const TYPING_EVERY_MS = 3_000;

type ChatApi = Pick<Api, 'rooms' | 'room' | 'messages' | 'members' | 'person' | 'createRoom' | 'join' | 'leave' | 'addMember' | 'people'>;

export interface ChatPort {
  user: UserId;
  clock: Clock;
  api: ChatApi;
  vault: Vault;
  /** Keeps drafts; without it they live as long as the page. */
  drafts?: DraftStorage;
  sockets: readonly string[];
  openSocket(url: string): Socket;
  token(fresh: boolean): Promise<string | undefined>;
}

export class Chat extends Observable {
  readonly people: People;
  readonly outbox: Outbox;
  readonly drafts: Drafts;
  readonly connection: Connection;
  #book: RoomBook;
  #open: RoomId | undefined;
  #feed: Position | undefined;
  #dirty = new Set<RoomId>();
  #saving = false;
  #subscriptionsMax = 500;
  #messageChars = 8_000;
  #history: History;
  #marks: ReadMarks;
  #typedAt = 0;

  constructor(private readonly port: ChatPort) {
    super();
    const { clock, api, vault } = port;
    this.drafts = new Drafts(port.user, port.drafts);
    this.people = new People({ now: clock.now, person: (user) => api.person(user), onChange: () => this.#peopleChanged() });
    this.outbox = new Outbox({
      clock,
      request: (frame) => this.connection.request(frame),
      keep: (entry) => void vault.saveEntry(entry).catch(() => {}),
      forget: (cid) => void vault.deleteEntry(cid).catch(() => {}),
      onChange: (room) => this.#outboxChanged(room),
    });
    this.#history = new History({
      clock,
      api,
      position: (room) => this.#book.position(room),
      isOpen: (room) => this.#open === room,
      onChange: (room) => this.#roomChanged(room),
    });
    this.#book = new RoomBook({
      user: port.user,
      clock,
      api,
      subscribe: (room, after) => this.connection.request({ t: 'sub', room, after: after.seq, epoch: after.epoch }),
      unsubscribe: (room) => void this.connection.request({ t: 'unsub', room }).catch(() => {}),
      renew: (room, atLeast) => this.#history.renew(room, atLeast),
      onEvent: (room, event) => this.#happened(room, event),
      onAdded: (room) => this.#open === room.id && this.open(room.id),
      onChange: (room) => this.#roomChanged(room),
      onGone: (room) => this.#gone(room),
      onListed: () => this.changed(),
    });
    this.#marks = new ReadMarks({ clock, send: (room, seq) => this.connection.cast({ t: 'read', room, seq }) });
    this.connection = new Connection({
      urls: port.sockets,
      clock,
      client: 'natterjack-web/0.1',
      open: (url) => port.openSocket(url),
      token: (fresh) => port.token(fresh),
      resume: () => this.#feed,
      onFrame: (frame) => this.#frame(frame),
      onState: (state) => this.#stateChanged(state),
    });
  }

  // What is shown

  get user(): UserId {
    return this.port.user;
  }

  /** Newest message first. */
  get rooms(): Room[] {
    return this.#book.sorted();
  }

  /** Whether the list of rooms is known, from the server or from before. */
  get listed(): boolean {
    return this.#book.listed;
  }

  room(id: RoomId): Room | undefined {
    return this.#book.get(id);
  }

  get messageChars(): number {
    return this.#messageChars;
  }

  lines(id: RoomId): ShownLine[] {
    const timeline = this.room(id)?.timeline;
    return timeline ? shownLines(timeline, this.outbox.entries(id), this.user, this.port.clock.now()) : [];
  }

  /** How paging back stands. */
  paging(id: RoomId): Paging {
    return this.#history.paging(id);
  }

  /** Whether the room's first message is there. */
  isComplete(id: RoomId): boolean {
    const timeline = this.room(id)?.timeline;
    return timeline !== undefined && timeline.loaded && timeline.older.kind === 'none';
  }

  typists(id: RoomId): UserId[] {
    return this.room(id)?.typists(this.port.clock.now()) ?? [];
  }

  // What the person does

  /** Shows what is remembered and connects. */
  async start(): Promise<void> {
    const remembered = await this.port.vault.load().catch(() => ({ rooms: [], entries: [], people: [], feed: undefined }));
    this.#feed = remembered.feed;
    this.people.learn(remembered.people);
    this.#book.restore(remembered.rooms);
    this.outbox.restore(remembered.entries);
    this.port.clock.after(LATE_MS, () => this.changed());
    this.connection.start();
    this.changed();
  }

  async stop(): Promise<void> {
    this.connection.stop();
    await this.save();
  }

  say(what: Utterance): void {
    if (what.t === 'send') this.#typedAt = 0;
    this.port.clock.after(LATE_MS, () => this.changed());
    this.outbox.say(what);
  }

  retry(room: RoomId, cid: string): void {
    this.outbox.retry(room, cid);
  }

  discard(room: RoomId, cid: string): void {
    this.outbox.settle(room, cid);
  }

  open(id: RoomId | undefined): void {
    if (this.#open !== undefined && this.#open !== id) this.room(this.#open)?.timeline?.trim(CLOSED_LINES);
    this.#open = id;
    const room = id === undefined ? undefined : this.room(id);
    if (room) {
      room.timeline ??= new Timeline();
      if (!room.timeline.loaded) void this.#history.loadOlder(room);
      this.members(room.id).catch(() => {}); // their names are then looked up one by one
    }
    this.changed();
  }

  /** The reader is at the end: what lies far above may go. */
  atEnd(id: RoomId): void {
    const timeline = this.room(id)?.timeline;
    if (timeline && timeline.lines.length > OPEN_LINES_MAX) {
      timeline.trim(CLOSED_LINES);
      this.changed();
    }
  }

  /** Fetches the page before the oldest message that is there. */
  async loadOlder(id: RoomId): Promise<void> {
    const room = this.room(id);
    if (room) await this.#history.loadOlder(room);
  }

  /** The person has seen the room up to its end. */
  markRead(id: RoomId): void {
    const room = this.room(id);
    if (!room?.last || room.last.seq <= room.unread.readSeq) return;
    room.unread.read(room.last.seq);
    this.#roomChanged(id);
  }

  /** A key was pressed in the composer, or the composer was emptied. */
  typing(id: RoomId, on: boolean): void {
    const now = this.port.clock.now();
    const said = this.#typedAt > 0;
    if (on ? said && now - this.#typedAt < TYPING_EVERY_MS : !said) return;
    this.#typedAt = on ? now : 0;
    this.connection.cast({ t: 'typing', room: id, on });
  }

  async createRoom(body: Parameters<ChatApi['createRoom']>[0]): Promise<RoomId> {
    const { room, position } = await this.port.api.createRoom(body);
    await this.#book.adopt(room, position.seq);
    return room;
  }

  async join(id: RoomId): Promise<void> {
    const { position } = await this.port.api.join(id);
    await this.#book.adopt(id, position.seq);
  }

  async leave(id: RoomId): Promise<void> {
    await this.port.api.leave(id);
    this.#book.remove(id);
  }

  async addMember(id: RoomId, user: UserId): Promise<void> {
    await this.port.api.addMember(id, user);
  }

  /** People whose name begins so. */
  async searchPeople(prefix: string): Promise<Person[]> {
    return (await this.port.api.people(prefix)).items;
  }

  async members(id: RoomId): Promise<Person[]> {
    const seq = this.#book.position(id)?.seq;
    const { items } = await this.port.api.members(id, { limit: 200, ...(seq !== undefined && { at_least: seq }) });
    this.people.learn(items);
    return items;
  }

  // The connection

  #stateChanged(state: ConnectionState): void {
    if (state.kind === 'online') this.#online();
    else this.#offline();
    this.changed();
  }

  #online(): void {
    // What waits goes out before the many other rooms are followed.
    this.#book.attach(this.#open, this.#subscriptionsMax, () => this.outbox.attach());
    const open = this.#open === undefined ? undefined : this.room(this.#open);
    if (open?.timeline && !open.timeline.loaded) void this.#history.loadOlder(open);
  }

  #offline(): void {
    this.#book.detach();
    this.outbox.detach();
  }

  #frame(frame: ServerFrame): void {
    if (frame.t === 'ev') this.#book.event(frame);
    else if (frame.t === 'welcome') this.#welcomed(frame);
    else if (frame.t === 'u') this.#fed(frame);
    else if (frame.t === 'eph') this.#signalled(frame);
    else if (frame.t === 'reset') {
      if (frame.room !== undefined) this.#book.reset(frame.room, frame.reason);
      else this.#feedReset(frame.epoch);
    }
  }

  #welcomed(frame: Extract<ServerFrame, { t: 'welcome' }>): void {
    this.#subscriptionsMax = frame.limits.subscriptions;
    this.#messageChars = frame.limits.message_chars;
    // Without `recovered` the list of rooms, which is read on every connection, tells what was missed.
    if (!frame.recovered) this.#feed = { epoch: frame.epoch, seq: frame.seq };
  }

  #feedReset(epoch: string): void {
    this.#feed = { epoch, seq: 0 };
    this.#book.refresh();
  }

  #fed(frame: FeedEvent): void {
    const verdict = judge(this.#feed?.seq ?? 0, frame);
    if (verdict === 'drop' || !this.#feed) return;
    this.#feed = { epoch: this.#feed.epoch, seq: frame.seq };
    if (verdict === 'gap') this.#book.refresh();
    if (frame.e?.type === 'user.read') {
      const unread = this.room(frame.e.room)?.unread;
      unread?.told(frame.e.seq);
      unread?.read(frame.e.seq);
      this.#roomChanged(frame.e.room);
    }
    this.#save();
  }

  #signalled(frame: Extract<ServerFrame, { t: 'eph' }>): void {
    const { clock } = this.port;
    const room = frame.room === undefined ? undefined : this.room(frame.room);
    for (const { user, on } of (room && frame.typing) ?? []) {
      room!.typing(user, on, clock.now());
      clock.after(6_001, () => this.changed());
      this.changed();
    }
    if (frame.membership) void this.#book.adopt(frame.membership.room, frame.membership.seq).catch(() => {});
  }

  // Changes

  #happened(room: Room, { e }: RoomEvent): void {
    if (e?.type === 'message.posted' && e.by === this.user) this.outbox.settle(room.id, e.cid);
    this.#roomChanged(room.id);
  }

  #gone(id: RoomId): void {
    this.#dirty.delete(id);
    for (const entry of this.outbox.entries(id)) this.outbox.settle(id, entry.cid);
    void this.port.vault.deleteRoom(id).catch(() => {});
    this.changed();
  }

  #roomChanged(id: RoomId): void {
    const room = this.room(id);
    if (room) this.#marks.tell(room);
    this.#settleShown(id);
    this.#dirty.add(id);
    this.#save();
    this.changed();
  }

  #outboxChanged(id: RoomId): void {
    this.#settleShown(id);
    this.changed();
  }

  #peopleChanged(): void {
    this.#save();
    this.changed();
  }

  /** Entries whose event is part of what is known are done with. */
  #settleShown(id: RoomId): void {
    const timeline = this.room(id)?.timeline;
    const reached = this.#book.position(id)?.seq ?? Infinity;
    for (const { cid, state, what } of this.outbox.entries(id)) {
      const shown = what.t === 'send' && timeline?.has(this.user, cid);
      const passed = state.kind === 'stored' && reached >= state.seq;
      if (shown || passed) return this.outbox.settle(id, cid); // comes back here for the others
    }
  }

  #save(): void {
    if (this.#saving) return;
    this.#saving = true;
    this.port.clock.after(SAVE_AFTER_MS, () => void this.save());
  }

  /** Writes down what changed. Rooms are written whole, position and content together. */
  async save(): Promise<void> {
    this.#saving = false;
    const records = [...this.#dirty].flatMap((id) => this.#book.record(id, KEPT_LINES) ?? []);
    this.#dirty.clear();
    await this.port.vault.saveRooms(records, this.people.entries(), this.#feed).catch(() => {});
  }
}

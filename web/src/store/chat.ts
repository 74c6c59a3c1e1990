/**
 * One person's chat: rooms, followed over one connection; what was said; what survives a reload.
 *
 * The order of things: what is remembered is shown at once; each `online` follows every room from its own
 * position, sends again what was not answered, and reads the list of rooms for those that are new.
 */
import type { Api } from '../api/client';
import type { Person } from '../api/schema.gen';
import { backoffMs } from '../protocol/backoff';
import type { Clock } from '../protocol/clock';
import { Connection, type ConnectionState, type Socket } from '../protocol/connection';
import { Refused, isTransient, retryMs } from '../protocol/errors';
import { Outbox, type Utterance } from '../protocol/outbox';
import { RoomFollower, judge } from '../protocol/room';
import type { FeedEvent, Position, RoomEvent, RoomId, ServerFrame, UserId } from '../protocol/wire.gen';
import { History, type Paging } from './history';
import { ReadMarks } from './marks';
import { Observable } from './observable';
import { People } from './people';
import { Room } from './room';
import { Timeline } from './timeline';
import type { Vault } from './vault';
import { type ShownLine, compareRooms, shownLines } from './view';

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
  sockets: readonly string[];
  openSocket(url: string): Socket;
  token(fresh: boolean): Promise<string | undefined>;
}

interface Followed {
  room: Room;
  follower: RoomFollower;
}

export class Chat extends Observable {
  readonly people: People;
  readonly outbox: Outbox;
  readonly connection: Connection;
  #rooms = new Map<RoomId, Followed>();
  #open: RoomId | undefined;
  #feed: Position | undefined;
  #dirty = new Set<RoomId>();
  #saving = false;
  #subscriptionsMax = 500;
  #messageChars = 8_000;
  #listed = false;
  #history: History;
  #marks: ReadMarks;
  #typedAt = 0;
  #turn = 0;

  constructor(private readonly port: ChatPort) {
    super();
    const { clock, api, vault } = port;
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
      position: (room) => this.#rooms.get(room)?.follower.position,
      isOpen: (room) => this.#open === room,
      onChange: (room) => this.#roomChanged(room),
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
    const order = ({ id, facts, last }: Room) => ({ id, name: facts.name, lastAt: last?.at });
    return [...this.#rooms.values()].map(({ room }) => room).sort((a, b) => compareRooms(order(a), order(b)));
  }

  /** Whether the list of rooms is known, from the server or from before. */
  get listed(): boolean {
    return this.#listed || this.#rooms.size > 0;
  }

  room(id: RoomId): Room | undefined {
    return this.#rooms.get(id)?.room;
  }

  get messageChars(): number {
    return this.#messageChars;
  }

  lines(id: RoomId): ShownLine[] {
    const timeline = this.room(id)?.timeline;
    return timeline ? shownLines(timeline, this.outbox.entries(id), this.user) : [];
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
    for (const record of remembered.rooms) this.#add(Room.restore(record, this.user), record.position);
    this.outbox.restore(remembered.entries);
    this.connection.start();
    this.changed();
  }

  async stop(): Promise<void> {
    this.connection.stop();
    await this.save();
  }

  say(what: Utterance): void {
    if (what.t === 'send') this.#typedAt = 0;
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
    const known = id === undefined ? undefined : this.#rooms.get(id);
    if (known) {
      known.room.timeline ??= new Timeline();
      if (!known.room.timeline.loaded) void this.#history.loadOlder(known.room);
      void this.#learnMembers(known);
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
    this.#marks.tell(room);
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
    await this.#adopt(room, position.seq);
    return room;
  }

  async join(id: RoomId): Promise<void> {
    const { position } = await this.port.api.join(id);
    await this.#adopt(id, position.seq);
  }

  async leave(id: RoomId): Promise<void> {
    await this.port.api.leave(id);
    this.#remove(id);
  }

  async addMember(id: RoomId, user: UserId): Promise<void> {
    await this.port.api.addMember(id, user);
  }

  /** People whose name begins so. */
  async searchPeople(prefix: string): Promise<Person[]> {
    return (await this.port.api.people(prefix)).items;
  }

  async members(id: RoomId): Promise<Person[]> {
    const seq = this.#rooms.get(id)?.follower.position.seq;
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
    const turn = ++this.#turn;
    const followed = this.#byUrgency();
    followed.slice(0, 1).forEach(({ follower }) => follower.attach());
    this.outbox.attach();
    followed.slice(1, this.#subscriptionsMax).forEach(({ follower }) => follower.attach());
    for (const { room } of followed) this.#marks.tell(room);
    const open = this.#open === undefined ? undefined : this.room(this.#open);
    if (open?.timeline && !open.timeline.loaded) void this.#history.loadOlder(open);
    this.#refresh(turn, 0);
  }

  #offline(): void {
    this.#turn += 1;
    for (const { follower } of this.#rooms.values()) follower.detach();
    this.outbox.detach();
  }

  /** The open room first, then the liveliest. */
  #byUrgency(): Followed[] {
    const rank = (room: Room) => (room.id === this.#open ? 0 : 1);
    const rooms = this.rooms.sort((a, b) => rank(a) - rank(b));
    return rooms.map((room) => this.#rooms.get(room.id)!);
  }

  #frame(frame: ServerFrame): void {
    if (frame.t === 'ev') this.#rooms.get(frame.room)?.follower.event(frame);
    else if (frame.t === 'welcome') this.#welcomed(frame);
    else if (frame.t === 'u') this.#fed(frame);
    else if (frame.t === 'eph') this.#signalled(frame);
    else if (frame.t === 'reset') {
      if (frame.room !== undefined) this.#rooms.get(frame.room)?.follower.reset(frame.reason);
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
    this.#refresh(this.#turn, 0);
  }

  #fed(frame: FeedEvent): void {
    const verdict = judge(this.#feed?.seq ?? 0, frame);
    if (verdict === 'drop' || !this.#feed) return;
    this.#feed = { epoch: this.#feed.epoch, seq: frame.seq };
    if (verdict === 'gap') this.#refresh(this.#turn, 0);
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
    if (frame.membership) void this.#adopt(frame.membership.room, frame.membership.seq).catch(() => {});
  }

  // Rooms

  /** Reads the list of rooms: for new ones, and for what other devices read. */
  #refresh(turn: number, attempt: number): void {
    this.#list().catch((error: unknown) => {
      if (this.#turn !== turn || !isTransient(error)) return;
      const ms = Math.max(retryMs(error), backoffMs(attempt, () => this.port.clock.random()));
      this.port.clock.after(ms, () => this.#turn === turn && this.#refresh(turn, attempt + 1));
    });
  }

  async #list(): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await this.port.api.rooms({ limit: 200, ...(cursor !== undefined && { cursor }) });
      for (const summary of page.items) this.#take(summary);
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
    this.#listed = true;
    this.changed();
  }

  #take(summary: Awaited<ReturnType<Api['room']>>): void {
    if (!summary.joined) return this.#remove(summary.id);
    const known = this.#rooms.get(summary.id);
    if (known && known.follower.position.epoch === summary.as_of.epoch) known.room.absorb(summary);
    else if (!known) this.#add(Room.fromSummary(summary, this.user), summary.as_of);
    // Another epoch: the follower finds out and takes a snapshot.
    if (known) this.#marks.tell(known.room);
    this.#roomChanged(summary.id);
  }

  /** Learns of a room of one's own from the event `seq` on, or that it is one's own no more. */
  async #adopt(id: RoomId, seq: number, attempt = 0): Promise<void> {
    try {
      this.#take(await this.port.api.room(id, seq));
    } catch (error) {
      if (error instanceof Refused && !isTransient(error)) return this.#remove(id);
      if (attempt >= 6) throw error;
      const ms = Math.max(retryMs(error), backoffMs(attempt, () => this.port.clock.random()));
      await new Promise<void>((resolve) => this.port.clock.after(ms, resolve));
      await this.#adopt(id, seq, attempt + 1);
    }
  }

  #add(room: Room, position: Position): void {
    const follower = new RoomFollower(room.id, position, {
      clock: this.port.clock,
      subscribe: (id, after) => this.connection.request({ t: 'sub', room: id, after: after.seq, epoch: after.epoch }),
      snapshot: (_id, atLeast) => this.#history.renew(room, atLeast),
      apply: (event) => this.#apply(event),
      gone: (id) => this.#remove(id),
    });
    this.#rooms.set(room.id, { room, follower });
    if (this.connection.state.kind === 'online' && this.#rooms.size <= this.#subscriptionsMax) follower.attach();
    if (this.#open === room.id) this.open(room.id);
  }

  #remove(id: RoomId): void {
    const known = this.#rooms.get(id);
    if (!known) return;
    this.#rooms.delete(id);
    this.#dirty.delete(id);
    if (known.follower.phase !== 'ended') {
      known.follower.detach();
      this.connection.request({ t: 'unsub', room: id }).catch(() => {});
    }
    for (const entry of this.outbox.entries(id)) this.outbox.settle(id, entry.cid);
    void this.port.vault.deleteRoom(id).catch(() => {});
    this.changed();
  }

  #apply(event: RoomEvent): void {
    const room = this.room(event.room);
    if (!room) return;
    room.apply(event, this.port.clock.now());
    if (event.e?.type === 'message.posted' && event.e.by === this.user) this.outbox.settle(room.id, event.e.cid);
    this.#roomChanged(room.id);
    if (event.e?.type === 'room.member_left' && event.e.user === this.user) this.#remove(room.id);
  }

  async #learnMembers({ room }: Followed): Promise<void> {
    await this.members(room.id).catch(() => {}); // names are then looked up one by one
  }

  // Changes

  #roomChanged(id: RoomId): void {
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
    const followed = this.#rooms.get(id);
    for (const { cid, state, what } of this.outbox.entries(id)) {
      const shown = what.t === 'send' && followed?.room.timeline?.has(this.user, cid);
      const passed = state.kind === 'stored' && (followed?.follower.position.seq ?? Infinity) >= state.seq;
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
    const dirty = [...this.#dirty].flatMap((id) => this.#rooms.get(id) ?? []);
    this.#dirty.clear();
    const records = dirty.map(({ room, follower }) => room.record(follower.position, KEPT_LINES));
    await this.port.vault.saveRooms(records, this.people.entries(), this.#feed).catch(() => {});
  }
}

/** A small server in memory: one log, fronts that follow it, and a read model that may lag behind. */
import type { Message, MessageList, RoomSummary } from '../../api/schema.gen';
import { Refused } from '../../protocol/errors';
import { FakeSocket, welcome } from '../../protocol/testing/socket';
import { type ClientFrame, ErrorCode, type RoomEvent, type ServerFrame, type StoredEvent } from '../../protocol/wire.gen';
import { Timeline } from '../timeline';
import { Unread } from '../unread';

type Body = StoredEvent extends infer E ? (E extends StoredEvent ? Omit<E, 'v' | 'id' | 'by'> : never) : never;

export class FakeServer {
  epoch = 'E';
  log: RoomEvent[] = [];
  sockets: ServedSocket[] = [];
  /** The read model reflects so much of the log; `undefined`: all. */
  projected: number | undefined;
  /** Most events that a `sub` recovers. */
  limit = 500;
  refuse: { code: number } | undefined;
  #seq = 0;

  append(room: string, by: string, body: Body, id = crypto.randomUUID()): RoomEvent {
    const prev = this.log.filter((event) => event.room === room).at(-1)?.seq ?? 0;
    const e = { v: 1, id, by, ...body } as StoredEvent;
    const event: RoomEvent = { room, seq: (this.#seq += 1), prev, ts: new Date(1e12 + this.#seq).toISOString(), e };
    this.log.push(event);
    for (const socket of this.sockets) socket.follow(event);
    return event;
  }

  create(room: string, by: string): void {
    this.append(room, by, { type: 'room.created', name: room, visibility: 'public', members: [by] } as Body);
  }

  post(room: string, by: string, body: string, cid = crypto.randomUUID() as string): RoomEvent {
    const known = this.log.find(({ e }) => e?.type === 'message.posted' && e.cid === cid && e.by === by);
    return known ?? this.append(room, by, { type: 'message.posted', cid, body } as Body);
  }

  head(room: string): number {
    return this.log.filter((event) => event.room === room).at(-1)?.seq ?? 0;
  }

  open(url: string, user: string): FakeSocket {
    const socket = new ServedSocket(url, this, user);
    this.sockets.push(socket);
    return socket;
  }

  // REST

  #upTo(atLeast = 0): number {
    if (this.refuse) throw new Refused(this.refuse.code, 'refused');
    const upTo = this.projected ?? this.#seq;
    if (upTo < atLeast) throw new Refused(ErrorCode.ReadBehind, 'behind');
    return upTo;
  }

  #messages(room: string, upTo: number): Message[] {
    const timeline = new Timeline();
    for (const event of this.log) if (event.room === room && event.seq <= upTo) timeline.fold(event);
    return timeline.lines.map((line) => ({
      id: line.id,
      room,
      seq: line.seq,
      author: line.author,
      cid: line.cid,
      posted_at: line.at,
      ...(line.body !== undefined && { body: line.body }),
      ...(line.editedAt !== undefined && { edited_at: line.editedAt }),
      ...(line.recalledAt !== undefined && { recalled_at: line.recalledAt }),
    }));
  }

  async room(room: string, atLeast?: number): Promise<RoomSummary> {
    const upTo = this.#upTo(atLeast);
    const created = this.log.find(({ e, room: id, seq }) => id === room && seq <= upTo && e?.type === 'room.created');
    if (!created) throw new Refused(ErrorCode.RoomNotFound, 'not found');
    const messages = this.#messages(room, upTo);
    const unread = new Unread({ asOf: 0, lastSeq: 0, count: 0, readSeq: 0 });
    for (const message of messages) unread.posted(message.seq, message.author === 'me');
    return {
      id: room,
      kind: 'room',
      name: room,
      visibility: 'public',
      slow_mode_s: 0,
      read_only: false,
      members_max: 0,
      archived: false,
      owner: created.e!.by,
      member_count: 1,
      joined: true,
      unread: unread.count,
      mentions: 0,
      notify: 'all',
      read_seq: 0,
      head: this.log.filter((event) => event.room === room && event.seq <= upTo).at(-1)?.seq ?? 0,
      as_of: { epoch: this.epoch, seq: upTo },
      ...(messages.length && { last_message: messages.at(-1)! }),
    };
  }

  async rooms(): Promise<{ items: RoomSummary[] }> {
    const upTo = this.#upTo();
    const ids = this.log.filter(({ e, seq }) => seq <= upTo && e?.type === 'room.created').map(({ room }) => room);
    return { items: await Promise.all(ids.map((id) => this.room(id))) };
  }

  async messages(room: string, query: { cursor?: string; limit?: number; at_least?: number }): Promise<MessageList> {
    const upTo = this.#upTo(query.at_least);
    const before = query.cursor === undefined ? Infinity : Number(query.cursor);
    const older = this.#messages(room, upTo).filter((message) => message.seq < before);
    const items = older.slice(-(query.limit ?? 50));
    const more = older.length > items.length;
    return { items, as_of: { epoch: this.epoch, seq: upTo }, ...(more && { next: String(items[0]!.seq) }) };
  }
}

export class ServedSocket extends FakeSocket {
  #followed = new Set<string>();
  gone = false;
  /** What the client sends is not answered any more. */
  deaf = false;

  constructor(
    url: string,
    private readonly server: FakeServer,
    private readonly user: string,
  ) {
    super(url);
    queueMicrotask(() => this.onopen?.());
  }

  override send(text: string): void {
    super.send(text);
    if (this.deaf || this.gone) return;
    for (const frame of [JSON.parse(text)].flat() as ClientFrame[]) queueMicrotask(() => this.#answer(frame));
  }

  follow(event: RoomEvent): void {
    if (this.#followed.has(event.room)) this.#tell({ t: 'ev', ...event });
  }

  /** The connection is cut. */
  cut(): void {
    this.gone = true;
    this.shut(1006);
  }

  #tell(frame: ServerFrame): void {
    if (!this.gone) this.deliver(frame);
  }

  #answer(frame: ClientFrame): void {
    if (this.gone) return;
    if (frame.t === 'hello') this.#tell(welcome({ user: this.user }));
    else if (frame.t === 'sub') this.#subscribe(frame);
    else if (frame.t === 'send') {
      const event = this.server.post(frame.room, this.user, frame.body ?? '', frame.cid);
      this.#tell({ t: 'ok', id: frame.id, seq: event.seq, mid: event.e!.id });
    } else if (frame.t === 'edit') {
      const event = this.server.append(frame.room, this.user, { type: 'message.edited', mid: frame.mid, body: frame.body } as Body);
      this.#tell({ t: 'ok', id: frame.id, seq: event.seq });
    } else if (frame.t === 'recall') {
      const event = this.server.append(frame.room, this.user, { type: 'message.recalled', mid: frame.mid } as Body);
      this.#tell({ t: 'ok', id: frame.id, seq: event.seq });
    } else if (frame.t === 'ping') this.#tell({ t: 'ok', id: frame.n });
  }

  #subscribe(frame: Extract<ClientFrame, { t: 'sub' }>): void {
    const { epoch, limit } = this.server;
    const missed = this.server.log.filter(({ room, seq }) => room === frame.room && seq > (frame.after ?? Infinity));
    const recovered = frame.epoch === epoch && missed.length <= limit;
    this.#tell({ t: 'ok', id: frame.id, room: frame.room, epoch, head: this.server.head(frame.room), recovered });
    this.#followed.add(frame.room);
    if (recovered) for (const event of missed) this.#tell({ t: 'ev', ...event });
  }
}

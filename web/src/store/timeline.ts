/**
 * A room's messages: pages of history and live events folded into one list, in any order of arrival.
 *
 * Every line knows up to which sequence its state is known. A page and the events that follow it may overlap:
 * what is known already is not applied again, and what concerns a message whose page is still on its way is
 * kept until the page is there.
 */
import type { Message, MessageList } from '../api/schema.gen';
import type { ClientId, MessageId, RoomEvent, StoredEvent, UserId } from '../protocol/wire.gen';

/** Most edits and recalls kept for messages of pages that are on their way. */
const LOOSE_MAX = 2_000;

export interface Line {
  readonly id: MessageId;
  readonly seq: number;
  readonly author: UserId;
  readonly cid: ClientId;
  /** Missing when recalled. */
  readonly body?: string;
  readonly replyTo?: MessageId;
  /** RFC 3339. */
  readonly at: string;
  readonly editedAt?: string;
  readonly recalledAt?: string;
  /** Sequence up to which this line's state is known. */
  readonly known: number;
}

/** Where older messages are to be had. `newest`: by paging from the newest page, past what is known. */
export type Older = { kind: 'newest' } | { kind: 'cursor'; cursor: string } | { kind: 'none' };

/** What survives a reload. */
export interface TimelineDump {
  lines: Line[];
  older: Older;
  loaded: boolean;
}

type Change = Extract<StoredEvent, { type: 'message.edited' | 'message.recalled' }>;

export class Timeline {
  #lines: readonly Line[] = [];
  #byId = new Map<MessageId, Line>();
  #cids = new Set<string>();
  #older: Older = { kind: 'newest' };
  #loaded = false;
  #loose: { seq: number; ts: string; event: Change }[] = [];
  #pagesAwaited = 0;

  static restore(dump: TimelineDump): Timeline {
    const timeline = new Timeline();
    timeline.#put(dump.lines);
    timeline.#older = dump.older;
    timeline.#loaded = dump.loaded;
    return timeline;
  }

  /** In the log's order. Never changed in place; an unchanged line stays the same object. */
  get lines(): readonly Line[] {
    return this.#lines;
  }

  get older(): Older {
    return this.#older;
  }

  /** Whether the newest page is there. */
  get loaded(): boolean {
    return this.#loaded;
  }

  get(id: MessageId): Line | undefined {
    return this.#byId.get(id);
  }

  has(author: UserId, cid: ClientId): boolean {
    return this.#cids.has(`${author} ${cid}`);
  }

  /** Folds one event of the room. Events come in order; a repeat changes nothing. */
  fold({ seq, ts, e }: Pick<RoomEvent, 'seq' | 'ts' | 'e'>): void {
    if (e?.type === 'message.posted') this.#put([posted(seq, ts, e)]);
    else if (e?.type === 'message.edited' || e?.type === 'message.recalled') this.#change(seq, ts, e);
  }

  /** Says that a page is being fetched, before it is asked for. */
  awaitPage(): void {
    this.#pagesAwaited += 1;
  }

  /** The page did not come. */
  pageFailed(): void {
    this.#pageDone();
  }

  /** Takes the page in. `reached` is false where it held nothing older than what was known. */
  addPage(page: MessageList): { reached: boolean } {
    const oldest = this.#lines[0]?.seq ?? Infinity;
    this.#put(page.items.map((message) => fromPage(message, page.as_of.seq)));
    for (const { seq, ts, event } of this.#loose) this.#change(seq, ts, event);
    this.#older = page.next === undefined || page.next === null ? { kind: 'none' } : { kind: 'cursor', cursor: page.next };
    this.#loaded = true;
    this.#pageDone();
    return { reached: this.#older.kind === 'none' || page.items.some((message) => message.seq < oldest) };
  }

  /** Forgets all but the newest `keep` lines. */
  trim(keep: number): void {
    if (this.#lines.length <= keep) return;
    const lines = this.#lines.slice(-keep);
    this.#lines = [];
    this.#byId.clear();
    this.#cids.clear();
    this.#put(lines);
    this.#older = { kind: 'newest' };
  }

  dump(keep: number): TimelineDump {
    const whole = this.#lines.length <= keep;
    return {
      lines: whole ? [...this.#lines] : this.#lines.slice(-keep),
      older: whole ? this.#older : { kind: 'newest' },
      loaded: this.#loaded,
    };
  }

  #pageDone(): void {
    this.#pagesAwaited -= 1;
    if (this.#pagesAwaited === 0) this.#loose = [];
  }

  #change(seq: number, ts: string, event: Change): void {
    const line = this.#byId.get(event.mid);
    if (line) this.#replace(changed(line, seq, ts, event));
    else if (this.#pagesAwaited > 0 && this.#loose.length < LOOSE_MAX) this.#loose.push({ seq, ts, event });
  }

  #replace(line: Line): void {
    const old = this.#byId.get(line.id);
    if (old === line) return;
    this.#byId.set(line.id, line);
    this.#lines = this.#lines.map((known) => (known === old ? line : known));
  }

  #put(lines: readonly Line[]): void {
    const fresh: Line[] = [];
    for (const line of lines) {
      const known = this.#byId.get(line.id);
      if (!known) fresh.push(line);
      else if (known.known < line.known && known.seq === line.seq) this.#replace(line);
      // A second posting with the same id does not count: the first one stays.
    }
    if (!fresh.length) return;
    for (const line of fresh) {
      this.#byId.set(line.id, line);
      this.#cids.add(`${line.author} ${line.cid}`);
    }
    const all = [...this.#lines, ...fresh];
    const inOrder = fresh.length === 1 && (this.#lines.at(-1)?.seq ?? -1) < fresh[0]!.seq;
    this.#lines = inOrder ? all : all.sort((a, b) => a.seq - b.seq);
  }
}

function posted(seq: number, ts: string, e: Extract<StoredEvent, { type: 'message.posted' }>): Line {
  const line = { id: e.id, seq, author: e.by, cid: e.cid, body: e.body, at: ts, known: seq };
  return e.reply_to === undefined ? line : { ...line, replyTo: e.reply_to };
}

/** Only the author's word counts, and nothing after a recall. */
function changed(line: Line, seq: number, ts: string, e: Change): Line {
  if (seq <= line.known) return line;
  if (e.by !== line.author || line.recalledAt !== undefined) return { ...line, known: seq };
  if (e.type === 'message.edited') return { ...line, body: e.body, editedAt: ts, known: seq };
  const { body: _body, ...rest } = line;
  return { ...rest, recalledAt: ts, known: seq };
}

export function fromPage(message: Message, known: number): Line {
  return {
    id: message.id,
    seq: message.seq,
    author: message.author,
    cid: message.cid,
    at: message.posted_at,
    known,
    ...(message.body != null && { body: message.body }),
    ...(message.reply_to != null && { replyTo: message.reply_to }),
    ...(message.edited_at != null && { editedAt: message.edited_at }),
    ...(message.recalled_at != null && { recalledAt: message.recalled_at }),
  };
}

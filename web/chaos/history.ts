/**
 * What a client did and saw, one JSON object a line, in the format of `crates/testkit/src/history.rs`. It is taken down at the
 * socket, where the client's word leaves and the server's arrives: what the library makes of it is another matter, see
 * `person.ts`.
 */
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Socket } from '../src/protocol/connection';
import type { ClientFrame, ServerFrame } from '../src/protocol/wire.gen';

export class History {
  #file: number;
  /** Where the client is connected, or wants to be. */
  front = '';

  /** `began`: when the run began, in milliseconds since 1970. */
  constructor(
    dir: string,
    readonly client: string,
    private readonly began: number,
  ) {
    this.#file = openSync(join(dir, `${client}.jsonl`), 'w');
  }

  note(what: string, fields: object = {}): void {
    const at = Math.max(0, Date.now() - this.began);
    writeSync(this.#file, `${JSON.stringify({ at, client: this.client, front: this.front, do: what, ...fields })}\n`);
  }
}

type Asked = Extract<ClientFrame, { t: 'sub' | 'send' }>;

/** A WebSocket whose words are taken down, and which can be cut as a network would. */
export class RecordedSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  #socket: WebSocket;
  #asked = new Map<number, Asked>();
  #welcomed = false;
  #over = false;

  /** `counted`: the messages that this view of the chat has shown already. */
  constructor(
    url: string,
    private readonly history: History,
    private readonly counted: Set<string>,
  ) {
    history.front = new URL(url).host;
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#over || this.onopen?.();
    this.#socket.onmessage = ({ data }) => this.#heard(data);
    this.#socket.onclose = ({ code }) => this.#end(code);
    this.#socket.onerror = () => {}; // `close` follows
  }

  send(text: string): void {
    if (this.#over || this.#socket.readyState !== WebSocket.OPEN) return;
    const said: unknown = JSON.parse(text);
    for (const frame of (Array.isArray(said) ? said : [said]) as ClientFrame[]) {
      if (frame.t !== 'sub' && frame.t !== 'send') continue;
      this.#asked.set(frame.id, frame);
      const { room } = frame;
      if (frame.t === 'sub') this.history.note('sub', { room, after: frame.after, epoch: frame.epoch });
      else this.history.note('send', { room, cid: frame.cid, body: frame.body });
    }
    this.#socket.send(text);
  }

  /** What comes from now on is not heard any more. */
  close(): void {
    this.#over ||= this.#noteEnd();
    this.#socket.close();
  }

  /** The network breaks: neither side says goodbye. */
  cut(): void {
    this.#socket.close();
    this.#end(1006);
  }

  #heard(data: unknown): void {
    if (this.#over) return;
    if (typeof data === 'string') {
      const said: unknown = JSON.parse(data);
      for (const frame of (Array.isArray(said) ? said : [said]) as ServerFrame[]) this.#note(frame);
    }
    this.onmessage?.({ data });
  }

  #note(frame: ServerFrame): void {
    const { history } = this;
    if (frame.t === 'welcome') {
      this.#welcomed = true;
      history.note('open', { user: frame.user });
    } else if (frame.t === 'ok' || frame.t === 'err') this.#noteAnswer(frame);
    else if (frame.t === 'reset') history.note('reset', { room: frame.room, reason: frame.reason });
    else if (frame.t === 'ev') {
      const { room, seq, prev, e } = frame;
      const about = e as { type?: string; id?: string; mid?: string; cid?: string; by?: string; body?: string } | null;
      const posted = about?.type === 'message.posted';
      const mid = posted ? about.id : about?.mid;
      // The library shows a message that was stored twice once.
      const dropped = posted && this.counted.has(`${room} ${mid}`);
      if (posted) this.counted.add(`${room} ${mid}`);
      const { type, cid, by, body } = about ?? {};
      history.note('receive', { room, seq, prev, type, mid, cid, by, body, ...(dropped && { dropped }) });
    }
  }

  #noteAnswer(frame: Extract<ServerFrame, { t: 'ok' | 'err' }>): void {
    const asked = frame.id === undefined ? undefined : this.#asked.get(frame.id);
    if (!asked) return;
    this.#asked.delete(asked.id);
    const { room } = asked;
    const cid = asked.t === 'send' ? asked.cid : undefined;
    if (frame.t === 'err') this.history.note('refused', { room, cid, code: frame.code });
    else if (cid !== undefined) this.history.note('ack', { room, cid, seq: frame.seq, mid: frame.mid });
    else this.history.note('subbed', { room, epoch: frame.epoch, head: frame.head, recovered: frame.recovered });
  }

  #end(code: number): void {
    if (this.#over) return;
    this.#over = this.#noteEnd(code);
    this.onclose?.({ code });
  }

  #noteEnd(code?: number): true {
    if (this.#welcomed) this.history.note('close', { code });
    return true;
  }
}

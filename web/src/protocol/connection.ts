/**
 * One person's connection to whichever front answers: opens the socket, says hello, keeps it alive, and comes
 * back by itself with full jitter, on the next front of the list.
 *
 * It knows nothing of rooms. After each `online` the owner follows its rooms again and sends again what was
 * not answered; see `room.ts` and `outbox.ts`.
 */
import { backoffMs } from './backoff';
import type { Cancel, Clock } from './clock';
import { Unanswered } from './errors';
import { Requests } from './requests';
import type { ClientFrame, Position, Reply, ServerFrame } from './wire.gen';

export const HELLO_TIMEOUT_MS = 10_000;
/** How long a connection may take to show life after the network changed. */
export const PROBE_TIMEOUT_MS = 5_000;
/** A connection that lived so long was a good one: back-off begins anew. */
export const SETTLED_AFTER_MS = 5_000;
/** Browsers err about being offline: try now and then all the same. */
export const OFFLINE_RETRY_MS = 30_000;

const BATCH_MAX_FRAMES = 64;
/** Half of the server's 64 KiB, since an UTF-16 unit takes up to three bytes. */
const BATCH_MAX_CHARS = 10_000;

const CLOSE_AUTHENTICATION = 4501;

export type ConnectionState =
  | { kind: 'idle' }
  | { kind: 'connecting'; attempt: number }
  | { kind: 'online'; node: string; resumed: boolean }
  /** Tries again at `until` (milliseconds since 1970). */
  | { kind: 'waiting'; until: number; attempt: number; offline: boolean }
  /** Does not come back by itself; `code` is the close code. */
  | { kind: 'stopped'; code: number };

/** What is used of `WebSocket`. */
export interface Socket {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  onerror: (() => void) | null;
}

export interface ConnectionPort {
  /** Addresses of fronts, `ws://…/v1/ws`; at least one. */
  urls: readonly string[];
  clock: Clock;
  open(url: string): Socket;
  /** Name and version of the program. */
  client: string;
  /** An access token that is good now; `fresh` asks for a new one after the server refused the last.
   *  `undefined`: the session is over. Rejects when it cannot be known now. */
  token(fresh: boolean): Promise<string | undefined>;
  /** Position of the person's own feed, if known. */
  resume(): Position | undefined;
  onFrame(frame: ServerFrame): void;
  onState(state: ConnectionState): void;
}

type Request = Extract<ClientFrame, { id: number }>;
export type Unnumbered<F> = F extends unknown ? Omit<F, 'id'> : never;

export class Connection {
  #state: ConnectionState = { kind: 'idle' };
  #socket: Socket | undefined;
  #requests: Requests;
  #queue: string[] = [];
  #front = 0;
  #attempt = 0;
  #onlineSince: number | undefined;
  #needsFreshToken = false;
  #offline = false;
  #retryAtLeastMs = 0;
  #cancelWait: Cancel = () => {};
  #cancelPulse: Cancel = () => {};
  #lastHeard = 0;
  #heartbeatMs = 25_000;

  constructor(private readonly port: ConnectionPort) {
    this.#requests = new Requests(port.clock);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get url(): string {
    return this.port.urls[this.#front % this.port.urls.length]!;
  }

  start(): void {
    if (this.#state.kind !== 'idle' && this.#state.kind !== 'stopped') return;
    this.#needsFreshToken = false;
    void this.#connect();
  }

  /** Ends the connection for good; `start` begins anew. */
  stop(): void {
    this.#drop();
    this.#cancelWait();
    this.#attempt = 0;
    this.#become({ kind: 'idle' });
  }

  /** Sends a request. Rejects with `Refused`, or with `Unanswered` when the connection goes away first. */
  request(frame: Unnumbered<Request>): Promise<Reply> {
    if (this.#state.kind !== 'online') return Promise.reject(new Unanswered('not connected'));
    const id = this.#requests.nextId();
    const answer = this.#requests.answer(id);
    this.#write({ ...frame, id } as ClientFrame);
    return answer;
  }

  /** Sends what is not answered; `false` when not connected. */
  cast(frame: Extract<ClientFrame, { t: 'read' | 'typing' }>): boolean {
    if (this.#state.kind !== 'online') return false;
    this.#write(frame);
    return true;
  }

  /** The network came back or the person is impatient: try now, or make sure that the connection lives. */
  nudge(): void {
    this.#offline = false;
    if (this.#state.kind === 'waiting') {
      this.#cancelWait();
      void this.#connect();
    } else if (this.#state.kind === 'online') {
      this.#pulse(PROBE_TIMEOUT_MS);
    }
  }

  /** The browser lost its network: no use in waiting for the socket to notice. */
  networkLost(): void {
    this.#offline = true;
    if (this.#state.kind === 'online' || this.#state.kind === 'connecting') this.#lost();
    else if (this.#state.kind === 'waiting') this.#wait();
  }

  async #connect(): Promise<void> {
    this.#become({ kind: 'connecting', attempt: this.#attempt });
    const connecting = this.#state;
    const fresh = this.#needsFreshToken;
    let token: string | undefined;
    try {
      token = await this.port.token(fresh);
    } catch {
      if (this.#state === connecting) this.#lost();
      return;
    }
    if (this.#state !== connecting) return; // stopped or lost meanwhile
    if (token === undefined) return this.#become({ kind: 'stopped', code: CLOSE_AUTHENTICATION });
    this.#open(token);
  }

  #open(token: string): void {
    let socket: Socket;
    try {
      socket = this.port.open(this.url);
    } catch {
      return this.#lost();
    }
    this.#socket = socket;
    const current = (act: () => void) => () => this.#socket === socket && act();
    this.#cancelWait = this.port.clock.after(HELLO_TIMEOUT_MS, current(() => this.#lost()));
    socket.onopen = current(() => this.#hello(token));
    socket.onmessage = (event) => {
      if (this.#socket === socket && typeof event.data === 'string') this.#receive(event.data);
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#closed(event.code);
    };
    socket.onerror = () => {}; // `close` follows
  }

  #hello(token: string): void {
    const resume = this.port.resume();
    this.#write({ t: 'hello', token, client: this.port.client, ...(resume && { resume }) });
  }

  #receive(text: string): void {
    this.#lastHeard = this.port.clock.now();
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      return;
    }
    for (const frame of Array.isArray(parsed) ? parsed : [parsed]) this.#handle(frame as ServerFrame);
  }

  #handle(frame: ServerFrame): void {
    if (frame.t === 'welcome') {
      this.#cancelWait();
      this.#needsFreshToken = false;
      this.#onlineSince = this.port.clock.now();
      this.#heartbeatMs = frame.heartbeat_ms;
      this.port.onFrame(frame);
      this.#become({ kind: 'online', node: frame.node, resumed: this.#attempt > 0 || frame.recovered });
      this.#pulseLater();
    } else if (frame.t === 'ok' || frame.t === 'err') {
      this.#requests.settle(frame);
      if (frame.t === 'err' && frame.id === undefined) this.port.onFrame(frame);
    } else if (frame.t === 'bye') {
      this.#retryAtLeastMs = frame.retry_ms ?? 0;
    } else {
      this.port.onFrame(frame);
    }
  }

  #closed(code: number): void {
    if (code === CLOSE_AUTHENTICATION && !this.#needsFreshToken) {
      this.#needsFreshToken = true;
      this.#drop();
      void this.#connect();
    } else if (code >= 4500 && code <= 4999) {
      this.#drop();
      this.#become({ kind: 'stopped', code });
    } else {
      this.#lost();
    }
  }

  /** The connection is gone or came to nothing: wait, then try the next front. */
  #lost(): void {
    const lived = this.#onlineSince === undefined ? 0 : this.port.clock.now() - this.#onlineSince;
    this.#drop();
    if (lived >= SETTLED_AFTER_MS) this.#attempt = 0;
    this.#front = (this.#front + 1) % this.port.urls.length;
    this.#wait();
  }

  #wait(): void {
    this.#cancelWait();
    const { clock } = this.port;
    const jitter = backoffMs(this.#attempt, () => clock.random());
    const ms = this.#offline ? OFFLINE_RETRY_MS : Math.max(this.#retryAtLeastMs, jitter);
    this.#attempt += 1;
    this.#retryAtLeastMs = 0;
    this.#become({ kind: 'waiting', until: clock.now() + ms, attempt: this.#attempt, offline: this.#offline });
    this.#cancelWait = clock.after(ms, () => void this.#connect());
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#onlineSince = undefined;
    this.#queue = [];
    this.#cancelWait();
    this.#cancelPulse();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close();
    }
    this.#requests.abandonAll();
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    this.port.onState(state);
  }

  #pulseLater(): void {
    this.#cancelPulse();
    this.#cancelPulse = this.port.clock.after(this.#heartbeatMs, () => this.#pulse(this.#heartbeatMs));
  }

  /** Sends a ping and takes the connection for dead when nothing at all comes within `deadlineMs`. The time
   *  counts from the ping, since timers of a hidden page may stand still for minutes. */
  #pulse(deadlineMs: number): void {
    const sent = this.port.clock.now();
    this.#write({ t: 'ping', n: this.#requests.nextId() });
    this.#cancelPulse();
    this.#cancelPulse = this.port.clock.after(deadlineMs, () => {
      if (this.#lastHeard < sent) this.#lost();
      else this.#pulseLater();
    });
  }

  /** Frames written in one go leave as one message. */
  #write(frame: ClientFrame): void {
    this.#queue.push(JSON.stringify(frame));
    if (this.#queue.length === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const queue = this.#queue;
    this.#queue = [];
    let batch: string[] = [];
    let chars = 0;
    const leave = () => {
      if (batch.length) this.#socket?.send(batch.length === 1 ? batch[0]! : `[${batch.join(',')}]`);
      batch = [];
      chars = 0;
    };
    for (const text of queue) {
      if (batch.length === BATCH_MAX_FRAMES || chars + text.length > BATCH_MAX_CHARS) leave();
      batch.push(text);
      chars += text.length;
    }
    leave();
  }
}

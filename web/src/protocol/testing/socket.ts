import type { Socket } from '../connection';
import type { ClientFrame, ServerFrame } from '../wire.gen';

/** The server's end of one connection, played by a test. */
export class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  sent: ClientFrame[] = [];
  messages: string[] = [];
  closedByClient = false;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.messages.push(text);
    this.sent.push(...[JSON.parse(text)].flat());
  }

  close(): void {
    this.closedByClient = true;
  }

  open(): void {
    this.onopen?.();
  }

  deliver(...frames: ServerFrame[]): void {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  shut(code: number): void {
    this.onclose?.({ code });
  }

  /** The last frame of that type. */
  last<T extends ClientFrame['t']>(t: T): Extract<ClientFrame, { t: T }> {
    const found = this.sent.filter((frame) => frame.t === t).at(-1);
    if (!found) throw new Error(`no ${t} among ${JSON.stringify(this.sent)}`);
    return found as Extract<ClientFrame, { t: T }>;
  }

  count(t: ClientFrame['t']): number {
    return this.sent.filter((frame) => frame.t === t).length;
  }
}

export function welcome(over: Partial<Extract<ServerFrame, { t: 'welcome' }>> = {}): ServerFrame {
  return {
    t: 'welcome',
    conn: 'c',
    node: 'front-1',
    user: 'me',
    epoch: 'E',
    seq: 0,
    recovered: false,
    now: 0,
    heartbeat_ms: 25_000,
    limits: { frame_bytes: 65_536, message_chars: 8_000, subscriptions: 500 },
    ...over,
  };
}

import { beforeEach, describe, expect, it } from 'vitest';
import { BACKOFF_MAX_MS, backoffMs } from './backoff';
import { Connection, type ConnectionState, HELLO_TIMEOUT_MS, OFFLINE_RETRY_MS, PROBE_TIMEOUT_MS } from './connection';
import { Refused, Unanswered } from './errors';
import { ManualClock, settled } from './testing/clock';
import { FakeSocket, welcome } from './testing/socket';
import type { Position, ServerFrame } from './wire.gen';

let clock: ManualClock;
let sockets: FakeSocket[];
let states: ConnectionState[];
let frames: ServerFrame[];
let tokens: (string | undefined | Error)[];
let asked: boolean[];
let resume: Position | undefined;

function connection(urls = ['ws://a', 'ws://b']): Connection {
  return new Connection({
    urls,
    clock,
    client: 'test',
    open: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return socket;
    },
    token: async (fresh) => {
      asked.push(fresh);
      const token = tokens.length > 1 ? tokens.shift() : tokens[0];
      if (token instanceof Error) throw token;
      return token;
    },
    resume: () => resume,
    onFrame: (frame) => frames.push(frame),
    onState: (state) => states.push(state),
  });
}

const socket = () => sockets.at(-1)!;

async function online(conn: Connection): Promise<FakeSocket> {
  conn.start();
  await settled();
  socket().open();
  await settled();
  socket().deliver(welcome());
  return socket();
}

beforeEach(() => {
  clock = new ManualClock();
  sockets = [];
  states = [];
  frames = [];
  tokens = ['token'];
  asked = [];
  resume = undefined;
});

describe('opening', () => {
  it('says hello with the token and the position of the feed', async () => {
    resume = { epoch: 'E', seq: 7 };
    await online(connection());
    expect(socket().last('hello')).toEqual({ t: 'hello', token: 'token', client: 'test', resume: { epoch: 'E', seq: 7 } });
    expect(states.at(-1)).toEqual({ kind: 'online', node: 'front-1', resumed: false });
  });

  it('gives up a front that does not welcome in time', async () => {
    const conn = connection();
    conn.start();
    await settled();
    socket().open();
    await clock.pass(HELLO_TIMEOUT_MS);
    expect(states.at(-1)?.kind).toBe('waiting');
    expect(socket().closedByClient).toBe(true);
  });

  it('sends what was written in one go as one message', async () => {
    const conn = connection();
    await online(conn);
    conn.cast({ t: 'read', room: 'r', seq: 1 });
    conn.cast({ t: 'read', room: 'r', seq: 2 });
    await settled();
    expect(socket().messages.at(-1)).toBe('[{"t":"read","room":"r","seq":1},{"t":"read","room":"r","seq":2}]');
  });

  it('never puts more than 64 frames or half a frame limit into one message', async () => {
    const conn = connection();
    await online(conn);
    for (let i = 0; i < 100; i++) conn.cast({ t: 'read', room: 'r', seq: i });
    for (let i = 0; i < 5; i++) conn.request({ t: 'send', room: 'r', cid: 'c', body: 'x'.repeat(8_000) }).catch(() => {});
    await settled();
    const batches = socket().messages.map((text) => [JSON.parse(text)].flat().length);
    expect(Math.max(...batches)).toBeLessThanOrEqual(64);
    expect(Math.max(...socket().messages.map((text) => text.length))).toBeLessThan(21_000);
    expect(socket().count('send')).toBe(5);
  });
});

describe('coming back', () => {
  it('waits with full jitter, doubling up to 30 s, on one front after the other', async () => {
    expect(backoffMs(0, () => 0.5)).toBe(250);
    expect(backoffMs(3, () => 0.5)).toBe(2_000);
    expect(backoffMs(50, () => 1)).toBe(BACKOFF_MAX_MS);
    expect(backoffMs(50, () => 0)).toBe(0);

    const conn = connection();
    conn.start();
    await settled();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      socket().shut(1006);
      const state = states.at(-1)!;
      if (state.kind !== 'waiting') throw new Error(state.kind);
      waits.push(state.until - clock.now());
      await clock.pass(waits.at(-1)!);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    expect(sockets.map((s) => s.url).slice(0, 4)).toEqual(['ws://a', 'ws://b', 'ws://a', 'ws://b']);
  });

  it('begins the back-off anew after a connection that lived', async () => {
    const conn = connection();
    await online(conn);
    await clock.pass(6_000);
    socket().shut(1006);
    expect(states.at(-1)).toMatchObject({ kind: 'waiting', attempt: 1, until: clock.now() + 250 });
  });

  it('does not when it was welcomed and thrown out at once', async () => {
    const conn = connection();
    await online(conn);
    socket().shut(1006);
    await clock.pass(250);
    socket().open();
    socket().deliver(welcome());
    socket().shut(1006);
    expect(states.at(-1)).toMatchObject({ attempt: 2, until: clock.now() + 500 });
  });

  it('heeds the delay that a draining front asks for', async () => {
    const conn = connection();
    await online(conn);
    socket().deliver({ t: 'bye', code: 4001, retry_ms: 3_000 });
    socket().shut(4001);
    expect(states.at(-1)).toMatchObject({ until: clock.now() + 3_000 });
  });

  it.each([4502, 4503])('stops for good on %i', async (code) => {
    const conn = connection();
    await online(conn);
    socket().shut(code);
    expect(states.at(-1)).toEqual({ kind: 'stopped', code });
    expect(clock.next()).toBeUndefined();
  });

  it('asks for a fresh token on 4501, and stops when that is refused too', async () => {
    const conn = connection();
    await online(conn);
    socket().shut(4501);
    await settled();
    expect(asked).toEqual([false, true]);
    expect(sockets).toHaveLength(2);
    socket().shut(4501);
    expect(states.at(-1)).toEqual({ kind: 'stopped', code: 4501 });
  });

  it('stops when there is no session any more, and waits when that cannot be known', async () => {
    tokens = [new Error('no network'), undefined];
    const conn = connection();
    conn.start();
    await settled();
    expect(states.at(-1)?.kind).toBe('waiting');
    await clock.pass(250);
    expect(states.at(-1)).toEqual({ kind: 'stopped', code: 4501 });
  });

  it('drops the socket when the network goes and comes back with it', async () => {
    const conn = connection();
    await online(conn);
    conn.networkLost();
    expect(socket().closedByClient).toBe(true);
    expect(states.at(-1)).toMatchObject({ kind: 'waiting', offline: true, until: clock.now() + OFFLINE_RETRY_MS });
    conn.nudge();
    await settled();
    expect(sockets).toHaveLength(2);
  });
});

describe('staying', () => {
  it('pings, and takes silence for death', async () => {
    const conn = connection();
    await online(conn);
    await clock.pass(25_000);
    const { n } = socket().last('ping');
    socket().deliver({ t: 'ok', id: n });
    await clock.pass(25_000);
    expect(states.at(-1)?.kind).toBe('online');
    await clock.pass(25_000);
    expect(socket().count('ping')).toBe(2);
    await clock.pass(25_000);
    expect(states.some((s) => s.kind === 'waiting')).toBe(true);
  });

  it('does not mistake a sleeping page for a dead connection', async () => {
    const conn = connection();
    const first = await online(conn);
    // The timers of a hidden page fire late, once: the ping goes out then and its answer counts.
    await clock.pass(25_000);
    first.deliver({ t: 'ok', id: first.last('ping').n });
    await clock.pass(20_000);
    expect(states.at(-1)?.kind).toBe('online');
  });

  it('finds out soon whether it lives after the network changed', async () => {
    const conn = connection();
    await online(conn);
    await clock.pass(1);
    conn.nudge();
    await clock.pass(PROBE_TIMEOUT_MS);
    expect(states.at(-1)?.kind).toBe('waiting');
  });
});

describe('requests', () => {
  it('settle by their number', async () => {
    const conn = connection();
    await online(conn);
    const sent = conn.request({ t: 'send', room: 'r', cid: 'c', body: 'hi' });
    const bad = conn.request({ t: 'unsub', room: 'r' });
    await settled();
    socket().deliver({ t: 'err', id: socket().last('unsub').id, code: 3006, title: 'no', retry_ms: 5 });
    socket().deliver({ t: 'ok', id: socket().last('send').id, seq: 4, mid: 'm' });
    await expect(sent).resolves.toMatchObject({ seq: 4, mid: 'm' });
    await expect(bad).rejects.toMatchObject(new Refused(3006, 'no', undefined, 5));
  });

  it('are unanswered when the connection goes away, or was not there', async () => {
    const conn = connection();
    await expect(conn.request({ t: 'unsub', room: 'r' })).rejects.toBeInstanceOf(Unanswered);
    await online(conn);
    const sent = conn.request({ t: 'unsub', room: 'r' });
    socket().shut(1006);
    await expect(sent).rejects.toBeInstanceOf(Unanswered);
  });

  it('are unanswered after 30 s', async () => {
    const conn = connection();
    await online(conn);
    const sent = conn.request({ t: 'unsub', room: 'r' });
    sent.catch(() => {});
    for (let i = 0; i < 3; i++) {
      await clock.pass(10_000);
      socket().deliver({ t: 'ok', id: 999 });
    }
    await expect(sent).rejects.toBeInstanceOf(Unanswered);
  });
});

it('ignores what it cannot read and passes on frames of newer servers', async () => {
  await online(connection());
  socket().onmessage?.({ data: 'not json' });
  socket().onmessage?.({ data: '[{"t":"sparkle"},{"t":"eph"}]' });
  expect(frames.map((frame) => frame.t)).toEqual(['welcome', 'sparkle', 'eph']);
});

/** Replays the golden frames and events of `crates/wire`: what the servers write is what this client reads. */
import { readFileSync, readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Timeline } from '../store/timeline';
import { Connection, type Unnumbered } from './connection';
import { Refused } from './errors';
import { ManualClock, settled } from './testing/clock';
import { FakeSocket } from './testing/socket';
import type { ClientFrame, Position, Reply, ServerFrame, StoredEvent } from './wire.gen';

const GOLDEN = new URL('../../../crates/wire/tests/golden/', import.meta.url);

function golden<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, GOLDEN), 'utf8')) as T;
}

function names(folder: string): string[] {
  return readdirSync(new URL(folder, GOLDEN)).filter((name) => name.endsWith('.json'));
}

async function online(resume?: Position) {
  const socket = new FakeSocket('ws://front');
  const frames: ServerFrame[] = [];
  const states: string[] = [];
  const connection = new Connection({
    urls: [socket.url],
    clock: new ManualClock(),
    client: 'web/0.1',
    open: () => socket,
    token: async () => 'eyJ.e30.c2ln',
    resume: () => resume,
    onFrame: (frame) => frames.push(frame),
    onState: (state) => states.push(state.kind),
  });
  connection.start();
  await settled();
  socket.open();
  await settled();
  socket.deliver(golden<ServerFrame>('frames/server.welcome.json'));
  frames.length = 0;
  return { connection, socket, frames, states };
}

it('says hello as the servers expect it', async () => {
  const { socket, states } = await online({ epoch: '18c3f2a9d7e4b100', seq: 812 });
  expect(socket.last('hello')).toEqual(golden('frames/client.hello.full.json'));
  expect(states).toEqual(['connecting', 'online']);
});

it.each(['sub.full', 'unsub', 'send', 'send.reply', 'edit', 'recall', 'auth'])('asks as the servers expect it: %s', async (name) => {
  const { connection, socket } = await online();
  const { id, ...frame } = golden<Extract<ClientFrame, { id: number }>>(`frames/client.${name}.json`);
  connection.request(frame as Unnumbered<Extract<ClientFrame, { id: number }>>).catch(() => {});
  await settled();
  expect({ ...socket.sent.at(-1), id }).toEqual({ ...frame, id });
});

it.each(['read', 'typing'] as const)('tells as the servers expect it: %s', async (name) => {
  const { connection, socket } = await online();
  const frame = golden<Extract<ClientFrame, { t: 'read' | 'typing' }>>(`frames/client.${name}.json`);
  connection.cast(frame);
  await settled();
  expect(socket.sent.at(-1)).toEqual(frame);
});

const answers = names('frames/').filter((name) => /^server\.(ok|err)\./.test(name));

it.each(answers)('takes the answer %s', async (name) => {
  const { connection, socket, frames } = await online();
  const answer = golden<Extract<ServerFrame, { t: 'ok' | 'err' }>>(`frames/${name}`);
  const asked: Promise<Reply> = connection.request({ t: 'unsub', room: 'r' });
  const outcome = asked.then((reply) => ({ reply }), (error: unknown) => ({ error }));
  await settled();
  if (answer.id === undefined) {
    socket.deliver(answer);
    expect(frames).toEqual([answer]);
    return;
  }
  const { id } = socket.last('unsub');
  socket.deliver({ ...answer, id });
  if (answer.t === 'ok') expect(await outcome).toEqual({ reply: { ...answer, id } });
  else expect(await outcome).toEqual({ error: new Refused(answer.code, answer.title, answer.detail, answer.retry_ms) });
});

const told = names('frames/').filter((name) => /^server\.(ev|u|eph|reset)\b/.test(name));

it.each(told)('passes %s on, with what newer servers add', async (name) => {
  const { socket, frames } = await online();
  const frame = { ...golden<ServerFrame>(`frames/${name}`), sparkle: true };
  socket.deliver(frame);
  expect(frames).toEqual([frame]);
});

const versions = readdirSync(new URL('events/', GOLDEN));
const events = versions.flatMap((version) => names(`events/${version}/`).map((name) => `${version}/${name}`));

it.each(events)('folds the event %s', (path) => {
  const e = golden<StoredEvent>(`events/${path}`);
  const timeline = new Timeline();
  timeline.fold({ seq: 1, ts: '2026-11-20T19:00:00.123456789Z', e });
  if (e.type !== 'message.posted') return expect(timeline.lines).toEqual([]);
  expect(timeline.lines).toMatchObject([{ id: e.id, author: e.by, cid: e.cid, body: e.body, seq: 1 }]);
  expect(timeline.lines[0]?.replyTo).toBe(e.reply_to);
  expect(Date.parse(timeline.lines[0]!.at)).toBe(Date.UTC(2026, 10, 20, 19, 0, 0, 123));
});

it('folds a posting, its edit and its recall together', () => {
  const [posted, edited, recalled] = ['posted', 'edited', 'recalled'].map((kind) => golden<StoredEvent>(`events/v1/message.${kind}.json`));
  const timeline = new Timeline();
  timeline.fold({ seq: 1, ts: 't1', e: posted! });
  timeline.fold({ seq: 2, ts: 't2', e: edited! });
  expect(timeline.lines).toMatchObject([{ body: 'better', editedAt: 't2' }]);
  timeline.fold({ seq: 3, ts: 't3', e: recalled! });
  expect(timeline.lines[0]).toMatchObject({ recalledAt: 't3' });
  expect(timeline.lines[0]).not.toHaveProperty('body');
});

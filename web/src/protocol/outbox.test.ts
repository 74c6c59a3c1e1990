import { beforeEach, describe, expect, it } from 'vitest';
import { Refused, Unanswered } from './errors';
import { type Entry, Outbox, type Utterance } from './outbox';
import { ManualClock, settled } from './testing/clock';
import { ErrorCode, type Reply } from './wire.gen';

let clock: ManualClock;
let kept: Map<string, Entry>;
let asked: { frame: Utterance & { cid: string }; resolve(reply: Partial<Reply>): void; reject(error: Error): void }[];
let outbox: Outbox;

const say = (body: string, room = 'r') => outbox.say({ t: 'send', room, body });
const states = (room = 'r') => outbox.entries(room).map((entry) => entry.state.kind);
const bodies = () => asked.map(({ frame }) => (frame.t === 'recall' ? '' : frame.body));

function make(): Outbox {
  return new Outbox({
    clock,
    request: (frame) =>
      new Promise((resolve, reject) => asked.push({ frame, resolve: (r) => resolve({ id: 1, ...r }), reject })),
    keep: (entry) => kept.set(entry.cid, entry),
    forget: (cid) => kept.delete(cid),
    onChange: () => {},
  });
}

beforeEach(() => {
  clock = new ManualClock();
  kept = new Map();
  asked = [];
  outbox = make();
});

it('keeps what is said before there is a connection and sends it in order, one at a time', async () => {
  say('one');
  say('two');
  expect(kept.size).toBe(2);
  expect(asked).toHaveLength(0);
  outbox.attach();
  expect(bodies()).toEqual(['one']);
  asked[0]!.resolve({ seq: 5, mid: 'm' });
  await settled();
  expect(bodies()).toEqual(['one', 'two']);
  expect(states()).toEqual(['stored', 'sending']);
});

it('sends to other rooms meanwhile', () => {
  outbox.attach();
  say('here');
  say('there', 'r2');
  expect(asked).toHaveLength(2);
});

it('is done with an entry when ok comes before the event', async () => {
  outbox.attach();
  const { cid } = say('hi');
  asked[0]!.resolve({ seq: 5, mid: 'm' });
  await settled();
  expect(outbox.entries('r')).toMatchObject([{ cid, state: { kind: 'stored', seq: 5 } }]);
  expect(kept.size).toBe(0);
  outbox.settle('r', cid);
  expect(outbox.entries('r')).toEqual([]);
});

it('is done with an entry when the event comes before ok', async () => {
  outbox.attach();
  const { cid } = say('hi');
  outbox.settle('r', cid);
  expect(kept.size).toBe(0);
  asked[0]!.resolve({ seq: 5, mid: 'm' });
  await settled();
  expect(outbox.entries('r')).toEqual([]);
  say('next');
  expect(bodies()).toEqual(['hi', 'next']);
});

it('sends again with the same cid after the connection was lost, until it is settled', async () => {
  outbox.attach();
  const { cid } = say('hi');
  for (let i = 0; i < 3; i++) {
    outbox.detach();
    asked.at(-1)!.reject(new Unanswered());
    await settled();
    expect(states()).toEqual(['queued']);
    outbox.attach();
  }
  expect(asked.map(({ frame }) => frame.cid)).toEqual([cid, cid, cid, cid]);
  asked.at(-1)!.resolve({ seq: 1 });
  await settled();
  expect(states()).toEqual(['stored']);
});

it('waits and tries again when the log is away', async () => {
  outbox.attach();
  say('hi');
  asked[0]!.reject(new Refused(ErrorCode.LogUnavailable, 'down', undefined, 2_000));
  await settled();
  expect(states()).toEqual(['queued']);
  await clock.pass(1_999);
  expect(asked).toHaveLength(1);
  await clock.pass(1);
  expect(asked).toHaveLength(2);
});

it('marks what is refused, lets the next one through, and retries on demand', async () => {
  outbox.attach();
  const { cid } = say('too long');
  say('fine');
  asked[0]!.reject(new Refused(ErrorCode.MessageTooLong, 'too long'));
  await settled();
  expect(states()).toEqual(['failed', 'sending']);
  expect(kept.get(cid)?.state.kind).toBe('failed');
  asked[1]!.resolve({ seq: 2 });
  await settled();
  outbox.retry('r', cid);
  expect(asked[2]!.frame.cid).toBe(cid);
});

describe('after a reload', () => {
  it('sends what was left, in the order of writing, and keeps what had failed', async () => {
    const first = say('one');
    await clock.pass(5);
    say('two');
    const left = [...kept.values()].reverse();
    outbox = make();
    outbox.restore([...left, { ...first, cid: '0', state: { kind: 'failed', code: 2003, title: '' } }]);
    expect(states()).toEqual(['failed', 'queued', 'queued']);
    outbox.attach();
    expect(asked.map(({ frame }) => frame.cid)).toEqual([first.cid]);
    outbox.restore(left);
    expect(outbox.entries('r')).toHaveLength(3);
  });
});

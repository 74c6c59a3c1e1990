import { beforeEach, describe, expect, it } from 'vitest';
import { Refused, Unanswered } from './errors';
import { RoomFollower, judge } from './room';
import { ManualClock, settled } from './testing/clock';
import { ErrorCode, type Position, type Reply, type RoomEvent } from './wire.gen';

interface Deferred<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

let clock: ManualClock;
let applied: number[];
let gone: string[];
let subs: (Position & Deferred<Partial<Reply>>)[];
let snapshots: ({ atLeast: number | undefined } & Deferred<Position>)[];

function follower(seq = 10): RoomFollower {
  return new RoomFollower('r', { epoch: 'E', seq }, {
    clock,
    subscribe: (_room, after) =>
      new Promise((resolve, reject) => {
        subs.push({ ...after, resolve: (reply) => resolve({ id: 1, epoch: 'E', recovered: true, ...reply }), reject });
      }),
    snapshot: (_room, atLeast) => new Promise((resolve, reject) => snapshots.push({ atLeast, resolve, reject })),
    apply: (event) => applied.push(event.seq),
    gone: (room) => gone.push(room),
  });
}

const ev = (seq: number, prev: number): RoomEvent => ({ room: 'r', seq, prev, ts: '', e: null });

async function following(seq = 10): Promise<RoomFollower> {
  const room = follower(seq);
  room.attach();
  subs.at(-1)!.resolve({ head: seq });
  await settled();
  return room;
}

beforeEach(() => {
  clock = new ManualClock();
  applied = [];
  gone = [];
  subs = [];
  snapshots = [];
});

it('judges by last, seq and prev', () => {
  expect(judge(10, { seq: 10, prev: 8 })).toBe('drop');
  expect(judge(10, { seq: 9, prev: 8 })).toBe('drop');
  expect(judge(10, { seq: 14, prev: 10 })).toBe('apply');
  expect(judge(10, { seq: 14, prev: 7 })).toBe('apply'); // the position came from a snapshot
  expect(judge(10, { seq: 14, prev: 12 })).toBe('gap');
});

describe('following', () => {
  it('subscribes after its position and applies each event once', async () => {
    const room = await following();
    expect(subs[0]).toMatchObject({ epoch: 'E', seq: 10 });
    for (const event of [ev(12, 10), ev(12, 10), ev(11, 10), ev(15, 12)]) room.event(event);
    expect(applied).toEqual([12, 15]);
    expect(room.position).toEqual({ epoch: 'E', seq: 15 });
  });

  it('asks for a gap once and takes what comes in its place', async () => {
    const room = await following();
    room.event(ev(14, 12));
    room.event(ev(16, 14));
    expect(subs).toHaveLength(2);
    expect(subs[1]).toMatchObject({ seq: 10 });
    subs[1]!.resolve({ head: 16 });
    await settled();
    for (const event of [ev(12, 10), ev(14, 12), ev(16, 14)]) room.event(event);
    expect(applied).toEqual([12, 14, 16]);
    expect(subs).toHaveLength(2);
  });

  it('resumes from its position on the next connection', async () => {
    const room = await following();
    room.event(ev(12, 10));
    room.detach();
    room.event(ev(14, 12));
    room.attach();
    expect(subs[1]).toMatchObject({ epoch: 'E', seq: 12 });
    expect(applied).toEqual([12]);
  });

  it('ignores an answer from before the connection was lost', async () => {
    const room = follower();
    room.attach();
    room.detach();
    room.attach();
    subs[0]!.resolve({ recovered: false, head: 99 });
    await settled();
    expect(snapshots).toHaveLength(0);
    expect(room.phase).toBe('subscribing');
  });

  it('tries again when the server is busy, after the time that it names', async () => {
    const room = follower();
    room.attach();
    subs[0]!.reject(new Refused(ErrorCode.RateLimited, 'slow down', undefined, 4_000));
    await settled();
    await clock.pass(3_999);
    expect(subs).toHaveLength(1);
    await clock.pass(1);
    expect(subs).toHaveLength(2);
    subs[1]!.reject(new Unanswered());
    await clock.pass(500);
    expect(subs).toHaveLength(3);
  });
});

describe('a snapshot', () => {
  it('is taken at least at the head when not recovered, and what came meanwhile follows it', async () => {
    const room = follower();
    room.attach();
    subs[0]!.resolve({ recovered: false, head: 900 });
    await settled();
    expect(snapshots[0]?.atLeast).toBe(900);
    room.event(ev(905, 900));
    room.event(ev(907, 905));
    expect(applied).toEqual([]);
    snapshots[0]!.resolve({ epoch: 'E', seq: 905 });
    await settled();
    expect(applied).toEqual([907]);
    expect(room.phase).toBe('following');
    expect(subs).toHaveLength(1);
  });

  it('is taken when the epoch is another', async () => {
    const room = follower();
    room.attach();
    subs[0]!.resolve({ recovered: false, epoch: 'F', head: 3 });
    await settled();
    snapshots[0]!.resolve({ epoch: 'F', seq: 3 });
    await settled();
    room.event(ev(4, 3));
    expect(applied).toEqual([4]);
    expect(room.position).toEqual({ epoch: 'F', seq: 4 });
  });

  it('loses nothing of what came meanwhile when it has to be tried again', async () => {
    const room = follower();
    room.attach();
    subs[0]!.resolve({ recovered: false, head: 900 });
    await settled();
    room.event(ev(905, 900));
    snapshots[0]!.reject(new Refused(ErrorCode.ReadBehind, 'not yet'));
    await clock.pass(500);
    expect(snapshots[1]?.atLeast).toBe(900);
    snapshots[1]!.resolve({ epoch: 'E', seq: 900 });
    await settled();
    expect(applied).toEqual([905]);
  });

  it('follows a reset, and the room is subscribed to again', async () => {
    const room = await following();
    room.reset('late_event');
    expect(snapshots[0]?.atLeast).toBeUndefined();
    room.event(ev(30, 20));
    snapshots[0]!.resolve({ epoch: 'E', seq: 20 });
    await settled();
    expect(subs[1]).toMatchObject({ seq: 20 });
    expect(applied).toEqual([]);
  });
});

describe('the end of a membership', () => {
  it('by reset', async () => {
    const room = await following();
    room.reset('not_member');
    expect(gone).toEqual(['r']);
    room.attach();
    expect(subs).toHaveLength(1);
  });

  it('by refusal', async () => {
    const room = follower();
    room.attach();
    subs[0]!.reject(new Refused(ErrorCode.RoomNotFound, 'gone'));
    await settled();
    expect(gone).toEqual(['r']);
  });
});

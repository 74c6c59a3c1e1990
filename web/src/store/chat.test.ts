import 'fake-indexeddb/auto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, settled } from '../protocol/testing/clock';
import { ErrorCode } from '../protocol/wire.gen';
import { Chat, OPEN_LINES_MAX, SAVE_AFTER_MS } from './chat';
import { PAGE_RETRY_MS } from './history';
import { type ServedSocket, FakeServer } from './testing/server';
import { LATE_MS } from './view';
import { ForgetfulVault, IndexedVault, type Vault } from './vault';

let clock: ManualClock;
let server: FakeServer;
let user = 0;

function chat(vault: Vault = new ForgetfulVault()): Chat {
  return new Chat({
    user: 'me',
    clock,
    vault,
    sockets: ['ws://a', 'ws://b'],
    openSocket: (url) => server.open(url, 'me'),
    token: async () => 'token',
    api: {
      rooms: () => server.rooms(),
      room: (id, atLeast) => server.room(id, atLeast),
      messages: (id, query) => server.messages(id, query),
      members: async () => ({ items: [], as_of: { epoch: 'E', seq: 0 } }),
      people: async () => ({ items: [], as_of: { epoch: 'E', seq: 0 } }),
      person: async (id) => ({ id, username: `name of ${id}` }),
      createRoom: async () => {
        server.create('new', 'me');
        return { room: 'new', position: { epoch: 'E', seq: server.head('new') } };
      },
      join: async (room) => ({ room, position: { epoch: 'E', seq: server.head(room) } }),
      leave: async (room) => ({ room, position: { epoch: 'E', seq: server.head(room) } }),
      addMember: async (room) => ({ room, position: { epoch: 'E', seq: server.head(room) } }),
    },
  });
}

const socket = () => server.sockets.at(-1) as ServedSocket;
const bodies = (of: Chat, room = 'r') => of.lines(room).map((line) => line.body ?? '(recalled)');
const logged = (room = 'r') =>
  server.log.filter((event) => event.room === room).flatMap(({ e }) => (e?.type === 'message.posted' ? [e.body] : []));

async function opened(vault?: Vault): Promise<Chat> {
  const me = chat(vault);
  await me.start();
  await clock.pass(0);
  me.open('r');
  await clock.pass(0);
  return me;
}

/** Until IndexedDB, which keeps its own time, is done. */
async function written(work: Promise<unknown>): Promise<void> {
  await work;
  await new Promise((resolve) => setImmediate(resolve));
}

beforeEach(() => {
  clock = new ManualClock();
  server = new FakeServer();
  server.create('r', 'me');
});

describe('a room', () => {
  it('shows its history and what follows it', async () => {
    for (const body of ['one', 'two']) server.post('r', 'anna', body);
    const me = await opened();
    server.post('r', 'anna', 'three');
    await settled();
    expect(bodies(me)).toEqual(['one', 'two', 'three']);
    expect(me.paging('r')).toBe('idle');
  });

  it('pages back to its beginning without a repeat', async () => {
    for (let i = 0; i < 230; i++) server.post('r', 'anna', `m${i}`);
    const me = await opened();
    expect(bodies(me)).toHaveLength(50);
    while (me.room('r')!.timeline!.older.kind !== 'none') await me.loadOlder('r');
    expect(bodies(me)).toEqual(logged());
  });

  it('pages on after the top was forgotten', async () => {
    for (let i = 0; i < 230; i++) server.post('r', 'anna', `m${i}`);
    const me = await opened();
    for (let i = 0; i < OPEN_LINES_MAX; i++) server.post('r', 'anna', `live${i}`);
    await settled();
    me.atEnd('r');
    expect(bodies(me)).toHaveLength(200);
    while (me.room('r')!.timeline!.older.kind !== 'none') await me.loadOlder('r');
    expect(bodies(me)).toEqual(logged());
  });

  it('shows an edit that came while the page of its message was on the way', async () => {
    const { e } = server.post('r', 'anna', 'old');
    server.projected = server.log.length;
    const me = chat();
    await me.start();
    await clock.pass(0);
    me.open('r');
    server.append('r', 'anna', { type: 'message.edited', mid: e!.id, body: 'new' } as never);
    await clock.pass(0);
    expect(bodies(me)).toEqual(['new']);
  });

  it('counts what is not read, and no more once it is', async () => {
    server.create('quiet', 'me');
    server.post('quiet', 'anna', 'before');
    const me = await opened();
    expect(me.room('quiet')?.unread.count).toBe(1);
    server.post('quiet', 'anna', 'after');
    await settled();
    expect(me.room('quiet')?.unread.count).toBe(2);
    me.markRead('quiet');
    await clock.pass(1_000);
    expect(me.room('quiet')?.unread.count).toBe(0);
    expect(socket().last('read')).toEqual({ t: 'read', room: 'quiet', seq: server.head('quiet') });
    me.markRead('quiet');
    await clock.pass(1_000);
    expect(socket().count('read')).toBe(1);
  });

  it('is read to its end although the log went on elsewhere before it was listed', async () => {
    server.post('r', 'anna', 'one');
    server.create('busy', 'anna');
    server.post('busy', 'anna', 'elsewhere');
    const me = await opened();
    expect(me.room('r')?.unread.count).toBe(1);
    me.markRead('r');
    expect(me.room('r')?.unread.count).toBe(0);
  });

  it('appears when it is created', async () => {
    const me = await opened();
    await me.createRoom({ name: 'new', visibility: 'public' });
    expect(me.room('new')?.facts.name).toBe('new');
    expect(me.rooms.map(({ id }) => id)).toEqual(['new', 'r']);
    server.post('new', 'anna', 'welcome');
    await settled();
    expect(me.room('new')?.last?.body).toBe('welcome');
  });

  it('appears when somebody adds the person, as soon as the read model has it', async () => {
    const me = await opened();
    server.projected = server.log.length;
    server.create('theirs', 'anna');
    socket().deliver({ t: 'eph', membership: { room: 'theirs', seq: server.head('theirs') } });
    await settled();
    expect(me.room('theirs')).toBeUndefined();
    server.projected = undefined;
    await clock.pass(1_000);
    expect(me.room('theirs')).toBeDefined();
  });

  it('is gone when the person is removed', async () => {
    const me = await opened();
    socket().deliver({ t: 'reset', room: 'r', epoch: 'E', reason: 'not_member' });
    expect(me.room('r')).toBeUndefined();
  });
});

it('tells that there are no rooms', async () => {
  server = new FakeServer();
  const me = chat();
  await me.start();
  const seen: boolean[] = [];
  me.observe(() => seen.push(me.listed));
  await clock.pass(0);
  expect(seen.at(-1)).toBe(true);
});

describe('saying something', () => {
  it('shows it at once and once', async () => {
    const me = await opened();
    me.say({ t: 'send', room: 'r', body: 'hello' });
    expect(me.lines('r')).toMatchObject([{ body: 'hello', delivery: { kind: 'sending' } }]);
    const { key } = me.lines('r')[0]!;
    await clock.pass(0);
    expect(me.lines('r')).toMatchObject([{ key, body: 'hello', delivery: { kind: 'sent' } }]);
    expect(logged()).toEqual(['hello']);
  });

  it('settles when the event comes but the answer is lost', async () => {
    const me = await opened();
    me.say({ t: 'send', room: 'r', body: 'hello' });
    await clock.pass(0);
    socket().cut();
    await clock.pass(1_000);
    expect(bodies(me)).toEqual(['hello']);
    expect(logged()).toEqual(['hello']);
  });

  it('sends it again on the next front when the first one heard nothing', async () => {
    const me = await opened();
    socket().deaf = true;
    me.say({ t: 'send', room: 'r', body: 'hello' });
    await clock.pass(0);
    socket().cut();
    await clock.pass(1_000);
    expect(server.sockets.map(({ url }) => url)).toEqual(['ws://a', 'ws://b']);
    expect(me.lines('r')).toMatchObject([{ body: 'hello', delivery: { kind: 'sent' } }]);
    expect(server.sockets[0]!.last('send').cid).toBe(socket().last('send').cid);
  });

  it('says that it is late when it is', async () => {
    const me = await opened();
    socket().deaf = true;
    me.say({ t: 'send', room: 'r', body: 'hello' });
    expect(me.lines('r')).toMatchObject([{ delivery: { kind: 'sending', late: false } }]);
    let told = 0;
    me.observe(() => (told += 1));
    await clock.pass(LATE_MS);
    expect(told).toBeGreaterThan(0);
    expect(me.lines('r')).toMatchObject([{ delivery: { kind: 'sending', late: true } }]);
  });

  it('says at once that the log is away', async () => {
    const me = await opened();
    socket().deaf = true;
    me.say({ t: 'send', room: 'r', body: 'hello' });
    await clock.pass(0);
    socket().deliver({ t: 'err', id: socket().last('send').id, code: ErrorCode.LogUnavailable, title: 'away' });
    await settled();
    expect(me.lines('r')).toMatchObject([{ delivery: { kind: 'sending', late: true } }]);
  });

  it('shows edits and recalls at once, without going back to the old text', async () => {
    const me = await opened();
    me.say({ t: 'send', room: 'r', body: 'helo' });
    await clock.pass(0);
    const seen = new Set<string>();
    me.observe(() => seen.add(bodies(me).join()));
    me.say({ t: 'edit', room: 'r', mid: me.lines('r')[0]!.id!, body: 'hello' });
    expect(bodies(me)).toEqual(['hello']);
    await clock.pass(0);
    expect(me.lines('r')).toMatchObject([{ body: 'hello', edited: true, delivery: { kind: 'sent' } }]);
    expect([...seen]).toEqual(['hello']);
    me.say({ t: 'recall', room: 'r', mid: me.lines('r')[0]!.id! });
    await clock.pass(0);
    expect(me.lines('r')).toMatchObject([{ body: undefined, delivery: { kind: 'sent' } }]);
  });
});

describe('coming back', () => {
  it('brings what was missed, once and in order', async () => {
    const me = await opened();
    server.post('r', 'anna', 'one');
    socket().cut();
    for (const body of ['two', 'three']) server.post('r', 'anna', body);
    await clock.pass(1_000);
    server.post('r', 'anna', 'four');
    await settled();
    expect(bodies(me)).toEqual(['one', 'two', 'three', 'four']);
  });

  it('takes a snapshot when too much was missed', async () => {
    server.limit = 10;
    const me = await opened();
    server.post('r', 'anna', 'one');
    socket().cut();
    for (let i = 0; i < 80; i++) server.post('r', 'anna', `m${i}`);
    await clock.pass(1_000);
    expect(bodies(me)).toEqual(logged().slice(-50));
    while (me.room('r')!.timeline!.older.kind !== 'none') await me.loadOlder('r');
    expect(bodies(me)).toEqual(logged());
  });

  it('drops what it knew when the log is another', async () => {
    const me = await opened();
    server.post('r', 'anna', 'one');
    await settled();
    socket().cut();
    server.log = [];
    server.epoch = 'F';
    server.create('r', 'me');
    server.post('r', 'anna', 'anew');
    await clock.pass(1_000);
    expect(bodies(me)).toEqual(['anew']);
  });

  it('goes on without the read model, and reads the list of rooms when it is back', async () => {
    const me = await opened();
    server.refuse = { code: ErrorCode.DatabaseUnavailable };
    server.create('other', 'me');
    socket().cut();
    server.post('r', 'anna', 'one');
    await clock.pass(1_000);
    expect(bodies(me)).toEqual(['one']);
    expect(me.room('other')).toBeUndefined();
    server.refuse = undefined;
    await clock.pass(60_000);
    expect(me.room('other')).toBeDefined();
  });

  it('survives a storm of cuts: each message once, in the log’s order', async () => {
    let state = 42;
    const chance = (n: number) => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % n;
    server.limit = 6;
    const me = await opened();
    for (let step = 0; step < 600; step++) {
      const what = chance(10);
      if (what < 4) server.post('r', 'anna', `anna ${step}`);
      else if (what < 7) me.say({ t: 'send', room: 'r', body: `me ${step}` });
      else if (what === 7 && me.connection.state.kind === 'online') socket().cut();
      else if (what === 8 && me.connection.state.kind === 'online') socket().deaf = true;
      else server.projected = chance(2) ? undefined : server.log.length;
      await clock.pass(chance(400));
    }
    server.projected = undefined;
    if (socket().deaf && !socket().gone) socket().cut();
    await clock.pass(120_000);
    while (me.room('r')!.timeline!.older.kind !== 'none') await me.loadOlder('r');
    expect(bodies(me)).toEqual(logged());
    expect(new Set(logged()).size).toBe(logged().length);
    expect(me.outbox.entries('r')).toEqual([]);
  });
});

describe('after a reload', () => {
  let vault: IndexedVault;
  beforeEach(async () => {
    vault = await IndexedVault.open(`user-${(user += 1)}`);
  });
  afterEach(() => IndexedVault.erase(`user-${user}`));

  it('continues from its position and shows everything once', async () => {
    for (let i = 0; i < 60; i++) server.post('r', 'anna', `m${i}`);
    const before = await opened(vault);
    server.post('r', 'anna', 'seen');
    await clock.pass(SAVE_AFTER_MS);
    await written(before.stop());
    server.post('r', 'anna', 'missed');

    const after = chat(vault);
    await after.start();
    expect(bodies(after).at(-1)).toBe('seen');
    await clock.pass(0);
    expect(socket().last('sub').after).toBe(server.head('r') - 1);
    expect(bodies(after)).toEqual(logged().slice(-52));
    after.open('r');
    while (after.room('r')!.timeline!.older.kind !== 'none') await after.loadOlder('r');
    expect(bodies(after)).toEqual(logged());
  });

  it('shows what was heard live although the page before it has not come', async () => {
    for (let i = 0; i < 60; i++) server.post('r', 'anna', `m${i}`);
    const before = chat(vault);
    await before.start();
    await clock.pass(0);
    server.refuse = { code: ErrorCode.ReadBehind };
    before.open('r');
    server.post('r', 'anna', 'heard');
    await clock.pass(SAVE_AFTER_MS);
    await written(before.stop());

    const after = chat(vault);
    await after.start();
    after.open('r');
    expect(bodies(after)).toEqual(['heard']);
    server.refuse = undefined;
    await clock.pass(PAGE_RETRY_MS);
    while (after.room('r')!.timeline!.older.kind !== 'none') await after.loadOlder('r');
    expect(bodies(after)).toEqual(logged());
  });

  it('sends what had not been answered, with the same cid', async () => {
    const before = await opened(vault);
    socket().deaf = true;
    before.say({ t: 'send', room: 'r', body: 'unheard' });
    await settled();
    const { cid } = socket().last('send');
    await written(before.stop());

    const after = chat(vault);
    await after.start();
    after.open('r');
    expect(after.lines('r')).toMatchObject([{ body: 'unheard', delivery: { kind: 'sending' } }]);
    await clock.pass(0);
    expect(after.lines('r')).toMatchObject([{ body: 'unheard', delivery: { kind: 'sent' } }]);
    expect(socket().last('send').cid).toBe(cid);
    await written(after.stop());
    expect((await vault.load()).entries).toEqual([]);
  });

  it('does not show twice what was stored but never answered', async () => {
    const before = await opened(vault);
    before.say({ t: 'send', room: 'r', body: 'stored' });
    const entry = before.outbox.entries('r')[0]!;
    await clock.pass(SAVE_AFTER_MS);
    await vault.saveEntry(entry); // as though the page had died before it could forget it
    await written(before.stop());

    const after = chat(vault);
    await after.start();
    after.open('r');
    await clock.pass(0);
    expect(bodies(after)).toEqual(['stored']);
    expect(logged()).toEqual(['stored']);
  });
});

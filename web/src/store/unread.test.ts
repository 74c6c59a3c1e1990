import { expect, it } from 'vitest';
import { Unread } from './unread';

const base = { asOf: 10, lastSeq: 10, count: 3, readSeq: 4 };

it('adds what others post after the snapshot', () => {
  const unread = new Unread(base);
  unread.posted(9, false);
  unread.posted(11, false);
  expect(unread.count).toBe(4);
});

it('is nothing once read to the end, and the server has to be told once', () => {
  const unread = new Unread(base);
  unread.posted(11, false);
  unread.read(11);
  expect([unread.count, unread.untold]).toEqual([0, true]);
  unread.told(11);
  unread.read(9);
  expect([unread.count, unread.readSeq, unread.untold]).toEqual([0, 11, false]);
});

it('is nothing once the last message is read, however far the snapshot’s stream went on', () => {
  const unread = new Unread({ ...base, asOf: 90 });
  unread.read(9);
  expect(unread.count).toBe(3);
  unread.read(10);
  expect([unread.count, unread.untold]).toEqual([0, true]);
  unread.absorb({ asOf: 95, lastSeq: 10, count: 3, readSeq: 4 });
  expect([unread.count, unread.untold]).toEqual([0, true]);
  unread.absorb({ asOf: 99, lastSeq: 97, count: 4, readSeq: 4 });
  expect(unread.count).toBe(4);
});

it('counts an answer of one’s own as reading', () => {
  const unread = new Unread(base);
  unread.posted(11, false);
  unread.posted(12, true);
  expect(unread.count).toBe(0);
});

it('takes a newer snapshot’s word but not an older one’s', () => {
  const unread = new Unread(base);
  unread.posted(11, false);
  unread.posted(13, false);
  unread.absorb({ asOf: 12, lastSeq: 12, count: 7, readSeq: 4 });
  expect(unread.count).toBe(8);
  unread.absorb({ asOf: 8, lastSeq: 8, count: 1, readSeq: 4 });
  expect(unread.count).toBe(8);
});

it('keeps a mark that the snapshot does not know yet, and tells it again', () => {
  const unread = new Unread(base);
  unread.posted(12, false);
  unread.read(12);
  unread.told(12);
  unread.absorb({ asOf: 12, lastSeq: 12, count: 4, readSeq: 4 });
  expect([unread.count, unread.untold]).toEqual([0, true]);
});

it('survives a reload', () => {
  const unread = new Unread(base);
  unread.posted(11, false);
  const again = Unread.restore(structuredClone(unread.dump()));
  expect([again.count, again.readSeq]).toEqual([4, 4]);
});

import { describe, expect, it } from 'vitest';
import type { Message } from '../api/schema.gen';
import type { RoomEvent, StoredEvent } from '../protocol/wire.gen';
import { Timeline } from './timeline';

const event = (seq: number, e: Partial<StoredEvent>): RoomEvent => ({
  room: 'r',
  seq,
  prev: seq - 1,
  ts: `t${seq}`,
  e: { v: 1, id: `e${seq}`, by: 'anna', ...e } as StoredEvent,
});
const posted = (seq: number, over = {}) => event(seq, { type: 'message.posted', id: `m${seq}`, cid: `c${seq}`, body: `b${seq}`, ...over } as never);
const edited = (seq: number, mid: string, body: string, by = 'anna') => event(seq, { type: 'message.edited', mid, body, by } as never);
const recalled = (seq: number, mid: string, by = 'anna') => event(seq, { type: 'message.recalled', mid, by } as never);
const message = (seq: number, body = `b${seq}`): Message => ({ id: `m${seq}`, room: 'r', seq, author: 'anna', cid: `c${seq}`, body, posted_at: `t${seq}` });
const page = (items: Message[], seq: number, next?: string) => ({ items, as_of: { epoch: 'E', seq }, ...(next && { next }) });

function folded(...events: RoomEvent[]): Timeline {
  const timeline = new Timeline();
  for (const each of events) timeline.fold(each);
  return timeline;
}

describe('folding', () => {
  it('posts, edits, recalls', () => {
    const timeline = folded(posted(1), posted(2), edited(3, 'm1', 'better'), recalled(4, 'm2'));
    expect(timeline.lines).toMatchObject([{ body: 'better', editedAt: 't3' }, { recalledAt: 't4' }]);
    expect(timeline.get('m2')).not.toHaveProperty('body');
  });

  it('counts only the author’s word, and nothing after a recall', () => {
    const timeline = folded(posted(1), edited(2, 'm1', 'forged', 'eve'), recalled(3, 'm1', 'eve'), recalled(4, 'm1'), edited(5, 'm1', 'late'));
    expect(timeline.get('m1')).toMatchObject({ recalledAt: 't4' });
    expect(timeline.get('m1')?.body).toBeUndefined();
  });

  it('takes the first of two postings with one id', () => {
    const timeline = folded(posted(1), posted(2, { id: 'm1', body: 'again' }));
    expect(timeline.lines).toMatchObject([{ seq: 1, body: 'b1' }]);
  });

  it('passes over what it does not know', () => {
    expect(folded({ ...posted(1), e: null }, event(2, { type: 'message.sparkled' } as never)).lines).toEqual([]);
  });

  it('keeps the objects of lines that did not change', () => {
    const timeline = folded(posted(1), posted(2));
    const [first] = timeline.lines;
    timeline.fold(edited(3, 'm2', 'x'));
    expect(timeline.lines[0]).toBe(first);
  });
});

describe('pages', () => {
  it('go before what is there; an overlap shows once', () => {
    const timeline = folded(posted(5), posted(6));
    timeline.awaitPage();
    expect(timeline.addPage(page([message(3), message(5)], 6, 'c'))).toEqual({ reached: true });
    expect(timeline.lines.map((line) => line.seq)).toEqual([3, 5, 6]);
    expect(timeline.older).toEqual({ kind: 'cursor', cursor: 'c' });
  });

  it('win over older knowledge and lose to newer', () => {
    const timeline = folded(posted(1), edited(2, 'm1', 'live 2'));
    timeline.awaitPage();
    timeline.addPage(page([message(1, 'page 1')], 1));
    expect(timeline.get('m1')?.body).toBe('live 2');
    timeline.awaitPage();
    timeline.addPage(page([message(1, 'page 9')], 9));
    expect(timeline.get('m1')?.body).toBe('page 9');
    timeline.fold(edited(8, 'm1', 'stale'));
    expect(timeline.get('m1')?.body).toBe('page 9');
  });

  it('are changed by what came while they were on the way', () => {
    const timeline = new Timeline();
    timeline.awaitPage();
    timeline.fold(edited(7, 'm1', 'known to the page'));
    timeline.fold(edited(9, 'm1', 'newer'));
    timeline.addPage(page([message(1, 'page')], 8));
    expect(timeline.get('m1')).toMatchObject({ body: 'newer', known: 9 });
  });

  it('say when they hold nothing new', () => {
    const timeline = folded(posted(5), posted(6));
    timeline.awaitPage();
    expect(timeline.addPage(page([message(5), message(6)], 6, 'c')).reached).toBe(false);
  });
});

it('survives a reload', () => {
  const timeline = folded(posted(1), posted(2), posted(3));
  const again = Timeline.restore(structuredClone(timeline.dump(2)));
  expect(again.lines).toEqual(timeline.lines.slice(1));
  expect(again.older).toEqual({ kind: 'newest' });
  expect(again.has('anna', 'c3')).toBe(true);
});

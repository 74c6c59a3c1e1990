import { expect, it } from 'vitest';
import { type DraftStorage, Drafts } from './drafts';

function storage(): DraftStorage {
  const items = new Map<string, string>();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
    key: (index) => [...items.keys()][index] ?? null,
    get length() {
      return items.size;
    },
  };
}

it('keeps a draft over a reload until it is sent', () => {
  const tab = storage();
  new Drafts('anna', tab).set('r', 'half a');
  const again = new Drafts('anna', tab);
  expect([again.get('r'), again.get('s')]).toEqual(['half a', '']);
  again.set('r', '');
  expect(new Drafts('anna', tab).get('r')).toBe('');
});

it('shows nobody what another wrote, and leaves nothing of them behind', () => {
  const tab = storage();
  new Drafts('anna', tab).set('r', 'mine');
  expect(new Drafts('ben', tab).get('r')).toBe('');
  expect(tab.length).toBe(0);
  const anna = new Drafts('anna', tab);
  anna.set('r', 'mine again');
  anna.clear();
  expect([anna.get('r'), tab.length]).toEqual(['', 0]);
});

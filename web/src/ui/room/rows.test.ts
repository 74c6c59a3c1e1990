// @vitest-environment node
import { expect, it, vi } from 'vitest';
import type { ShownLine } from '../../store/view';

vi.mock('../../i18n/i18n.svelte', () => ({
  daysBetween: (from: number, to: number) => Math.floor(to / 86_400_000) - Math.floor(from / 86_400_000),
}));
const { TURN_MS, toRows } = await import('./rows');

const line = (seq: number, author: string, at: number, own = false) => ({ seq, author, at, own, key: `${seq}` }) as ShownLine;

it('marks days, turns and where the new ones begin', () => {
  const day = 86_400_000;
  const rows = toRows(
    [
      line(1, 'anna', 0),
      line(2, 'anna', 1_000),
      line(3, 'ben', 2_000),
      line(4, 'ben', 2_000 + TURN_MS),
      line(5, 'me', 500_000, true),
      line(6, 'ben', 500_001),
      line(7, 'ben', day),
    ],
    4,
  );
  expect(rows.map(({ day }) => day)).toEqual([true, false, false, false, false, false, true]);
  expect(rows.map(({ lead }) => lead)).toEqual([true, false, true, true, true, true, true]);
  expect(rows.findIndex(({ fresh }) => fresh)).toBe(5);
  expect(rows.filter(({ fresh }) => fresh)).toHaveLength(1);
});

it('marks nothing as new when nothing was', () => {
  expect(toRows([line(1, 'anna', 0)], undefined)[0]!.fresh).toBe(false);
});

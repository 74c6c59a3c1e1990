/** Lines of a room as rows: which begin a day, which begin a person's turn, where the new ones begin. */
import { daysBetween } from '../../i18n/i18n.svelte';
import type { ShownLine } from '../../store/view';

/** Lines of one person within so long are one turn. */
export const TURN_MS = 5 * 60_000;

export interface Row {
  line: ShownLine;
  /** The first of its day. */
  day: boolean;
  /** The first of its author's turn: bears name and picture. */
  lead: boolean;
  /** The first that was new when the room was opened. */
  fresh: boolean;
}

export function toRows(lines: readonly ShownLine[], freshAfter: number | undefined): Row[] {
  let marked = freshAfter === undefined;
  return lines.map((line, index) => {
    const before = lines[index - 1];
    const day = !before || daysBetween(before.at, line.at) !== 0;
    const fresh = !marked && !line.own && line.seq !== undefined && line.seq > freshAfter!;
    marked ||= fresh;
    const sameTurn = before?.author === line.author && line.at - before.at < TURN_MS && line.replyTo === undefined;
    return { line, day, fresh, lead: day || fresh || !sameTurn };
  });
}

/** Lines of a room as rows: which begin a day, which begin a person's turn, where the new ones begin. */
import { daysBetween } from '../../i18n/i18n.svelte';
import type { ShownLine } from '../../store/view';

/** Lines of one person within so long are one turn. */
export const TURN_MS = 5 * 60_000;

export interface Row {
  readonly line: ShownLine;
  /** The first of its day. */
  readonly day: boolean;
  /** The first of its author's turn: bears name and picture. */
  readonly lead: boolean;
  /** The first that was new when the room was opened. */
  readonly fresh: boolean;
}

export function toRows(lines: readonly ShownLine[], freshAfter: number | undefined): Row[] {
  let marked = freshAfter === undefined;
  return lines.map((line, index) => {
    const before = lines[index - 1];
    const day = !before || daysBetween(before.at, line.at) !== 0;
    const fresh = !marked && !line.own && line.seq !== undefined && line.seq > freshAfter!;
    marked ||= fresh;
    const sameTurn = before?.author === line.author && line.at - before.at < TURN_MS && line.replyTo === undefined;
    return row(line, day, day || fresh || !sameTurn, fresh);
  });
}

const made = new WeakMap<ShownLine, Row>();

/** The same row as before where nothing changed, so that it is not drawn anew. */
function row(line: ShownLine, day: boolean, lead: boolean, fresh: boolean): Row {
  const before = made.get(line);
  if (before && before.day === day && before.lead === lead && before.fresh === fresh) return before;
  const now = { line, day, lead, fresh };
  made.set(line, now);
  return now;
}

/** Back to the list of rooms without a new entry in the browser's history. */

interface Mark {
  /** The entry before this one is the list of rooms. */
  fromList: boolean;
}

/** Marks the history's current entry, which was reached from `before`, the hash of another; once per entry. */
export function arrived(before: string | undefined): void {
  if ((history.state as Mark | null) !== null) return;
  const mark: Mark = { fromList: before !== undefined && before.length <= 1 };
  history.replaceState(mark, '');
}

/** Goes back to the list where one came from it, else puts it in the place of what is shown. */
export function toList(): void {
  if ((history.state as Mark | null)?.fromList) history.back();
  else location.replace('#');
}

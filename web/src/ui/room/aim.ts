import type { ShownLine } from '../../store/view';

/** What the composer's text is going to be. */
export type Aim = { kind: 'new' } | { kind: 'reply' | 'edit'; line: ShownLine };

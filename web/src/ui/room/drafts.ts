import type { RoomId } from '../../protocol/wire.gen';

/** What was written in each room and not sent, as long as the page lives. */
export const drafts = new Map<RoomId, string>();

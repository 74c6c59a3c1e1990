import { ErrorCode } from './wire.gen';

/** The server refused a request, over the socket or over REST. */
export class Refused extends Error {
  override name = 'Refused';
  constructor(
    /** See docs/errors.md. */
    readonly code: number,
    readonly title: string,
    readonly detail?: string,
    readonly retryMs?: number,
  ) {
    super(detail ? `${title}: ${detail}` : title);
  }
}

/** No answer: the connection went away first, or the time ran out. The request may have been done. */
export class Unanswered extends Error {
  override name = 'Unanswered';
}

const TRANSIENT: ReadonlySet<number> = new Set([
  ErrorCode.RoomContended,
  ErrorCode.RateLimited,
  ErrorCode.LogUnavailable,
  ErrorCode.LogRefuses,
  ErrorCode.DatabaseUnavailable,
  ErrorCode.Busy,
  ErrorCode.Draining,
  ErrorCode.Internal,
  ErrorCode.ReadBehind,
]);

/** Whether the same request may succeed later without a change. */
export function isTransient(error: unknown): boolean {
  return error instanceof Unanswered || (error instanceof Refused && TRANSIENT.has(error.code));
}

/** When to try again, at the earliest, where the server said so. */
export function retryMs(error: unknown): number {
  return error instanceof Refused ? (error.retryMs ?? 0) : 0;
}

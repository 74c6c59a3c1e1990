/**
 * The tokens of this browser's login, shared by its tabs. A refresh token works once, so only one tab at a time
 * exchanges it (Web Locks) and the others take what it got.
 */
import type { Cancel, Clock } from '../protocol/clock';
import { Refused } from '../protocol/errors';
import type { LoginResponse } from './schema.gen';

/** Renew so long before the access token runs out, but not before half of its time. */
export const RENEW_BEFORE_MS = 60_000;
/** Try again so long after a renewal that could not be had. */
export const RENEW_RETRY_MS = 10_000;

const KEY = 'natterjack.session';
const LOCK = 'natterjack.refresh';

export interface Credentials {
  user: string;
  username: string;
  accessToken: string;
  /** Milliseconds since 1970, by this machine's clock: when to renew, and when it is too late. */
  renewAt: number;
  expiresAt: number;
  refreshToken: string;
}

export interface SessionPort {
  clock: Clock;
  storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;
  /** Runs `work` while no other tab does. */
  exclusively<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** Exchanges a refresh token; rejects with `Refused` when it is not good any more. */
  exchange(refreshToken: string): Promise<LoginResponse>;
}

export class Session {
  #cancelRenewal: Cancel = () => {};
  #listeners = new Set<(credentials: Credentials | undefined) => void>();

  constructor(private readonly port: SessionPort) {}

  get credentials(): Credentials | undefined {
    const text = this.port.storage.getItem(KEY);
    try {
      return text ? (JSON.parse(text) as Credentials) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Calls `listener` after every login, renewal and logout, also those of other tabs. */
  listen(listener: (credentials: Credentials | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Another tab changed what is stored. */
  storageChanged(key: string | null): void {
    if (key === KEY || key === null) this.#changed();
  }

  begin(login: LoginResponse): void {
    const lifeMs = login.expires_in_secs * 1_000;
    const now = this.port.clock.now();
    const credentials: Credentials = {
      user: login.user,
      username: login.username,
      accessToken: login.access_token,
      renewAt: now + Math.max(lifeMs - RENEW_BEFORE_MS, lifeMs / 2),
      expiresAt: now + lifeMs,
      refreshToken: login.refresh_token,
    };
    this.port.storage.setItem(KEY, JSON.stringify(credentials));
    this.#changed();
  }

  end(): void {
    this.port.storage.removeItem(KEY);
    this.#changed();
  }

  /**
   * An access token that is good for a while. `refused` is one that the server did not take: another is got.
   * `undefined` when the session is over; rejects when that cannot be known now.
   */
  async token(refused?: string): Promise<string | undefined> {
    const now = this.credentials;
    if (!now || this.#isGood(now, refused)) return now?.accessToken;
    return this.port.exclusively(LOCK, async () => {
      const latest = this.credentials; // another tab may have been quicker
      if (!latest || this.#isGood(latest, refused)) return latest?.accessToken;
      return this.#renew(latest, refused);
    });
  }

  /** Renews ahead of time from now on. */
  keepFresh(): void {
    this.#cancelRenewal();
    const now = this.credentials;
    if (!now) return;
    this.#renewIn(Math.max(0, now.renewAt - this.port.clock.now()));
  }

  #renewIn(ms: number): void {
    this.#cancelRenewal = this.port.clock.after(ms, async () => {
      await this.token().catch(() => undefined);
      const now = this.credentials;
      if (now && !this.#isGood(now, undefined)) this.#renewIn(RENEW_RETRY_MS);
    });
  }

  #isGood(credentials: Credentials, refused: string | undefined): boolean {
    return this.port.clock.now() < credentials.renewAt && credentials.accessToken !== refused;
  }

  async #renew(stale: Credentials, refused: string | undefined): Promise<string | undefined> {
    try {
      const login = await this.port.exchange(stale.refreshToken);
      this.begin(login);
      return login.access_token;
    } catch (error) {
      if (error instanceof Refused && error.code < 2_000) {
        this.end(); // 10xx: the token, not the server, is at fault
        return undefined;
      }
      const lasts = this.port.clock.now() < stale.expiresAt && stale.accessToken !== refused;
      if (lasts) return stale.accessToken; // accounts are away; what one holds still serves
      throw error;
    }
  }

  #changed(): void {
    this.keepFresh();
    const now = this.credentials;
    for (const listener of this.#listeners) listener(now);
  }
}

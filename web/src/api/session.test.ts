import { beforeEach, expect, it } from 'vitest';
import { Refused, Unanswered } from '../protocol/errors';
import { ManualClock, settled } from '../protocol/testing/clock';
import { ErrorCode } from '../protocol/wire.gen';
import { type Credentials, RENEW_RETRY_MS, Session } from './session';

const TTL_SECS = 900;
let clock: ManualClock;
let stored: Map<string, string>;
let exchanged: string[];
let failure: Error | undefined;
let lock: Promise<unknown>;

const login = (n: number) => ({
  user: 'u',
  username: 'anna',
  session: 's',
  access_token: `access-${n}`,
  expires_in_secs: TTL_SECS,
  refresh_token: `refresh-${n}`,
});

function tab(): Session {
  return new Session({
    clock,
    storage: {
      getItem: (key) => stored.get(key) ?? null,
      setItem: (key, value) => void stored.set(key, value),
      removeItem: (key) => void stored.delete(key),
    },
    exclusively: (_name, work) => {
      const mine = lock.then(work);
      lock = mine.catch(() => {});
      return mine;
    },
    exchange: async (token) => {
      exchanged.push(token);
      if (failure) throw failure;
      return login(exchanged.length);
    },
  });
}

beforeEach(() => {
  clock = new ManualClock();
  stored = new Map();
  exchanged = [];
  failure = undefined;
  lock = Promise.resolve();
});

it('gives the token that it has while that is good', async () => {
  const session = tab();
  session.begin(login(0));
  expect(await session.token()).toBe('access-0');
  expect(exchanged).toEqual([]);
});

it('renews a minute before the end and tells the listeners', async () => {
  const session = tab();
  const heard: (Credentials | undefined)[] = [];
  session.listen((credentials) => heard.push(credentials));
  session.begin(login(0));
  await clock.pass((TTL_SECS - 60) * 1_000);
  expect(exchanged).toEqual(['refresh-0']);
  expect(heard.at(-1)?.accessToken).toBe('access-1');
});

it('exchanges a refresh token once, however many tabs want it', async () => {
  const [first, second] = [tab(), tab()];
  first.begin(login(0));
  await clock.pass((TTL_SECS - 61) * 1_000);
  const got = await Promise.all([first.token('access-0'), second.token('access-0'), second.token('access-0')]);
  expect(got).toEqual(['access-1', 'access-1', 'access-1']);
  expect(exchanged).toEqual(['refresh-0']);
});

it('ends the session when the refresh token is refused', async () => {
  const session = tab();
  session.begin(login(0));
  failure = new Refused(ErrorCode.RefreshReused, 'reused');
  expect(await session.token('access-0')).toBeUndefined();
  expect(session.credentials).toBeUndefined();
});

it('keeps the session, and the token as long as it lasts, when accounts are away', async () => {
  const session = tab();
  session.begin(login(0));
  failure = new Refused(ErrorCode.DatabaseUnavailable, 'down');
  await clock.pass((TTL_SECS - 30) * 1_000);
  expect(await session.token()).toBe('access-0');
  await clock.pass(30_000);
  await expect(session.token()).rejects.toBe(failure);
  failure = new Unanswered();
  await expect(session.token()).rejects.toBe(failure);
  expect(session.credentials?.refreshToken).toBe('refresh-0');
  failure = undefined;
  await clock.pass(RENEW_RETRY_MS);
  await settled();
  expect(session.credentials?.accessToken).toMatch(/^access-\d+$/);
  expect(session.credentials?.accessToken).not.toBe('access-0');
});

/** The client library without a page: people who come, go and are reloaded while fronts die, see chaos/client.ts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startProduct } from './product.mjs';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const PEOPLE = 4;
/** Deaths of a front, one after the other. */
const DEATHS = 6;

/** @type {import('./product.mjs').Product} */
let product;
/** @type {string} */
let histories;
/** @type {import('node:child_process').ChildProcess | undefined} */
let client;

before(async () => {
  product = await startProduct();
  histories = await mkdtemp(join(tmpdir(), 'natterjack-histories-'));
});
after(async () => {
  client?.kill();
  await product?.stop();
  await rm(histories, { recursive: true, force: true });
});

/** @param {string} path @param {object} body @param {string} [token] */
async function post(path, body, token) {
  const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(product.fronts[0].origin + path, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

/** Every line of every history. */
async function recorded() {
  const texts = await Promise.all((await readdir(histories)).map((file) => readFile(join(histories, file), 'utf8')));
  return texts.flatMap((text) => text.split('\n').filter(Boolean).map((line) => JSON.parse(line)));
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('what people say is shown to everybody once and in one order, whatever dies meanwhile', { timeout: 180_000 }, async () => {
  const password = 'a long secret';
  const names = Array.from({ length: PEOPLE }, (_, index) => `person${index}`);
  const logins = await Promise.all(names.map((username) => post('/v1/auth/register', { username, password })));
  /** @type {string[]} */
  const rooms = [];
  for (const name of ['Pond', 'Marsh']) {
    rooms.push((await post('/v1/rooms', { name, visibility: 'public' }, logins[0].access_token)).room);
  }
  const crowd = spawn('npm', ['run', '--silent', 'chaos'], { cwd: WEB, stdio: ['pipe', 'pipe', 'inherit'] });
  client = crowd;
  const ended = new Promise((resolve) => crowd.once('close', resolve));
  const answers = createInterface({ input: crowd.stdout })[Symbol.asyncIterator]();
  const say = (/** @type {string} */ line) => crowd.stdin.write(`${line}\n`);
  say(
    JSON.stringify({
      fronts: product.fronts.map(({ origin }) => origin),
      began: Date.now(),
      histories,
      seed: 1,
      pause_ms: [20, 200],
      accounts: names.map((login) => ({ login, password, rooms })),
    }),
  );
  for (let death = 0; death < DEATHS; death++) {
    const acked = async () => (await recorded()).filter((line) => line.do === 'ack').length;
    for (const enough = (await acked()) + 30; (await acked()) < enough; ) await pause(100);
    const front = product.fronts[death % 2];
    await front?.kill();
    await pause(500);
    await front?.revive();
  }
  say('settle');
  assert.equal((await answers.next()).value, 'settled');
  const lines = await recorded();
  /** @type {Record<string, number>} */
  const heads = {};
  for (const { do: what, room, seq } of lines) if (what === 'ack') heads[room] = Math.max(heads[room] ?? 0, seq);
  say(`read ${JSON.stringify(heads)}`);
  assert.equal((await answers.next()).value, 'read');
  crowd.stdin.end();
  const { said, faults } = JSON.parse((await answers.next()).value);
  assert.deepEqual(faults, []);
  assert.equal(await ended, 0);
  assert.ok(said >= 30 * DEATHS, `${said} messages`);
  for (const what of ['open', 'close', 'sub', 'subbed', 'send', 'ack', 'receive', 'joined', 'quit']) {
    assert.ok(lines.some((line) => line.do === what), `nobody noted ${what}`);
  }
});

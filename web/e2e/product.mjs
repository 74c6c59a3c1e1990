/** The real product for a test run: `natterjack up` with two fronts, and before each front a proxy of ours. */
import { spawn } from 'node:child_process';
import { access, mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const BINARY = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/natterjack');
const WEB = join(ROOT, 'web/dist');
/** Streams that the log is spread over. */
const STREAMS = process.env.E2E_STREAMS ?? '1';
const STARTED_WITHIN_MS = 120_000;

/** Stands before a front, so that a test can take the front away from its browsers. */
export class Proxy {
  /** @type {Set<net.Socket>} */
  #sockets = new Set();
  #server = net.createServer((client) => this.#serve(client));
  port = 0;
  /** The front's port. */
  target = 0;
  /** Whether new WebSockets are refused, while REST and files go on. */
  refusesSockets = false;
  /** @type {Set<net.Socket>} */
  #webSockets = new Set();

  /** @param {number} port */
  async listen(port) {
    await /** @type {Promise<void>} */ (
      new Promise((resolve, reject) => {
        this.#server.once('error', reject).listen(port, '127.0.0.1', () => resolve());
      })
    );
    this.port = /** @type {net.AddressInfo} */ (this.#server.address()).port;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  get socketOrigin() {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Like the death of the front: connections break, new ones are refused. */
  async kill() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Cuts every WebSocket and lets none in until `refusesSockets` is false again. */
  hangUp() {
    this.refusesSockets = true;
    for (const socket of this.#webSockets) socket.destroy();
  }

  async revive() {
    await this.listen(this.port);
  }

  /** @param {net.Socket} client */
  #serve(client) {
    const front = net.connect(this.target, '127.0.0.1');
    client.once('data', (head) => {
      if (!head.toString('latin1').startsWith('GET /v1/ws')) return;
      if (this.refusesSockets) client.destroy();
      this.#webSockets.add(client);
      client.once('close', () => this.#webSockets.delete(client));
    });
    for (const [from, to] of [[client, front], [front, client]]) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}

/**
 * @typedef {object} Product
 * @property {[Proxy, Proxy]} fronts
 * @property {(index: number) => Promise<Proxy>} another Another way to a front, for one browser alone.
 * @property {() => Promise<void>} stop
 */

/** @returns {Promise<Product>} */
export async function startProduct() {
  await access(BINARY).catch(() => {
    throw new Error(`${BINARY} is missing: cargo build -p natterjack`);
  });
  await access(join(WEB, 'index.html')).catch(() => {
    throw new Error(`${WEB} is missing: npm run build`);
  });
  /** @type {[Proxy, Proxy]} */
  const fronts = [new Proxy(), new Proxy()];
  for (const front of fronts) await front.listen(0);
  const data = await mkdtemp(join(tmpdir(), 'natterjack-e2e-'));
  const up = spawn(BINARY, ['up', '--fronts', '2', '--data', data, '--streams', STREAMS, '--no-demo'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NATTERJACK_WEB_DIR: WEB,
      NATTERJACK_CORS_ORIGINS: fronts.map(({ origin }) => origin).join(','),
      NATTERJACK_AUTH_PER_MINUTE: '10000',
      NATTERJACK_PASSWORDS_PER_MINUTE: '10000',
      NATTERJACK_REGISTRATIONS_PER_HOUR: '10000',
    },
  });
  /** @type {Proxy[]} */
  const others = [];
  const another = async (/** @type {number} */ index) => {
    const proxy = new Proxy();
    proxy.target = fronts[index]?.target ?? 0;
    await proxy.listen(0);
    others.push(proxy);
    return proxy;
  };
  const ended = new Promise((resolve) => up.once('close', resolve));
  const stop = async () => {
    up.kill('SIGINT');
    await ended;
    for (const front of [...fronts, ...others]) await front.kill().catch(() => {});
    await rm(data, { recursive: true, force: true });
  };
  try {
    const ports = await announcedPorts(up);
    fronts.forEach((front, index) => (front.target = ports[index] ?? 0));
  } catch (error) {
    await stop();
    throw error;
  }
  return { fronts, another, stop };
}

/**
 * @param {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, import('node:stream').Readable>} up
 * @returns {Promise<number[]>}
 */
function announcedPorts(up) {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`not up in time:\n${said}`)), STARTED_WITHIN_MS);
    const heard = (/** @type {Buffer} */ chunk) => {
      said += chunk;
      const ports = [...said.matchAll(/^\s*open\s+http:\/\/127\.0\.0\.1:(\d+)$/gm)].map((match) => Number(match[1]));
      if (ports.length < 2 || !/^\s*stop\s/m.test(said)) return;
      clearTimeout(timer);
      resolve(ports);
    };
    up.stdout.on('data', heard);
    up.stderr.on('data', heard);
    up.once('close', (code) => {
      clearTimeout(timer);
      reject(new Error(`natterjack up ended with ${code}:\n${said}`));
    });
  });
}

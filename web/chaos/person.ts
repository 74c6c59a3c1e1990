/**
 * One person with the product's own client library, as the page has it: a `Chat` over a vault, a session, the REST interface.
 * It says things, also while it is offline, loses its connection, and is reloaded: a new `Chat` over the same vault, of which
 * the old one's timers and writes never know.
 */
import { Api } from '../src/api/client';
import { Session } from '../src/api/session';
import type { Message } from '../src/api/schema.gen';
import type { Clock } from '../src/protocol/clock';
import { isTransient } from '../src/protocol/errors';
import { Chat } from '../src/store/chat';
import { IndexedVault, type Vault } from '../src/store/vault';
import { History, RecordedSocket } from './history';
import { pause, until } from './pause';

export interface Account {
  login: string;
  password: string;
  /** Rooms to be a member of: private ones that it was added to, public ones that it joins. */
  rooms: string[];
}

export interface Run {
  /** Origins of fronts. */
  fronts: string[];
  /** When the run began, in milliseconds since 1970. */
  began: number;
  /** A folder; every view of the chat writes a file. */
  histories: string;
  /** Between what a client does: at least, at most. */
  pause_ms: [number, number];
}

const CLOSE_AUTHENTICATION = 4501;
const RETRY_MS = 200;
/** Messages that wait for their answer, beyond which nothing is said. */
const UNSETTLED_MAX = 20;

/** What ends with a page: its timers, its writes. */
class Page {
  #timers = new Set<NodeJS.Timeout>();
  over = false;

  constructor(private readonly random: () => number) {}

  end(): void {
    this.over = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  clock(): Clock {
    return {
      now: () => Date.now(),
      after: (ms, run) => {
        if (this.over) return () => {};
        const timer = setTimeout(() => {
          this.#timers.delete(timer);
          run();
        }, ms);
        this.#timers.add(timer);
        return () => {
          this.#timers.delete(timer);
          clearTimeout(timer);
        };
      },
      random: this.random,
    };
  }

  vault(vault: Vault): Vault {
    const unless = (write: () => Promise<void>) => (this.over ? Promise.resolve() : write());
    return {
      load: () => vault.load(),
      saveRooms: (...all) => unless(() => vault.saveRooms(...all)),
      deleteRoom: (room) => unless(() => vault.deleteRoom(room)),
      saveEntry: (entry) => unless(() => vault.saveEntry(entry)),
      deleteEntry: (cid) => unless(() => vault.deleteEntry(cid)),
    };
  }
}

export class Person {
  #api: Api;
  #session: Session;
  #page: Page;
  #chat!: Chat;
  #history!: History;
  #socket: RecordedSocket | undefined;
  #reloads = 0;
  #offline = false;
  #said: { room: string; body: string }[] = [];
  #vault!: IndexedVault;
  #user = '';

  constructor(
    private readonly run: Run,
    private readonly account: Account,
    private readonly random: () => number,
  ) {
    this.#page = new Page(random);
    const stored = new Map<string, string>();
    let turn: Promise<unknown> = Promise.resolve();
    this.#session = new Session({
      clock: { now: () => Date.now(), after: () => () => {}, random },
      storage: {
        getItem: (key) => stored.get(key) ?? null,
        setItem: (key, value) => void stored.set(key, value),
        removeItem: (key) => void stored.delete(key),
      },
      exclusively: (_name, work) => {
        const mine = turn.then(work, work);
        turn = mine.catch(() => {});
        return mine;
      },
      exchange: (token) => this.#api.refresh(token),
    });
    this.#api = new Api({ origins: run.fronts, token: (refused) => this.#session.token(refused), fetch });
  }

  /** Logs in, joins its rooms, and begins to follow them. */
  async begin(): Promise<void> {
    await this.#logIn();
    this.#user = this.#session.credentials!.user;
    this.#vault = await IndexedVault.open(this.#user);
    await this.#load();
    for (const room of this.account.rooms) {
      if (!this.#chat.room(room)) await this.#insist(() => this.#chat.join(room));
    }
  }

  /** One thing that people do, and a while. */
  async act(): Promise<void> {
    const dice = this.random();
    if (dice < 0.8) this.#say();
    else if (dice < 0.86) this.#socket?.cut();
    else if (dice < 0.92) this.#turnOffline(!this.#offline);
    else if (dice < 0.95) await this.#reload();
    else this.#chat.open(this.#pick(this.account.rooms));
    const [least, most] = this.run.pause_ms;
    await pause(least + this.random() * (most - least));
  }

  /** Everything that was said has been answered for. */
  async settle(): Promise<void> {
    this.#turnOffline(false);
    await until(() => this.account.rooms.every((room) => this.#chat.outbox.entries(room).length === 0));
  }

  /** Everything up to these heads has been applied. */
  async read(heads: Record<string, number>): Promise<void> {
    for (const room of this.account.rooms) await until(async () => (await this.#reached(room)) >= (heads[room] ?? 0));
  }

  /** What is shown that is not so: each room page by page to its beginning, against what REST tells. */
  async faults(): Promise<string[]> {
    const faults: string[] = [];
    for (const room of this.account.rooms) {
      const shown = await this.#shown(room);
      const stored = await this.#insist(() => this.#stored(room));
      const told = stored.map(({ id, body }) => `${id} ${body ?? ''}`);
      const differs = told.findIndex((line, index) => line !== shown[index]);
      if (differs >= 0 || shown.length !== told.length) {
        faults.push(`${this.#history.client} shows ${shown.length} of ${told.length} in ${room}, and ${shown[differs]} for ${told[differs]}`);
      }
      for (const said of this.#said.filter((said) => said.room === room)) {
        const times = stored.filter(({ author, body }) => author === this.#user && body === said.body).length;
        if (times !== 1) faults.push(`${this.#history.client}: ${JSON.stringify(said.body)} is there ${times} times`);
      }
    }
    return faults;
  }

  get said(): number {
    return this.#said.length;
  }

  async end(): Promise<void> {
    await this.#chat.stop();
    this.#page.end();
  }

  #say(): void {
    const room = this.#pick(this.account.rooms);
    if (!room || !this.#chat.room(room) || this.#chat.outbox.entries(room).length >= UNSETTLED_MAX) return;
    const body = `${this.#said.length + 1} of ${this.account.login} ${'ä'.repeat(Math.floor(this.random() * 50))}.`;
    this.#said.push({ room, body });
    this.#chat.say({ t: 'send', room, body });
  }

  #turnOffline(offline: boolean): void {
    if (this.#offline === offline) return;
    this.#offline = offline;
    if (offline) this.#chat.connection.networkLost();
    else this.#chat.connection.nudge();
  }

  /** The page is gone at once, whatever it was about to write down. Its words to the vault were under way. */
  async #reload(): Promise<void> {
    this.#page.end();
    this.#chat.connection.stop();
    this.#history.note('quit');
    this.#page = new Page(this.random);
    this.#offline = false;
    await this.#load();
  }

  async #load(): Promise<void> {
    this.#reloads += 1;
    const counted = new Set<string>();
    const history = new History(this.run.histories, `${this.account.login}-${this.#reloads}`, this.run.began);
    const join = async (room: string) => {
      const changed = await this.#api.join(room);
      history.note('joined', { room, seq: changed.position.seq });
      return changed;
    };
    const chat = new Chat({
      user: this.#user,
      clock: this.#page.clock(),
      api: joining(this.#api, join),
      vault: this.#page.vault(this.#vault),
      sockets: this.run.fronts.map((front) => `${front.replace(/^http/, 'ws')}/v1/ws`),
      openSocket: (url) => (this.#socket = new RecordedSocket(url, history, counted)),
      token: (fresh) => this.#session.token(fresh ? this.#session.credentials?.accessToken : undefined),
    });
    this.#history = history;
    this.#chat = chat;
    chat.observe(() => {
      const { state } = chat.connection;
      if (state.kind === 'stopped' && state.code === CLOSE_AUTHENTICATION) void this.#logInAgain(chat);
    });
    await chat.start();
  }

  async #logIn(): Promise<void> {
    const { login, password } = this.account;
    this.#session.begin(await this.#insist(() => this.#api.login({ login, password })));
  }

  /** A refresh token whose answer was lost with its front is spent. */
  async #logInAgain(chat: Chat): Promise<void> {
    await this.#logIn();
    chat.connection.start();
  }

  /** The position up to which the library has applied the room's events, as it writes it down. */
  async #reached(room: string): Promise<number> {
    await this.#chat.save();
    const { rooms } = await this.#vault.load();
    return rooms.find(({ id }) => id === room)?.position.seq ?? -1;
  }

  async #shown(room: string): Promise<string[]> {
    this.#chat.open(room);
    await until(async () => {
      while (!this.#chat.isComplete(room) && this.#chat.paging(room) !== 'loading') {
        await this.#chat.loadOlder(room);
        if (this.#chat.paging(room) === 'failed') break;
      }
      return this.#chat.isComplete(room);
    });
    return this.#chat.lines(room).map(({ id, body, delivery }) => `${id} ${body ?? ''}${delivery.kind === 'sent' ? '' : ` (${delivery.kind})`}`);
  }

  async #stored(room: string): Promise<Message[]> {
    const found: Message[][] = [];
    const reached = await this.#reached(room);
    let cursor: string | undefined;
    do {
      const page = await this.#api.messages(room, { limit: 200, at_least: reached, ...(cursor !== undefined && { cursor }) });
      found.unshift(page.items);
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
    return found.flat();
  }

  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!isTransient(error)) throw error;
        await pause(RETRY_MS);
      }
    }
  }

  #pick<T>(of: readonly T[]): T | undefined {
    return of[Math.floor(this.random() * of.length)];
  }
}

/** The interface with a `join` of one's own. */
function joining(api: Api, join: Api['join']): Api {
  return new Proxy(api, {
    get: (target, name) => {
      if (name === 'join') return join;
      const method: unknown = Reflect.get(target, name);
      return typeof method === 'function' ? method.bind(target) : method;
    },
  });
}

/** Who is logged in in this browser, and the chat that goes with it. */
import { Api } from '../api/client';
import { type Fronts, readFronts } from '../api/fronts';
import type { LoginResponse } from '../api/schema.gen';
import { Session } from '../api/session';
import { systemClock } from '../protocol/clock';
import { Chat } from '../store/chat';
import { ForgetfulVault, IndexedVault, type Vault } from '../store/vault';
import { Live } from './live.svelte';

const SUBPROTOCOL = 'natterjack.v1';

export class App {
  readonly api: Api;
  readonly #fronts: Fronts;
  readonly #session: Session;
  #user: string | undefined;
  #chat = $state.raw<Live<Chat> | undefined>();
  /** The session ended without the person's doing. */
  #expelled = $state(false);
  #leaving = false;
  username = $state('');

  constructor() {
    this.#fronts = readFronts(new URL(location.href), sessionStorage);
    this.api = new Api({
      origins: this.#fronts.origins,
      token: (refused) => this.#session.token(refused),
      fetch: (input, init) => fetch(input, init),
    });
    this.#session = new Session({
      clock: systemClock,
      storage: localStorage,
      // Web Locks are there on secure origins only; elsewhere two tabs may race, which costs a login at worst.
      exclusively: async (name, work) => (navigator.locks ? await navigator.locks.request(name, work) : await work()),
      exchange: (token) => this.api.refresh(token),
    });
    this.#session.listen(() => this.#sessionChanged());
    addEventListener('storage', (event) => this.#session.storageChanged(event.key));
    this.#watchPage();
    this.#session.keepFresh();
    this.#sessionChanged();
  }

  get chat(): Live<Chat> | undefined {
    return this.#chat;
  }

  get expelled(): boolean {
    return this.#expelled;
  }

  async logIn(login: string, password: string): Promise<void> {
    this.#begin(await this.api.login({ login, password }));
  }

  async register(username: string, email: string, password: string): Promise<void> {
    this.#begin(await this.api.register({ username, password, ...(email && { email }) }));
  }

  async logOut(): Promise<void> {
    this.#leaving = true;
    await this.api.logout().catch(() => {}); // the tokens are forgotten in any case
    this.#session.end();
    this.#leaving = false;
  }

  #begin(login: LoginResponse): void {
    this.#expelled = false;
    this.#session.begin(login);
  }

  /** A login, a renewal or a logout, in this tab or another. */
  #sessionChanged(): void {
    const now = this.#session.credentials;
    if (now?.user === this.#user) {
      if (now) this.#renewed(now.accessToken);
      return;
    }
    const left = this.#user;
    const chat = this.#chat?.store;
    this.#user = now?.user;
    this.username = now?.username ?? '';
    this.#chat = undefined;
    if (left !== undefined) void this.#forget(left, chat);
    this.#expelled = left !== undefined && !now && !this.#leaving;
    if (now) void this.#start(now.user);
  }

  async #start(user: string): Promise<void> {
    const vault: Vault = await IndexedVault.open(user).catch(() => new ForgetfulVault());
    if (this.#user !== user) return;
    const chat = new Chat({
      user,
      clock: systemClock,
      api: this.api,
      vault,
      drafts: sessionStorage,
      sockets: this.#fronts.sockets,
      openSocket: (url) => new WebSocket(url, SUBPROTOCOL) as never,
      token: (fresh) => this.#session.token(fresh ? this.#session.credentials?.accessToken : undefined),
    });
    chat.observe(() => {
      const { state } = chat.connection;
      if (state.kind === 'stopped' && state.code === 4501 && this.#user === user) this.#session.end();
    });
    await chat.start();
    if (this.#user === user) this.#chat = new Live(chat);
    else void chat.stop();
  }

  async #forget(user: string, chat: Chat | undefined): Promise<void> {
    chat?.connection.stop();
    chat?.drafts.clear();
    await IndexedVault.erase(user).catch(() => {});
  }

  /** The socket goes on with the renewed token. */
  #renewed(token: string): void {
    const chat = this.#chat?.store;
    if (chat?.connection.state.kind === 'online') chat.connection.request({ t: 'auth', token }).catch(() => {});
  }

  #watchPage(): void {
    const chat = () => this.#chat?.store;
    addEventListener('online', () => chat()?.connection.nudge());
    addEventListener('offline', () => chat()?.connection.networkLost());
    addEventListener('pagehide', () => void chat()?.save());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'hidden') void chat()?.save();
      else chat()?.connection.nudge();
    });
  }
}

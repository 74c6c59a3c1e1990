/** The REST interface, typed by `docs/openapi.json`. Rejects with `Refused` or `Unanswered`. */
import createClient from 'openapi-fetch';
import { Refused, Unanswered } from '../protocol/errors';
import { newClientId } from '../protocol/ids';
import type {
  CreateRoomRequest,
  LoginRequest,
  LoginResponse,
  MessageList,
  Person,
  PersonList,
  Problem,
  RegisterRequest,
  RoomChanged,
  RoomList,
  RoomSummary,
  paths,
} from './schema.gen';

export interface ApiPort {
  /** Origins of fronts, first choice first. */
  origins: readonly string[];
  /** See `Session.token`. */
  token(refused?: string): Promise<string | undefined>;
  fetch: typeof fetch;
}

type Outcome<T> = { data?: T; error?: unknown; response: Response };

export interface PageQuery {
  cursor?: string;
  limit?: number;
  at_least?: number;
}

export class Api {
  #front = 0;
  #client = createClient<paths>({ baseUrl: 'http://front', fetch: (request) => this.#fetch(request) });

  constructor(private readonly port: ApiPort) {}

  register(body: RegisterRequest): Promise<LoginResponse> {
    return done(this.#client.POST('/v1/auth/register', { body }));
  }

  login(body: LoginRequest): Promise<LoginResponse> {
    return done(this.#client.POST('/v1/auth/login', { body }));
  }

  refresh(refreshToken: string): Promise<LoginResponse> {
    return done(this.#client.POST('/v1/auth/refresh', { body: { refresh_token: refreshToken } }));
  }

  async logout(): Promise<void> {
    await done(this.#client.POST('/v1/auth/logout', { parseAs: 'text' }));
  }

  people(q: string): Promise<PersonList> {
    return done(this.#client.GET('/v1/users', { params: { query: { q, limit: 20 } } }));
  }

  person(user: string): Promise<Person> {
    return done(this.#client.GET('/v1/users/{user}', { params: { path: { user } } }));
  }

  createRoom(body: CreateRoomRequest): Promise<RoomChanged> {
    const params = { header: { 'Idempotency-Key': newClientId() } };
    return done(this.#client.POST('/v1/rooms', { params, body }));
  }

  /** One page of my rooms. */
  rooms(query: { cursor?: string; limit?: number }): Promise<RoomList> {
    return done(this.#client.GET('/v1/rooms', { params: { query } }));
  }

  publicRooms(q: string, cursor?: string): Promise<RoomList> {
    const query = { q, limit: 50, ...(cursor !== undefined && { cursor }) };
    return done(this.#client.GET('/v1/rooms/public', { params: { query } }));
  }

  room(room: string, atLeast?: number): Promise<RoomSummary> {
    const query = atLeast === undefined ? {} : { at_least: atLeast };
    return done(this.#client.GET('/v1/rooms/{room}', { params: { path: { room }, query } }));
  }

  join(room: string): Promise<RoomChanged> {
    return done(this.#client.POST('/v1/rooms/{room}/join', { params: { path: { room } } }));
  }

  leave(room: string): Promise<RoomChanged> {
    return done(this.#client.POST('/v1/rooms/{room}/leave', { params: { path: { room } } }));
  }

  members(room: string, query: PageQuery): Promise<PersonList> {
    return done(this.#client.GET('/v1/rooms/{room}/members', { params: { path: { room }, query } }));
  }

  addMember(room: string, user: string): Promise<RoomChanged> {
    return done(this.#client.POST('/v1/rooms/{room}/members', { params: { path: { room } }, body: { user } }));
  }

  messages(room: string, query: PageQuery): Promise<MessageList> {
    return done(this.#client.GET('/v1/rooms/{room}/messages', { params: { path: { room }, query } }));
  }

  /** Asks one front after the other; an access token that ran out is renewed once. */
  async #fetch(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const body = request.body ? await request.text() : undefined;
    const path = pathname + search;
    const open = /^\/v1\/auth\/(register|login|refresh)$/.test(pathname);
    const token = open ? undefined : await this.port.token();
    const response = await this.#ask(path, request, body, token);
    if (response.status !== 401 || !token) return response;
    const renewed = await this.port.token(token);
    return renewed ? this.#ask(path, request, body, renewed) : response;
  }

  async #ask(path: string, request: Request, body: string | undefined, token: string | undefined): Promise<Response> {
    const headers = new Headers(request.headers);
    if (token) headers.set('Authorization', `Bearer ${token}`);
    const { origins } = this.port;
    for (let tries = 0; tries < origins.length; tries++) {
      const origin = origins[this.#front % origins.length]!;
      try {
        return await this.port.fetch(origin + path, { method: request.method, headers, ...(body !== undefined && { body }) });
      } catch {
        this.#front = (this.#front + 1) % origins.length;
      }
    }
    throw new Unanswered('no front answers');
  }
}

async function done<T>(work: Promise<Outcome<T>>): Promise<T> {
  const { data, error, response } = await work;
  if (response.ok) return data as T;
  const problem = (typeof error === 'object' && error !== null ? error : {}) as Partial<Problem>;
  const title = problem.title ?? `HTTP ${response.status}`;
  if (problem.code === undefined && response.status >= 500) throw new Unanswered(title);
  throw new Refused(problem.code ?? 0, title, problem.detail ?? undefined, problem.retry_ms ?? undefined);
}

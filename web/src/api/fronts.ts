/**
 * Where the fronts are. Usually there is one address, the page's own, with a load balancer behind it. In
 * development and in tests `?fronts=ws://127.0.0.1:1,ws://127.0.0.1:2` names several; the tab remembers them.
 */
export interface Fronts {
  /** WebSocket addresses, first choice first. */
  sockets: string[];
  /** Origins that serve REST, first choice first. */
  origins: string[];
}

const KEY = 'natterjack.fronts';

export function readFronts(page: URL, memory: Pick<Storage, 'getItem' | 'setItem'>): Fronts {
  const named = page.searchParams.get('fronts');
  if (named !== null) memory.setItem(KEY, named);
  const own = webSocketOrigin(page);
  const listed = (named ?? memory.getItem(KEY) ?? '').split(',').filter((text) => isTrusted(text, page));
  const all = listed.length ? [...new Set(listed.map((text) => new URL(text).origin.replace(/^http/, 'ws')))] : [own];
  return {
    sockets: all.map((origin) => `${origin}/v1/ws`),
    origins: [...new Set([page.origin, ...all.map((origin) => origin.replace(/^ws/, 'http'))])],
  };
}

function webSocketOrigin(page: URL): string {
  return page.origin.replace(/^http/, 'ws');
}

/** The access token goes to every front: a link must not be able to name a stranger's. */
function isTrusted(text: string, page: URL): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const known = url.hostname === page.hostname || (isLoopback(url.hostname) && isLoopback(page.hostname));
  const encrypted = url.protocol === 'wss:' || page.protocol === 'http:';
  return known && encrypted && ['ws:', 'wss:'].includes(url.protocol);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

import { expect, it } from 'vitest';
import { readFronts } from './fronts';

function memory(start?: string) {
  let value = start ?? null;
  return { getItem: () => value, setItem: (_key: string, next: string) => void (value = next) };
}

it('is the page itself when nothing else is said', () => {
  expect(readFronts(new URL('https://chat.example/r'), memory())).toEqual({
    sockets: ['wss://chat.example/v1/ws'],
    origins: ['https://chat.example'],
  });
});

it('is what the address names, and stays so in the tab', () => {
  const tab = memory();
  const both = {
    sockets: ['ws://127.0.0.1:2/v1/ws', 'ws://127.0.0.1:1/v1/ws'],
    origins: ['http://127.0.0.1:1', 'http://127.0.0.1:2'],
  };
  expect(readFronts(new URL('http://127.0.0.1:1/?fronts=ws://127.0.0.1:2,ws://127.0.0.1:1'), tab)).toEqual(both);
  expect(readFronts(new URL('http://127.0.0.1:1/'), tab)).toEqual(both);
});

it.each([
  ['http://127.0.0.1:1/?fronts=wss://evil.example', 'ws://127.0.0.1:1/v1/ws'],
  ['https://chat.example/?fronts=wss://evil.example,ws://127.0.0.1:1,nonsense', 'wss://chat.example/v1/ws'],
  ['https://chat.example/?fronts=ws://chat.example:99', 'wss://chat.example/v1/ws'],
])('does not hand the token to a stranger: %s', (page, socket) => {
  expect(readFronts(new URL(page), memory()).sockets).toEqual([socket]);
});

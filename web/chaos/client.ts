/**
 * The product's own client library as clients of a chaos run, under Node:
 *
 *     npm run --silent chaos
 *
 * Its input is lines. The first is a JSON object, `Run` with `seed` and `accounts` (see `person.ts`), and everybody begins to chat; then
 *
 *     settle              nobody says anything new; answered by `settled` when all that was said is answered for
 *     read {room: seq}    answered by `read` when everybody has applied everything up to these heads
 *
 * and at its end everybody compares what is shown with what REST tells, and leaves. The last line of the output is
 * `{"said": …, "faults": […]}`; the exit code tells whether there are faults.
 */
import 'fake-indexeddb/auto';
import { createInterface } from 'node:readline';
import { type Account, Person, type Run } from './person';

interface Begin extends Run {
  seed: number;
  accounts: Account[];
}

/** Uniform in [0, 1): mulberry32. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { accounts, seed, ...run } = JSON.parse((await lines.next()).value ?? '') as Begin;
const people = accounts.map((account, index) => new Person(run, account, seeded(seed * 1_000 + index)));
const all = <T>(act: (person: Person) => Promise<T>): Promise<T[]> => Promise.all(people.map(act));

let chatting = true;
const acting = all(async (person) => {
  await person.begin();
  while (chatting) await person.act();
});

async function settle(): Promise<void> {
  chatting = false;
  await acting;
  await all((person) => person.settle());
}

const commands: Record<string, (rest: string) => Promise<string>> = {
  settle: async () => {
    await settle();
    return 'settled';
  },
  read: async (rest) => {
    const heads = JSON.parse(rest) as Record<string, number>;
    await all((person) => person.read(heads));
    return 'read';
  },
};

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  const [command = '', rest = ''] = line.value.split(/ (.*)/);
  console.log(await (commands[command] ?? (async () => `what is ${command}?`))(rest));
}
await settle();
const faults = (await all((person) => person.faults())).flat();
await all((person) => person.end());
console.log(JSON.stringify({ said: people.reduce((sum, { said }) => sum + said, 0), faults }));
process.exit(faults.length === 0 ? 0 : 1);

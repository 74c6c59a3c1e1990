import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Person } from './person.mjs';
import { startProduct } from './product.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** @type {Awaited<ReturnType<typeof startProduct>>} */
let product;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Person[]} */
let people = [];

before(async () => {
  product = await startProduct();
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
});

after(async () => {
  await browser?.close();
  await product?.stop();
});

afterEach(async () => {
  const complaints = people.flatMap((person) => person.complaints);
  await Promise.all(people.map((person) => person.leave()));
  people = [];
  assert.deepEqual(complaints, []);
});

/**
 * A person at the front `first` (0 or 1), who may go on at the other.
 * @param {string} name
 * @param {number} first
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
async function arrives(name, first, options) {
  const [one, two] = product.fronts;
  const person = await Person.arrive(browser, name, first === 0 ? [one, two] : [two, one], options);
  people.push(person);
  return person;
}

/**
 * Two people on two fronts in one room.
 * @param {string} tag
 */
async function pair(tag) {
  const [anna, ben] = await Promise.all([arrives(`anna.${tag}`, 0), arrives(`ben.${tag}`, 1)]);
  await Promise.all([anna.register(), ben.register()]);
  await anna.createRoom(`Pond ${tag}`);
  await ben.join(`Pond ${tag}`);
  return { anna, ben, room: `Pond ${tag}` };
}

test('two people on two fronts chat both ways', async () => {
  const { anna, ben } = await pair('both');
  assert.notEqual(await anna.online(), await ben.online());
  await anna.say('Good evening');
  await ben.sees(['Good evening']);
  await ben.composer.pressSequentially('Hi');
  await anna.page.getByText('ben.both is typing…').waitFor();
  await ben.say('Hello from the other side');
  await ben.say('of the pond');
  const all = ['Good evening', 'Hello from the other side', 'of the pond'];
  await anna.sees(all);
  await ben.sees(all);
  await ben.settled();
  await anna.picture('chat-light');
});

test('who was offline has everything once and in order, on the other front', async () => {
  const { anna, ben } = await pair('away');
  await anna.say('before');
  await ben.sees(['before']);
  const from = await ben.online();

  await ben.context.setOffline(true);
  await ben.connection('waiting');
  const missed = Array.from({ length: 12 }, (_, i) => `missed ${i}`);
  for (const body of missed) await anna.say(body);
  await anna.settled();
  await ben.say('written while away');
  assert.equal(await ben.line('written while away').getAttribute('data-delivery'), 'sending');
  await ben.picture('offline');
  await ben.context.setOffline(false);

  assert.notEqual(await ben.online(), from);
  const all = ['before', ...missed, 'written while away'];
  await ben.sees(all);
  await anna.sees(all);
  await anna.say('welcome back');
  await ben.sees([...all, 'welcome back']);
});

test('a front that dies under its people is a blip', async () => {
  const { anna, ben } = await pair('blip');
  await anna.say('one');
  await ben.sees(['one']);
  const [front] = product.fronts;
  const other = await ben.online();
  await front.kill();
  try {
    await anna.online(/** @type {string} */ (other));
    await anna.say('two');
    await ben.say('three');
    await ben.sees(['one', 'two', 'three']);
    await anna.sees(['one', 'two', 'three']);
    // REST goes to the other front, too.
    await anna.createRoom('After the fall');
  } finally {
    await front.revive();
  }
});

test('a reload goes on where the page was', async () => {
  const { anna, ben: old, room } = await pair('reload');
  await old.leave();
  people.splice(people.indexOf(old), 1);
  const own = await product.another(1);
  const ben = await Person.arrive(browser, old.name, [own]);
  people.push(ben);
  await ben.logIn();
  await ben.open(room);
  await anna.say('seen');
  await ben.sees(['seen']);
  await ben.remembers('seen');

  own.hangUp();
  await ben.connection('waiting');
  await ben.say('pending');
  await anna.say('missed');
  await anna.settled();
  await ben.page.reload();
  // Not connected yet: what is shown is what the page remembers.
  await ben.sees(['seen', 'pending']);
  assert.equal(await ben.line('pending').getAttribute('data-delivery'), 'sending');
  await ben.picture('reloaded');
  own.refusesSockets = false;
  await ben.page.reload();
  await ben.online();
  await ben.sees(['seen', 'missed', 'pending']);
  await ben.settled();
  await anna.sees(['seen', 'missed', 'pending']);

  await ben.page.reload();
  await ben.online();
  await anna.say('and on');
  await ben.sees(['seen', 'missed', 'pending', 'and on']);
});

test('edits, recalls and replies show on the other side', async () => {
  const { anna, ben } = await pair('change');
  await anna.say('helo');
  await anna.say('a secret');
  await ben.sees(['helo', 'a secret']);

  await anna.line('helo').hover();
  await anna.line('helo').getByRole('button', { name: 'Edit' }).click();
  assert.equal(await anna.composer.inputValue(), 'helo');
  await anna.say('hello');
  await ben.sees(['hello (edited)', 'a secret']);

  await anna.line('a secret').hover();
  await anna.line('a secret').getByRole('button', { name: 'Recall' }).click();
  await anna.page.getByRole('dialog').getByRole('button', { name: 'Recall' }).click();
  await ben.sees(['hello (edited)', 'This message was recalled']);

  await ben.line('hello').hover();
  await ben.line('hello').getByRole('button', { name: 'Reply' }).click();
  await ben.say('hello to you');
  await anna.line('hello to you').locator('.quote', { hasText: 'hello' }).waitFor();
  await anna.sees(['hello (edited)', 'This message was recalled', 'hello to you']);
  await anna.picture('changed');
});

test('history pages back over 200 messages and stays where the reader is', async () => {
  const { anna, ben } = await pair('long');
  const all = Array.from({ length: 220 }, (_, i) => `message ${i}`);
  for (const body of all) await anna.say(body);
  await anna.settled();

  await ben.page.reload();
  await ben.online();
  await ben.line('message 219').waitFor();
  const { page } = ben;
  const viewport = page.locator('.viewport');
  for (;;) {
    // Where a line is on the screen before and after the page above it came in.
    const moved = await viewport.evaluate(async (element) => {
      element.scrollTop = 0;
      const lines = () => [...element.querySelectorAll('li[data-key]')];
      const count = lines().length;
      const line = /** @type {Element} */ (lines()[0]);
      const before = line.getBoundingClientRect().top;
      if (element.textContent?.includes('This is where it begins.')) return { done: true, by: 0 };
      await /** @type {Promise<void>} */ (
        new Promise((resolve) => {
          const watch = new MutationObserver(() => {
            if (lines().length === count) return;
            watch.disconnect();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve()));
          });
          watch.observe(element, { childList: true, subtree: true });
        })
      );
      return { done: false, by: Math.abs(line.getBoundingClientRect().top - before) };
    });
    if (moved.done) break;
    assert.ok(moved.by <= 1, `the reader's line moved by ${moved.by} px`);
  }
  await ben.sees(all);
  await page.getByRole('button', { name: 'Jump to latest' }).click();
  await anna.say('message 220');
  await ben.sees([...all, 'message 220']);
  await ben.line('message 220').waitFor({ state: 'visible' });
});

test('unread messages are counted, elsewhere and after a reload, until they are read', async () => {
  const { anna, ben, room } = await pair('unread');
  await ben.createRoom('Elsewhere');
  await anna.say('one');
  await anna.say('two');
  const badge = ben.page.locator('nav a', { hasText: room }).locator('.badge');
  await badge.getByText('2 unread messages').waitFor({ state: 'attached' });
  await ben.page.reload();
  await ben.online();
  await badge.getByText('2 unread messages').waitFor({ state: 'attached' });
  await ben.picture('unread');
  await ben.open(room);
  await ben.page.getByText('New messages').waitFor();
  await badge.waitFor({ state: 'detached' });

  // The mark is the person's, not the browser's.
  const phone = await arrives(ben.name, 0, { viewport: { width: 390, height: 760 } });
  await phone.logIn();
  await phone.page.locator('nav a', { hasText: room }).waitFor();
  await phone.page.locator('nav a', { hasText: room }).locator('.badge').waitFor({ state: 'detached' });
  await phone.picture('narrow-rooms');
  await phone.open(room);
  await phone.sees(['one', 'two']);
  await phone.picture('narrow-room');
  const entries = await phone.page.evaluate(() => history.length);
  await phone.page.getByRole('button', { name: 'Back to rooms' }).click();
  await phone.page.getByRole('heading', { name: 'Rooms', level: 1 }).waitFor();
  await phone.open(room);
  assert.equal(await phone.page.evaluate(() => history.length), entries);
});

test('a new account, links to nowhere, Back: nothing breaks', async () => {
  const anna = await arrives('anna.nowhere', 0);
  await anna.register();
  const { page } = anna;
  await page.getByText('You are in no room yet').waitFor();
  const go = (/** @type {string} */ hash) => page.evaluate((hash) => void (location.hash = hash), hash);
  await go('#0198c0de-0000-7000-8000-000000000001');
  await page.getByText('There is no such room, or it is private.').waitFor();
  await page.getByRole('button', { name: 'Back to rooms' }).click();
  await page.getByText('Pick a room').waitFor();

  const name = 'W'.repeat(80);
  await page.getByRole('button', { name: 'New room' }).first().click();
  await page.waitForFunction(() => document.activeElement?.matches('dialog input[type=text]'));
  await page.keyboard.press('Escape');
  await anna.createRoom('Old pond');
  await anna.say('here since long');
  await anna.settled();
  await anna.createRoom(name);
  await page.locator('nav li').first().getByText(name).waitFor();
  await page.getByRole('button', { name: /^Members/ }).click();
  await page.getByRole('button', { name: 'Leave room' }).click();
  const cancel = page.getByRole('dialog').getByRole('button', { name: 'Cancel' });
  const box = await cancel.boundingBox();
  const sheet = await page.getByRole('dialog').boundingBox();
  assert.ok(box && sheet && box.x + box.width <= sheet.x + sheet.width, 'the buttons are inside');
  await cancel.click();

  // Each leaves a pane whose composer has the focus.
  for (const leave of [() => page.goBack(), () => go(''), () => go('#nowhere')]) {
    await anna.open('Old pond');
    await anna.composer.pressSequentially('x');
    await leave();
    await page.locator('nav a', { hasText: 'Old pond' }).and(page.locator(':not([aria-current])')).waitFor();
  }
  // The draft is there after a reload, and not for the next person.
  await anna.open('Old pond');
  await page.reload();
  await anna.online();
  assert.equal(await anna.composer.inputValue(), 'xxx');
  const url = page.url();
  await page.getByRole('button', { name: 'Log out' }).click();
  anna.name = 'next.nowhere';
  await anna.register();
  await page.goto(url);
  await page.getByText('You are not in this room.').waitFor();
  await page.getByRole('button', { name: 'Join', exact: true }).click();
  await anna.sees(['here since long']);
  assert.equal(await anna.composer.inputValue(), '');
});

test('a logout in one tab leaves no error in another', async () => {
  const { anna } = await pair('tabs');
  const other = await anna.context.newPage();
  other.on('pageerror', (error) => anna.complaints.push(String(error)));
  await other.goto(anna.page.url());
  await other.locator('textarea').fill('half a thought');
  await anna.page.getByRole('button', { name: 'Log out' }).click();
  await other.locator('input[name=password]').waitFor();
});

test('a member adds a person to a private room, who sees it at once, and leaves it', async () => {
  const { anna, ben } = await pair('private');
  await anna.createRoom('Quiet corner', 'private');
  await anna.say('psst');
  await anna.page.getByRole('button', { name: /^Members/ }).click();
  await anna.page.getByRole('searchbox').fill('ben.private');
  await anna.page.getByRole('button', { name: 'Add ben.private' }).click();
  await anna.picture('members');
  await ben.open('Quiet corner');
  await ben.sees(['psst']);
  await ben.page.getByRole('button', { name: /^Members/ }).click();
  await ben.page.getByRole('button', { name: 'Leave room' }).click();
  await ben.page.getByRole('dialog').getByRole('button', { name: 'Leave room' }).click();
  await ben.page.locator('nav a', { hasText: 'Quiet corner' }).waitFor({ state: 'detached' });
});

test('everything that sending needs is on the keyboard', async () => {
  const { anna, ben } = await pair('keys');
  const { page } = anna;
  await anna.composer.focus();
  await page.keyboard.type('first');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('second line');
  await page.keyboard.press('Enter');
  await ben.sees(['first\nsecond line']);
  await anna.settled();
  // ↑ takes back the last one for an edit, Escape lets it be.
  await page.keyboard.press('ArrowUp');
  await page.getByText('Editing your message').waitFor();
  await page.keyboard.press('Escape');
  await page.getByText('Editing your message').waitFor({ state: 'detached' });
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('better');
  await page.keyboard.press('Enter');
  await ben.sees(['better (edited)']);
  // An input method's Enter is its own.
  await page.keyboard.type('ni hao');
  await anna.composer.dispatchEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true });
  await anna.composer.dispatchEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true });
  assert.equal(await anna.composer.inputValue(), 'ni hao');
  await page.keyboard.press('Enter');
  await ben.sees(['better (edited)', 'ni hao']);
  // From the composer backwards: the last message, its actions by Tab, other messages by arrows.
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Shift+Tab');
  const focused = () => page.evaluate(() => document.activeElement?.closest('li[data-key]')?.textContent ?? '');
  for (let i = 0; i < 6 && !(await page.evaluate(() => document.activeElement?.matches('li[data-key]'))); i++) {
    await page.keyboard.press('Shift+Tab');
  }
  assert.match(await focused(), /ni hao/);
  await page.keyboard.press('ArrowUp');
  assert.match(await focused(), /better/);
});

test('logging out forgets everything; a wrong password is told', async () => {
  const { anna } = await pair('out');
  await anna.say('mine');
  await anna.settled();
  await anna.page.getByRole('button', { name: 'Log out' }).click();
  await anna.page.locator('input[name=password]').waitFor();
  const databases = () => anna.page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
  await anna.page.waitForFunction(async () => (await indexedDB.databases()).length === 0);
  assert.deepEqual(await databases(), []);
  await anna.page.locator('input[name=username]').fill(anna.name);
  await anna.page.locator('input[name=password]').fill('wrong horse battery');
  await anna.page.locator('form button.primary').click();
  await anna.page.getByRole('alert').getByText('User name or password is wrong').waitFor();
  await anna.logIn();
  await anna.open('Pond out');
  await anna.sees(['mine']);
});

test('speaks Chinese and goes dark when the browser does', async () => {
  const { anna, ben, room } = await pair('zh');
  await anna.say('Good evening');
  await ben.say('Hello! It is a quiet night by the pond, and the toads are about to sing. Listen.');
  await anna.say('Listening…');
  await ben.sees(['Good evening', 'Hello! It is a quiet night by the pond, and the toads are about to sing. Listen.', 'Listening…']);
  const mei = await arrives('mei.zh', 0, { locale: 'zh-CN', colorScheme: 'dark' });
  await mei.picture('zh-dark-sign-in');
  await mei.register();
  const { page } = mei;
  await page.getByRole('button', { name: '查找房间' }).first().click();
  await page.getByRole('searchbox').fill(room);
  await page.getByRole('button', { name: `加入: ${room}` }).waitFor();
  await mei.picture('zh-dark-discover');
  await page.getByRole('button', { name: `加入: ${room}` }).click();
  await mei.say('晚上好，很高兴认识你们！');
  await anna.line('晚上好').waitFor();
  await mei.settled();
  await mei.picture('zh-dark');
  await page.getByLabel('语言').selectOption('en');
  await page.getByRole('heading', { name: 'Rooms', level: 1 }).waitFor();
  await page.emulateMedia({ colorScheme: 'light' });
  await mei.picture('en-light');
});

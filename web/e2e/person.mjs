/** One person in a browser of their own. */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {import('playwright-core').BrowserContextOptions} BrowserContextOptions */
/** @typedef {import('./product.mjs').Proxy} Proxy */

const ARTIFACTS = fileURLToPath(new URL('../../artifacts/e2e/', import.meta.url));
const LINES = 'li[data-key]';

export class Person {
  /** @type {string[]} What the page complained of. */
  complaints = [];

  /**
   * @param {string} name
   * @param {import('playwright-core').BrowserContext} context
   * @param {import('playwright-core').Page} page
   */
  constructor(name, context, page) {
    this.name = name;
    this.context = context;
    this.page = page;
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('console', (message) => {
      // A front that is gone on purpose shows as a failed request.
      if (message.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(message.text())) {
        this.complaints.push(message.text());
      }
    });
  }

  /**
   * Opens the client at the first of `fronts`; the others are where it may go on.
   * @param {Browser} browser
   * @param {string} name
   * @param {Proxy[]} fronts
   * @param {BrowserContextOptions} [options]
   */
  static async arrive(browser, name, fronts, options) {
    const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1100, height: 760 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    await page.goto(`${fronts[0]?.origin}/?fronts=${fronts.map(({ socketOrigin }) => socketOrigin).join(',')}`);
    return new Person(name, context, page);
  }

  async register() {
    const { page } = this;
    await page.getByRole('button', { name: /New here|还没有账号/ }).click();
    await page.locator('input[name=username]').fill(this.name);
    await page.locator('input[name=password]').fill('correct horse battery');
    await page.locator('form button.primary').click();
    await this.online();
  }

  async logIn() {
    await this.page.locator('input[name=username]').fill(this.name);
    await this.page.locator('input[name=password]').fill('correct horse battery');
    await this.page.locator('form button.primary').click();
    await this.online();
  }

  /** Waits until the page is connected, to `node` if that is given; gives the node. */
  async online(/** @type {string | undefined} */ node = undefined) {
    const selector = node ? `[data-state=online][data-node="${node}"]` : '[data-state=online]';
    const line = this.page.locator(selector);
    await line.waitFor({ state: 'attached' });
    return line.getAttribute('data-node');
  }

  /** @param {string} state */
  async connection(state) {
    await this.page.locator(`[data-state=${state}]`).waitFor({ state: 'attached' });
  }

  /** @param {string} name */
  async createRoom(name, visibility = 'public') {
    const { page } = this;
    await page.getByRole('button', { name: 'New room' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill(name);
    await dialog.locator(`input[value=${visibility}]`).check();
    await dialog.locator('button.primary').click();
    await page.getByRole('heading', { name, level: 2 }).waitFor();
  }

  /** @param {string} name */
  async join(name) {
    const { page } = this;
    await page.getByRole('button', { name: 'Find rooms' }).first().click();
    await page.getByRole('searchbox').fill(name);
    await page.getByRole('button', { name: `Join: ${name}` }).click();
    await page.getByRole('heading', { name, level: 2 }).waitFor();
  }

  /** @param {string} name */
  async open(name) {
    await this.page.locator('nav a', { hasText: name }).click();
    await this.page.getByRole('heading', { name, level: 2 }).waitFor();
  }

  get composer() {
    return this.page.locator('textarea');
  }

  /** @param {string} body */
  async say(body) {
    await this.composer.fill(body);
    await this.composer.press('Enter');
  }

  /** @param {string} body */
  line(body) {
    return this.page.locator(LINES).filter({ has: this.page.locator('.body', { hasText: body }) });
  }

  /** @returns {Promise<string[]>} */
  bodies() {
    return this.page.locator(`${LINES} .body`).allTextContents();
  }

  /**
   * Waits until exactly these are shown, each once and in this order.
   * @param {string[]} expected
   */
  async sees(expected) {
    const shown = (/** @type {{ lines: string, expected: string[] }} */ { lines, expected }) => {
      const bodies = [...document.querySelectorAll(`${lines} .body`)].map((body) => body.textContent);
      return bodies.length === expected.length && bodies.every((body, index) => body === expected[index]);
    };
    await this.page.waitForFunction(shown, { lines: LINES, expected }).catch(async () => {
      throw new Error(`${this.name} sees ${JSON.stringify(await this.bodies())}, not ${JSON.stringify(expected)}`);
    });
  }

  /** Waits until nothing is on its way any more. */
  async settled() {
    await this.page.locator(`${LINES}[data-delivery=sending]`).first().waitFor({ state: 'detached' });
  }

  /**
   * Waits until the page has written a message down, as it does a moment after it is shown.
   * @param {string} text
   */
  async remembers(text) {
    await this.page.waitForFunction(async (text) => {
      const names = (await indexedDB.databases()).map(({ name }) => name ?? '');
      const opening = indexedDB.open(names.find((name) => name.startsWith('natterjack-')) ?? '');
      const database = await /** @type {Promise<IDBDatabase>} */ (
        new Promise((resolve, reject) => {
          opening.onsuccess = () => resolve(opening.result);
          opening.onerror = () => reject(opening.error);
        })
      );
      const reading = database.transaction('rooms').objectStore('rooms').getAll();
      const rooms = await /** @type {Promise<any[]>} */ (new Promise((resolve) => (reading.onsuccess = () => resolve(reading.result))));
      database.close();
      // A room's newest message is known from the list of rooms before it comes.
      return rooms.some(({ timeline }) => timeline?.lines.some((/** @type {{ body?: string }} */ { body }) => body === text));
    }, text);
  }

  /** @param {string} name */
  async picture(name) {
    await mkdir(ARTIFACTS, { recursive: true });
    await this.page.screenshot({ path: `${ARTIFACTS}${name}.png` });
  }

  async leave() {
    await this.context.close();
  }
}

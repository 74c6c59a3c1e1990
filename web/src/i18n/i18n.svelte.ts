import { Refused } from '../protocol/errors';
import { type Texts, en } from './en';
import { zh } from './zh';

export type Language = 'en' | 'zh-CN';
export const LANGUAGES: readonly { id: Language; name: string }[] = [
  { id: 'en', name: 'English' },
  { id: 'zh-CN', name: '简体中文' },
];

const KEY = 'natterjack.language';
const TEXTS: Record<Language, Texts> = { en, 'zh-CN': zh };

class I18n {
  #language = $state<Language>(initial());
  #now = $state(Date.now());

  get language(): Language {
    return this.#language;
  }

  get texts(): Texts {
    return TEXTS[this.#language];
  }

  choose(language: Language): void {
    this.#language = language;
    localStorage.setItem(KEY, language);
    document.documentElement.lang = language;
  }

  /** Days turn over while the page is open. */
  dayMayHaveChanged(): void {
    this.#now = Date.now();
  }

  error(error: unknown): string {
    if (!(error instanceof Refused)) return this.texts.errors.unanswered;
    return this.errorByCode(error.code, error.detail ? `${error.title}: ${error.detail}` : error.title);
  }

  errorByCode(code: number, otherwise: string): string {
    return this.texts.errors.byCode[code] ?? otherwise;
  }

  /** Made once each: making one takes a hundred times as long as using it. */
  #format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
    const locale = regional(this.#language);
    const key = locale + JSON.stringify(options);
    let made = formatters.get(key);
    if (!made) formatters.set(key, (made = new Intl.DateTimeFormat(locale, options)));
    return made;
  }

  time(at: number): string {
    return this.#format({ timeStyle: 'short' }).format(at);
  }

  /** For the pointer that rests on a time. */
  moment(at: number): string {
    return this.#format({ dateStyle: 'full', timeStyle: 'medium' }).format(at);
  }

  day(at: number): string {
    const days = daysBetween(at, this.#now);
    if (days === 0) return this.texts.room.today;
    if (days === 1) return this.texts.room.yesterday;
    const sameYear = new Date(at).getFullYear() === new Date(this.#now).getFullYear();
    const year = sameYear ? {} : ({ year: 'numeric' } as const);
    return this.#format({ weekday: 'long', day: 'numeric', month: 'long', ...year }).format(at);
  }

  /** As short as it can be: a time today, else a date. */
  brief(at: number): string {
    if (daysBetween(at, this.#now) === 0) return this.time(at);
    return this.#format({ day: 'numeric', month: 'short' }).format(at);
  }
}

const formatters = new Map<string, Intl.DateTimeFormat>();

/** The browser's own variety of the language, such as en-GB: it knows how its person writes times. */
function regional(language: Language): string {
  const base = language.split('-')[0]!;
  return navigator.languages.find((locale) => locale.split('-')[0] === base) ?? language;
}

function initial(): Language {
  const stored = localStorage.getItem(KEY);
  const language: Language =
    stored === 'en' || stored === 'zh-CN' ? stored : navigator.language.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
  document.documentElement.lang = language;
  return language;
}

/** Calendar days, not spans of 24 hours. */
export function daysBetween(from: number, to: number): number {
  const midnight = (at: number) => new Date(at).setHours(0, 0, 0, 0);
  return Math.round((midnight(to) - midnight(from)) / 86_400_000);
}

export const i18n = new I18n();

import { createSubscriber } from 'svelte/reactivity';
import type { Observable } from '../store/observable';

/** A store that knows no framework, made to be read in templates: what reads `now` is drawn anew on a change. */
export class Live<T extends Observable> {
  #subscribe: () => void;

  constructor(
    /** The same without being drawn anew: for what is done rather than shown. */
    readonly store: T,
  ) {
    this.#subscribe = createSubscriber((update) => store.observe(update));
  }

  get now(): T {
    this.#subscribe();
    return this.store;
  }
}

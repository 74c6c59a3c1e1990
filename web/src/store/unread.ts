/** How many messages of others a person has not read in one room. */
export interface UnreadBase {
  /** The position that `count` reflects. */
  asOf: number;
  /** Sequence of the last message that `count` reflects; `asOf` is the whole stream's and mostly lies beyond it. */
  lastSeq: number;
  count: number;
  readSeq: number;
}

export interface UnreadDump extends UnreadBase {
  recent: number[];
}

/** A count from a snapshot, brought forward by the events and read marks since. */
export class Unread {
  /** Sequences of others' messages after `base.asOf` that are not read. */
  #recent: number[] = [];
  #readSeq: number;
  /** How far the server knows. */
  #told: number;

  constructor(private base: UnreadBase) {
    this.#readSeq = base.readSeq;
    this.#told = base.readSeq;
  }

  static restore({ recent, ...base }: UnreadDump): Unread {
    const unread = new Unread(base);
    unread.#recent = recent;
    return unread;
  }

  get readSeq(): number {
    return this.#readSeq;
  }

  get count(): number {
    return this.base.count + this.#recent.length;
  }

  /** Whether the server has still to be told. */
  get untold(): boolean {
    return this.#readSeq > this.#told;
  }

  told(seq: number): void {
    this.#told = Math.max(this.#told, seq);
  }

  posted(seq: number, own: boolean): void {
    if (seq <= this.base.asOf || seq <= this.#readSeq) return;
    if (own) this.read(seq); // who answers has read
    else this.#recent.push(seq);
  }

  /** The person has read up to `seq`, here or elsewhere. Only moves forward. */
  read(seq: number): void {
    if (seq <= this.#readSeq) return;
    this.#readSeq = seq;
    this.#recent = this.#recent.filter((posted) => posted > seq);
    // A mark before the snapshot's last message says nothing of how many of its messages lie behind it.
    if (seq >= this.base.lastSeq) this.base = { ...this.base, count: 0 };
  }

  /** Takes a newer snapshot's word. */
  absorb(base: UnreadBase): void {
    if (base.asOf < this.base.asOf) return;
    const readSeq = this.#readSeq;
    this.base = base;
    this.#readSeq = base.readSeq;
    this.#told = base.readSeq;
    this.#recent = this.#recent.filter((posted) => posted > base.asOf && posted > base.readSeq);
    this.read(readSeq); // the mark may be on its way still
  }

  dump(): UnreadDump {
    return { ...this.base, readSeq: this.#readSeq, recent: [...this.#recent] };
  }
}

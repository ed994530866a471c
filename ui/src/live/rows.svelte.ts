/** Rows of a list that change while they are looked at: bounded, by id, and nothing moves under the reader's eyes. */

/** The most rows that are held; past it the last ones of the list are forgotten, and read again when asked for. */
export const MAX_ROWS = 5_000;

export class Rows<Row> {
  /** What is shown, in the list's order. */
  shown = $state.raw<readonly Row[]>([]);
  /** How many new rows wait to be shown, see `hold`. */
  waiting = $state(0);

  readonly #id: (row: Row) => string;
  readonly #before: (one: Row, other: Row) => number;
  #held: Row[] = [];
  #isHeld = false;

  /** `before` orders two rows as the list does; what it orders by must not change in a row. */
  constructor(id: (row: Row) => string, before: (one: Row, other: Row) => number) {
    this.#id = id;
    this.#before = before;
  }

  /** The list as it was read, in its order. */
  reset(rows: readonly Row[]): void {
    this.shown = rows.slice(0, MAX_ROWS);
    this.#held = [];
    this.waiting = 0;
  }

  /** A further page, below. */
  append(rows: readonly Row[]): void {
    const known = new Set(this.shown.map(this.#id));
    this.shown = [...this.shown, ...rows.filter((row) => !known.has(this.#id(row)))].slice(0, MAX_ROWS);
  }

  /** Rows as they are now. Those on show change in their place; new ones join, or wait while the list is held. */
  merge(changed: readonly Row[]): void {
    const news = new Map(changed.map((row) => [this.#id(row), row]));
    const shown = this.shown.map((row) => {
      const id = this.#id(row);
      const now = news.get(id);
      news.delete(id);
      return now ?? row;
    });
    for (const [at, row] of this.#held.entries()) {
      const now = news.get(this.#id(row));
      if (now) this.#held[at] = now;
      news.delete(this.#id(row));
    }
    this.shown = shown;
    this.#held.push(...news.values());
    if (!this.#isHeld) this.release();
    else this.waiting = this.#held.length;
  }

  /** Takes a row away. */
  remove(id: string): void {
    this.shown = this.shown.filter((row) => this.#id(row) !== id);
    this.#held = this.#held.filter((row) => this.#id(row) !== id);
    this.waiting = this.#held.length;
  }

  /** Whether new rows wait: while the reader is somewhere else than at the list's top. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (!isHeld) this.release();
  }

  /** Shows the rows that wait. */
  release(): void {
    if (this.#held.length === 0) return;
    this.shown = [...this.#held, ...this.shown].sort(this.#before).slice(0, MAX_ROWS);
    this.#held = [];
    this.waiting = 0;
  }
}

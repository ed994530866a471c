/** A list that is read once, and then kept by what the stream tells: it is not read again when something changes. */

import { link } from './link.svelte';
import { Resource } from './resource.svelte';

interface Page<Row> {
  readonly data: readonly Row[];
  readonly next: string | null;
}

export interface Keeping<Row> {
  /** The kind of its rows, as the stream names it. */
  readonly kind: string;
  readonly id: (row: Row) => string;
  /** Whether a row is in the list, as it is now. */
  readonly fits: (row: Row) => boolean;
  /** Orders two rows as the list does. */
  readonly before: (one: Row, other: Row) => number;
}

/** The list with rows as they are now; null: a row that is there no more. */
export function kept<Row>(rows: readonly Row[], told: ReadonlyMap<string, Row | null>, { id, fits, before }: Keeping<Row>): Row[] {
  const others = rows.filter((row) => !told.has(id(row)));
  const now = [...told.values()].filter((row): row is Row => row !== null && fits(row));
  return [...others, ...now].sort(before);
}

export class KeptList<Row> extends Resource<Page<Row>> {
  readonly #keeping: Keeping<Row>;
  /** Rows that were told since the last read began, which may not have seen them. */
  #told = new Map<string, Row | null>();
  #readers = 0;
  #stop: (() => void) | null = null;

  constructor(keeping: Keeping<Row>, read: (signal: AbortSignal) => Promise<Page<Row>>) {
    super(read);
    this.#keeping = keeping;
  }

  override async load(): Promise<void> {
    this.#told = new Map();
    await super.load();
    this.#apply(this.#told);
  }

  /** For an effect: keeps the list for as long as anybody on the screen shows it. */
  share(): () => void {
    this.#readers += 1;
    if (this.#readers === 1) this.#begin();
    return () => {
      this.#readers -= 1;
      if (this.#readers === 0) this.#stop?.();
    };
  }

  #begin(): void {
    const { kind, id } = this.#keeping;
    void this.load();
    this.#stop = link.watch({
      kinds: [kind],
      changed: (_, rows) => this.#note(new Map((rows as Row[]).map((row) => [id(row), row]))),
      removed: (_, gone) => this.#note(new Map([[gone, null]])),
      stale: () => this.soon(0),
    });
  }

  #note(told: ReadonlyMap<string, Row | null>): void {
    for (const [id, row] of told) this.#told.set(id, row);
    this.#apply(told);
  }

  #apply(told: ReadonlyMap<string, Row | null>): void {
    const page = this.value;
    if (page === null || told.size === 0) return;
    const data = kept(page.data, told, this.#keeping);
    this.value = { ...page, data };
    // The rest of a long list moves up when a row leaves it.
    if (page.next !== null && data.length < page.data.length) this.soon();
  }
}

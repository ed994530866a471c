/** The one connection of a screen, and who on it wants to be told of which rows. */

import type { Frame } from './frames';
import { follow, type LinkState } from './stream';

export interface Watcher {
  /** Kinds of rows: `run`, `agent`, `lane`, `budget`, … */
  readonly kinds: readonly string[];
  /** A row as it is now. Rows that come within one turn are told together. */
  changed(kind: string, rows: readonly unknown[]): void;
  /** A row that is there no more. */
  removed?(kind: string, id: string): void;
  /** What was missed is not known: read the list again. */
  stale(): void;
}

class Link {
  state = $state.raw<LinkState>({ kind: 'connecting' });

  readonly #watchers = new Set<Watcher>();
  #stop: (() => void) | null = null;
  #wasOpen = false;
  #pending = new Map<string, unknown[]>();

  /** Tells `watcher` until the returned function is called. */
  watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    this.#stop ??= follow(() => '/api/v1/live', { frame: (frame) => this.#take(frame), state: (state) => (this.state = state) });
    return () => this.#watchers.delete(watcher);
  }

  #take(frame: Frame): void {
    const told: unknown = JSON.parse(frame.data);
    if (frame.event === 'snapshot') {
      const { resumed, whole } = told as { resumed: boolean; whole: readonly string[] };
      // Of kinds that are sent whole, what is not among them is gone: their lists are read again.
      if (this.#wasOpen) for (const watcher of this.#watchers) if (!resumed || watcher.kinds.some((kind) => whole.includes(kind))) watcher.stale();
      this.#wasOpen = true;
    } else if (frame.event === 'removed') {
      const { kind, id } = told as { kind: string; id: string };
      for (const watcher of this.#of(kind)) watcher.removed?.(kind, id);
    } else if (frame.event !== 'gap' && frame.event !== 'position' && frame.event !== 'end') {
      this.#note(frame.event, told);
    }
  }

  #note(kind: string, row: unknown): void {
    if (this.#pending.size === 0) requestAnimationFrame(() => this.#tell());
    const rows = this.#pending.get(kind);
    if (rows) rows.push(row);
    else this.#pending.set(kind, [row]);
  }

  #tell(): void {
    const pending = this.#pending;
    this.#pending = new Map();
    for (const [kind, rows] of pending) for (const watcher of this.#of(kind)) watcher.changed(kind, rows);
  }

  #of(kind: string): Watcher[] {
    return [...this.#watchers].filter((watcher) => watcher.kinds.includes(kind));
  }
}

export const link = new Link();

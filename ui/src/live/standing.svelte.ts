/** A list of cards that hold their places while the reader is at it, see `stood`. */

import { stood, type Stood } from '../model/standing';

/** Where the reader is, as far as the page can know: a finger that is lifted, and a screen on a wall, tell nothing. */
type Reader = 'in' | 'out' | 'unknown';

/** When a list closes up, in ms: after the pointer and the keyboard have left it, and where they are not moved at all. */
const CLOSES_MS: Readonly<Record<Reader, number>> = { out: 1_000, unknown: 60_000, in: 300_000 };

export class Standing<Thing> {
  readonly #id: (thing: Thing) => string;
  #shown: readonly Stood<Thing>[] = [];
  #isLeft = $state(false);
  /** Grows each time that the list closes up. */
  #closed = $state(0);

  constructor(id: (thing: Thing) => string) {
    this.#id = id;
  }

  /** What is shown of the list as it is now. `isRead`: whether all of it is there, for a list that comes in parts. */
  of(things: readonly Thing[], isRead = true): readonly Stood<Thing>[] {
    void this.#closed;
    const shown = stood(this.#shown, things, this.#id, isRead && !this.#isLeft);
    // Until all of it is there, what leaves has only found its place.
    this.#shown = isRead ? shown : [];
    return shown;
  }

  /** For the element of the list: sees whether the reader is there. */
  readonly at = (node: HTMLElement): { destroy: () => void } => {
    let pointer: Reader = 'unknown';
    let last: Reader | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const closes = (reader: Reader): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.#isLeft = reader === 'out';
        this.#shown = [];
        this.#closed += 1;
        if (reader !== 'out') closes(reader);
      }, CLOSES_MS[reader]);
    };
    const moved = (): void => {
      // A click leaves the focus where it was, and says nothing of where the reader goes on.
      const reader = node.querySelector(':focus-visible') ? 'in' : pointer;
      // A pointer that wanders about elsewhere does not put off what its leaving has begun.
      if (reader === 'out' && last === 'out') return;
      last = reader;
      if (reader !== 'out') this.#isLeft = false;
      closes(reader);
    };
    const pointed = (event: PointerEvent): void => {
      const isIn = event.target instanceof Node && node.contains(event.target);
      pointer = !isIn ? 'out' : event.pointerType === 'mouse' ? 'in' : 'unknown';
      moved();
    };
    const gone = (): void => ((pointer = 'unknown'), moved());
    const focused = (): void => void setTimeout(moved);
    const stop = new AbortController();
    const heard = { signal: stop.signal, passive: true };
    for (const name of ['pointermove', 'pointerdown'] as const) document.addEventListener(name, pointed, heard);
    for (const name of ['focusin', 'focusout'] as const) document.addEventListener(name, focused, heard);
    document.documentElement.addEventListener('mouseleave', gone, heard);
    moved();
    return { destroy: () => (clearTimeout(timer), stop.abort()) };
  };
}

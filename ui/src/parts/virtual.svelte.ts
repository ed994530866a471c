/** Which rows of a long list are drawn: `@tanstack/virtual-core`, told by runes how many rows there are. */

import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from '@tanstack/virtual-core';

interface List {
  /** How many rows there are; may be read from state. */
  readonly count: () => number;
  /** The box that scrolls, once it is there. */
  readonly box: () => HTMLElement | undefined;
  /** The height of a row, in pixels: all rows have the same. */
  readonly row: number;
  /** Pixels above the first row that stay in sight while the rows scroll. */
  readonly above?: number;
  /** The height of the box until it is measured, in pixels. */
  readonly height: number;
}

interface Seen {
  /** The first row that is drawn, and the one after the last. */
  readonly first: number;
  readonly end: number;
}

/** Rows drawn above and below those on the screen. */
const BESIDE = 5;

export class VirtualRows {
  readonly #list: List;
  readonly #virtualizer: Virtualizer<HTMLElement, HTMLElement>;
  /** Changes with each scroll that brings other rows, and with the size of the box. */
  #moved = $state(0);

  readonly seen = $derived.by((): Seen => {
    void this.#moved;
    this.#virtualizer.setOptions(this.#options());
    const drawn = this.#virtualizer.getVirtualIndexes();
    return { first: drawn[0] ?? 0, end: (drawn.at(-1) ?? -1) + 1 };
  });

  /** To be made while a component begins: it ends with the component. */
  constructor(list: List) {
    this.#list = list;
    this.#virtualizer = new Virtualizer(this.#options());
    $effect(() => this.#virtualizer._didMount());
    $effect(() => {
      void this.seen;
      void list.box();
      this.#virtualizer._willUpdate();
    });
  }

  /** The height of all rows, in pixels. */
  get height(): number {
    return this.#list.count() * this.#list.row;
  }

  /** Scrolls to a row, unless it is in sight: into the middle of the box. */
  show(index: number): void {
    const box = this.#list.box();
    const { row, above = 0 } = this.#list;
    if (!box || (index * row >= box.scrollTop && (index + 1) * row + above <= box.scrollTop + box.clientHeight)) return;
    this.#virtualizer.scrollToIndex(index, { align: 'center' });
  }

  /** Scrolls to the last row. */
  showEnd(): void {
    this.#virtualizer.scrollToEnd();
  }

  #options(): ConstructorParameters<typeof Virtualizer<HTMLElement, HTMLElement>>[0] {
    const { count, box, row, above = 0, height } = this.#list;
    return {
      count: count(),
      getScrollElement: () => box() ?? null,
      estimateSize: () => row,
      overscan: BESIDE,
      scrollMargin: above,
      initialRect: { width: 0, height },
      observeElementRect,
      observeElementOffset,
      scrollToFn: elementScroll,
      onChange: () => void (this.#moved += 1),
    };
  }
}

/** Which rows of a long list are drawn. All rows have the same height, so that it is a matter of two divisions: nothing is
    kept for a row that is not drawn. */

interface List {
  /** How many rows there are; may be read from state. */
  readonly count: () => number;
  /** The box that scrolls, once it is there. */
  readonly box: () => HTMLElement | undefined;
  /** The height of a row, in pixels. */
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
  /** The first row on the screen, and the one after the last: they change when other rows come into sight. */
  #top = $state(0);
  #bottom = $state(0);

  readonly seen = $derived.by((): Seen => {
    const count = this.#list.count();
    const shown = this.#bottom - this.#top;
    // Where rows have gone, the box is further down than there are any until it has scrolled.
    const top = Math.max(0, Math.min(this.#top, count - shown));
    return { first: Math.max(0, top - BESIDE), end: Math.min(count, top + shown + BESIDE) };
  });

  /** To be made while a component begins: it ends with the component. */
  constructor(list: List) {
    this.#list = list;
    this.#bottom = Math.ceil(list.height / list.row);
    $effect(() => {
      const box = list.box();
      if (!box) return;
      const look = (): void => this.#look(box);
      look();
      box.addEventListener('scroll', look, { passive: true });
      const sized = new ResizeObserver(look);
      sized.observe(box);
      return () => {
        box.removeEventListener('scroll', look);
        sized.disconnect();
      };
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
    box.scrollTop = above + index * row - (box.clientHeight - row) / 2;
  }

  /** Scrolls to the last row. */
  showEnd(): void {
    const box = this.#list.box();
    if (box) box.scrollTop = box.scrollHeight;
  }

  #look({ scrollTop, clientHeight }: HTMLElement): void {
    const { row, above = 0 } = this.#list;
    this.#top = Math.max(0, Math.floor((scrollTop - above) / row));
    this.#bottom = Math.max(this.#top + 1, Math.ceil((scrollTop + clientHeight - above) / row));
  }
}

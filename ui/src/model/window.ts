/** Which rows of a long list are on the screen. */

export interface Window {
  /** The first row that is drawn, and the one after the last. */
  readonly first: number;
  readonly end: number;
}

/** The rows that touch a viewport of `height` at `top`, with `beside` more above and below. All in pixels but the last. */
export function windowOf(rows: number, rowHeight: number, top: number, height: number, beside = 8): Window {
  const first = Math.max(Math.floor(top / rowHeight) - beside, 0);
  const end = Math.min(Math.ceil((top + height) / rowHeight) + beside, rows);
  return { first: Math.min(first, rows), end: Math.max(end, Math.min(first, rows)) };
}

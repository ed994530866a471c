/** The timeline on its canvas. What stands where is decided by `model/timeline`. */

import { line } from '../../model/text';
import type { Drawing } from '../../model/timeline';
import { duration } from '../../model/times';

const FONT = '11px ui-monospace, "DejaVu Sans Mono", monospace';

/** Colours of the page as a canvas takes them, in the theme of now. */
export class Ink {
  readonly #probe: HTMLElement;
  readonly #known = new Map<string, string>();

  constructor(box: HTMLElement) {
    this.#probe = box;
  }

  /** A colour of `tokens.css`, resolved. */
  colour(name: string): string {
    let found = this.#known.get(name);
    if (found === undefined) {
      const probe = document.createElement('i');
      probe.style.color = `var(--${name})`;
      this.#probe.append(probe);
      found = getComputedStyle(probe).color;
      probe.remove();
      this.#known.set(name, found);
    }
    return found;
  }

  /** A canvas of so many CSS pixels, wiped. */
  sheet(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext('2d');
    if (!context) throw new Error('This browser has no canvas.');
    context.scale(ratio, ratio);
    context.font = FONT;
    context.textBaseline = 'middle';
    return context;
  }
}

/** The axis: times since the run's beginning, and a line down from each. */
export function paintAxis(
  context: CanvasRenderingContext2D,
  ink: Ink,
  moments: readonly number[],
  offset: number,
  length: number,
  left: number,
  plot: number,
  height: number,
): void {
  for (const moment of moments) {
    const x = Math.round(left + (moment / length) * plot) + 0.5;
    context.strokeStyle = ink.colour('line');
    context.beginPath();
    context.moveTo(x, 16);
    context.lineTo(x, height);
    context.stroke();
    if (x > left + plot - 48) continue;
    context.fillStyle = ink.colour('quiet');
    context.fillText(moment + offset === 0 ? '0' : duration(moment + offset), x + 3, 9);
  }
}

interface Place {
  readonly left: number;
  readonly top: number;
  readonly row: number;
  readonly selected: number | null;
  readonly drag: { readonly from: number; readonly to: number } | null;
}

/** Tracks and their bars, on a canvas whose axis is painted. */
export function paintBars(canvas: HTMLCanvasElement, ink: Ink, drawing: Drawing, place: Place): void {
  const context = canvas.getContext('2d');
  if (!context) return;
  const { left, top, row, selected, drag } = place;
  for (const track of drawing.tracks) {
    context.fillStyle = ink.colour(track.isHead ? 'text' : 'quiet');
    const y = top + track.row * row + row / 2;
    if (track.isHead) context.fillText(line(track.words, 80), 8, y);
    else context.fillText(track.words, 8, y, left - 12);
  }
  for (const bar of drawing.bars) {
    const y = top + bar.row * row + 2;
    const isPicked = selected !== null && selected >= bar.span.first_seq && selected <= bar.span.last_seq && bar.span.kind !== 'lease';
    context.fillStyle = ink.colour(isPicked ? 'accent' : bar.colour);
    context.fillRect(left + bar.x, y, bar.width, row - 4);
    if (bar.width < 32) continue;
    context.save();
    context.beginPath();
    context.rect(left + bar.x, y, bar.width - 4, row - 4);
    context.clip();
    context.fillStyle = ink.colour('ground');
    context.fillText(line(bar.label, 120), left + bar.x + 4, y + (row - 4) / 2 + 0.5);
    context.restore();
  }
  if (drag && Math.abs(drag.to - drag.from) > 2) {
    context.globalAlpha = 0.2;
    context.fillStyle = ink.colour('accent');
    context.fillRect(left + Math.min(drag.from, drag.to), top, Math.abs(drag.to - drag.from), canvas.height);
    context.globalAlpha = 1;
  }
}

/** All of the run in a strip, and which part of it is shown. */
export function paintSmall(
  context: CanvasRenderingContext2D,
  ink: Ink,
  drawing: Drawing,
  left: number,
  height: number,
  [from, to]: readonly [number, number],
): void {
  context.fillStyle = ink.colour('quiet');
  context.fillText('whole run', 8, height / 2, left - 12);
  const step = (height - 4) / Math.max(drawing.rows, 1);
  for (const bar of drawing.bars) {
    context.fillStyle = ink.colour(bar.colour);
    context.fillRect(left + bar.x, 2 + bar.row * step, bar.width, Math.max(step - 0.5, 1));
  }
  context.strokeStyle = ink.colour('accent');
  context.strokeRect(left + from + 0.5, 0.5, Math.max(to - from - 1, 2), height - 1);
}

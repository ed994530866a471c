/** Where the spans of a run stand in a drawing. Pure: times, a width, bars. */

export interface Span {
  readonly kind: string;
  readonly name: string | null;
  readonly begin: string;
  readonly end: string | null;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly count: number;
  readonly failed: number;
  readonly agent: number;
  readonly run_id: string | null;
}

export interface Bar {
  readonly x: number;
  readonly width: number;
  /** The row that it stands in, from the top. */
  readonly row: number;
  /** The name of a colour of `tokens.css`. */
  readonly colour: string;
  readonly label: string;
  readonly span: Span;
}

export interface Track {
  readonly words: string;
  /** Whether it is the name of an agent, whose tracks follow. */
  readonly isHead: boolean;
  readonly row: number;
  readonly rows: number;
}

export interface Drawing {
  readonly bars: readonly Bar[];
  readonly tracks: readonly Track[];
  readonly rows: number;
}

/** The tracks of an agent, from the top, and the kinds of spans in each. */
const TRACKS: readonly (readonly [string, readonly string[]])[] = [
  ['lease', ['queue', 'lease']],
  ['waits', ['wait', 'pause']],
  ['steps', ['step']],
  ['models', ['model']],
  ['tools', ['tool']],
  ['text', ['text']],
  ['children', ['child']],
  ['events', ['event']],
];
/** Overlapping spans of a track stand in so many rows at most; what is more is drawn over the last. */
export const MAX_TRACK_ROWS = 4;
export const MIN_BAR = 2;

/**
 * The bars of `spans` between two moments (wall ms) on so many pixels. What goes on ends at `to`. `names`: of the agents,
 * from agent 1 on; where there are several, each has a lane of its own under its name.
 */
export function layout(spans: readonly Span[], from: number, to: number, width: number, names: readonly (string | null)[] = []): Drawing {
  const scale = width / Math.max(to - from, 1);
  const agents = [...new Set(spans.map((span) => span.agent))].sort((one, other) => one - other);
  const bars: Bar[] = [];
  const tracks: Track[] = [];
  const isShared = agents.filter((agent) => agent > 0).length > 1;
  let row = 0;
  for (const agent of agents) {
    if (isShared && agent > 0) tracks.push({ words: names[agent - 1] ?? `agent ${agent}`, row: row++, rows: 1, isHead: true });
    for (const [words, kinds] of TRACKS) {
      const own = spans.filter((span) => span.agent === agent && kinds.includes(span.kind));
      if (own.length === 0) continue;
      const rows = placed(own, row, from, to, scale, bars);
      tracks.push({ words, row, rows, isHead: false });
      row += rows;
    }
  }
  return { bars, tracks, rows: row };
}

/** Places the spans of a track into rows from `row` on; how many rows it took. */
function placed(spans: readonly Span[], row: number, from: number, to: number, scale: number, bars: Bar[]): number {
  const ends: number[] = [];
  const ordered = [...spans].sort((one, other) => Date.parse(one.begin) - Date.parse(other.begin));
  for (const span of ordered) {
    const begin = Date.parse(span.begin);
    const end = span.end === null ? to : Date.parse(span.end);
    if (end < from || begin > to) continue;
    const x = Math.max((begin - from) * scale, 0);
    const width = Math.max((Math.min(end, to) - Math.max(begin, from)) * scale, MIN_BAR);
    let at = ends.findIndex((taken) => taken <= x);
    if (at < 0) at = Math.min(ends.length, MAX_TRACK_ROWS - 1);
    ends[at] = x + width;
    bars.push({ x, width, row: row + at, colour: colourOf(span), label: labelOf(span), span });
  }
  return Math.max(ends.length, 1);
}

/** Colour means status: what failed, what waits, what goes on. Everything else has none. */
function colourOf(span: Span): string {
  if (span.failed > 0) return 'failed';
  if (span.kind === 'wait') return 'waiting';
  if (span.kind === 'pause') return 'paused';
  if (span.end === null) return 'running';
  return 'quiet';
}

function labelOf(span: Span): string {
  const name = span.name ?? (span.kind === 'text' ? 'text' : span.kind);
  return span.count > 1 ? `${name} ×${span.count}` : name;
}

/** The bar at a place of the drawing; the last one drawn is on top. */
export function barAt(bars: readonly Bar[], x: number, row: number, reach = 3): Bar | null {
  for (let at = bars.length - 1; at >= 0; at--) {
    const bar = bars[at];
    if (bar && bar.row === row && x >= bar.x - reach && x <= bar.x + bar.width + reach) return bar;
  }
  return null;
}

/** Moments to be named on an axis, in ms from its beginning: round ones, a hundred pixels or more apart. */
export function ticks(lengthMs: number, width: number): number[] {
  const least = (lengthMs / Math.max(width, 1)) * 100;
  const step = STEPS.find((ms) => ms >= least) ?? Math.ceil(least / 86_400_000) * 86_400_000;
  const found: number[] = [];
  for (let at = 0; at <= lengthMs; at += step) found.push(at);
  return found;
}

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
  900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000, 86_400_000,
];

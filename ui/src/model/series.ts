/** Figures by hour or day, with the hours in which nothing was. */

import { plus } from './numbers';

interface Cell {
  readonly hour: string | null;
}

export interface Dense<Row> {
  /** Beginnings of the steps, in wall ms. */
  readonly times: readonly number[];
  /** The row of each; undefined where there is none. */
  readonly rows: readonly (Row | undefined)[];
}

/** One entry a step between two moments (wall ms); steps begin where UTC's do. */
export function dense<Row extends Cell>(rows: readonly Row[], from: number, to: number, stepMs: number): Dense<Row> {
  const known = new Map<number, Row>();
  for (const row of rows) if (row.hour !== null) known.set(floor(Date.parse(row.hour), stepMs), row);
  const times: number[] = [];
  for (let at = floor(from, stepMs); at <= to; at += stepMs) times.push(at);
  return { times, rows: times.map((at) => known.get(at)) };
}

/** The sums of rows that begin in the same step; 0 where there is no row, null where no row of the step tells its figure. */
export function summed<Row extends Cell>(
  rows: readonly Row[],
  from: number,
  to: number,
  stepMs: number,
  figure: (row: Row) => number | null,
): { times: number[]; values: (number | null)[] } {
  const sums = new Map<number, number | null>();
  for (const row of rows) {
    if (row.hour === null) continue;
    const at = floor(Date.parse(row.hour), stepMs);
    sums.set(at, plus(sums.get(at), figure(row)));
  }
  const times: number[] = [];
  for (let at = floor(from, stepMs); at <= to; at += stepMs) times.push(at);
  return { times, values: times.map((at) => (sums.has(at) ? (sums.get(at) ?? null) : 0)) };
}

function floor(ms: number, stepMs: number): number {
  return Math.floor(ms / stepMs) * stepMs;
}

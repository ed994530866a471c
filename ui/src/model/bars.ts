/** A chart of bars as figures of pixels: where the lines of its scale are, and which of its steps are named. */

const ROUND = [1, 2, 5, 10];

/** Round values from 0 up to `most`, about `lines` steps of them; whole ones where the figures are. */
export function ticks(most: number, isWhole: boolean, lines = 4): number[] {
  if (!(most > 0)) return [0];
  const rough = Math.max(most / lines, isWhole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough) + 1e-9);
  const step = (ROUND.find((factor) => factor * power >= rough * (1 - 1e-9)) ?? 10) * power;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => Number((at * step).toPrecision(12)));
}

/** What a chart counts in: dollars, things, parts of a hundred, milliseconds. */
export type Unit = '$' | '' | '%' | 'ms';

const STEPS_MS = [3_600_000, 60_000, 1_000, 1] as const;

/** Values of a scale up to `most`: round ones of the unit, or of the seconds, minutes or hours that milliseconds come to. */
export function scale(most: number, unit: Unit): number[] {
  const step = unit === 'ms' ? (STEPS_MS.find((ms) => most >= 2 * ms) ?? 1) : 1;
  return ticks(most / step, unit === '').map((tick) => tick * step);
}

/** A value of a scale, in a few characters. */
export function briefly(value: number, unit: Unit): string {
  const short = (number: number): string => number.toLocaleString('en-US', { maximumFractionDigits: 6, notation: number >= 10_000 ? 'compact' : 'standard' });
  if (unit === '%') return `${short(value)} %`;
  if (unit !== 'ms') return unit + short(value);
  const at = STEPS_MS.findIndex((ms) => value >= ms);
  return value === 0 ? '0' : `${short(value / (STEPS_MS[at] ?? 1))} ${['h', 'min', 's', 'ms'][at] ?? 'ms'}`;
}

/** Which of `count` steps have room for a name of `room` pixels, the last among them. */
export function named(count: number, width: number, room = 64): number[] {
  const each = Math.max(Math.ceil((count * room) / Math.max(width, 1)), 1);
  return Array.from({ length: count }, (_, at) => at).filter((at) => (count - 1 - at) % each === 0);
}

/**
 * What stands in a chart of which no bar is drawn, else null: what is 0 says so, what is not known is no 0. `isSummed`:
 * one step that is not known leaves the whole unknown; of shares and durations it had none.
 */
export function flatOf(values: readonly (number | null)[], zero: string, unknown: string, isSummed: boolean): string | null {
  if (values.some((value) => value !== null && value > 0)) return null;
  const isZero = isSummed ? !values.includes(null) : values.some((value) => value === 0);
  return isZero ? `${zero} throughout` : unknown;
}

/** The sum of what is known, and that something is not; the word for it where nothing is. */
export function sumOf(values: readonly (number | null)[], figure: (value: number) => string, unknown: string): string {
  const sum = values.reduce<number>((all, value) => all + (value ?? 0), 0);
  if (!values.includes(null)) return figure(sum);
  return sum > 0 ? `${figure(sum)} and what is ${unknown}` : unknown;
}

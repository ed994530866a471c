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

/** Which of `count` steps have room for a name of `room` pixels, the last among them. */
export function named(count: number, width: number, room = 64): number[] {
  const each = Math.max(Math.ceil((count * room) / Math.max(width, 1)), 1);
  return Array.from({ length: count }, (_, at) => at).filter((at) => (count - 1 - at) % each === 0);
}

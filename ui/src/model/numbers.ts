/** Numbers for reading: rounded with their unit, and exact for whoever points at them. */

const EXACT = new Intl.NumberFormat('en-US', { maximumFractionDigits: 9 });
/** Dollars, from one on and below. Each is made once: `toLocaleString` with options makes one for each call. */
const DOLLARS = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const PARTS = new Intl.NumberFormat('en-US', { minimumFractionDigits: 4, maximumFractionDigits: 4 });
const SHORT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });

export interface Shown {
  readonly short: string;
  readonly exact: string;
}

/** US dollars. Unknown is "unpriced", never $0; what is less than a hundredth of a cent says so. */
export function money(usd: number | null | undefined): Shown {
  if (usd === null || usd === undefined) return { short: 'unpriced', exact: 'The price of this is not known.' };
  const exact = `$${EXACT.format(usd)}`;
  if (usd === 0) return { short: '$0', exact };
  if (usd < 0.0001) return { short: '<$0.0001', exact };
  // In a column, what is below a dollar lines up.
  return { short: `$${(usd < 1 ? PARTS : DOLLARS).format(usd)}`, exact };
}

/** What was spent of a budget: there, unknown is more than can be told, and not without a price. */
export function spentOf(usd: number | null): Shown {
  return usd === null ? { short: 'too much', exact: 'More than can be told.' } : money(usd);
}

/** How much of an amount is spent; of one that is used up by all, and of a sum that is more than can be told, all. */
export function partOf(usd: number | null, amount: number): Shown {
  return percent(amount > 0 ? (usd ?? amount) / amount : 1);
}

interface Spender {
  readonly total_cost_usd: number | null;
  readonly unpriced_calls: number;
  readonly usage: { readonly total_tokens: number | null };
}

/** The cost of a run. */
export function cost(run: Spender): Shown {
  return spending(run.total_cost_usd, run.unpriced_calls, run.usage.total_tokens);
}

/** Money of what may have called no model: then it has no cost, which is not the same as an unknown price. */
export function spending(usd: number | null, unpricedCalls: number, tokens: number | null): Shown {
  const isNothing = usd === null && unpricedCalls === 0 && tokens === null;
  if (isNothing) return { short: '–', exact: 'No tokens and no cost were reported.' };
  const told = money(usd);
  if (usd === null || unpricedCalls === 0) return told;
  const left = `${unpricedCalls} ${unpricedCalls === 1 ? 'call' : 'calls'} without a price`;
  return { short: `${told.short}+`, exact: `${told.exact}, and ${left}` };
}

/** Money of an hour: 0 where no model was called, null where what was called has no price. */
export function costOf(hour: { readonly cost_usd: number | null; readonly unpriced_calls: number; readonly usage: { readonly total_tokens: number | null } }): number | null {
  return hour.cost_usd ?? (hour.unpriced_calls === 0 && hour.usage.total_tokens === null ? 0 : null);
}

/** The sum of what is known of two figures; null where neither is. */
export function plus(one: number | null | undefined, other: number | null): number | null {
  if (one === null || one === undefined) return other;
  return other === null ? one : one + other;
}

/** What is said of a text that `numberOf` does not read. */
export const NO_NUMBER = 'No number: write it as 1000 or 10.5, without commas or units.';

/** What was typed as a number: digits and a point. Null for all else: `1,000` is a thousand here and one there. */
export function numberOf(text: string): number | null {
  const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : NaN;
  return Number.isFinite(number) ? number : null;
}

/** A figure for a field: the fewest digits that give the same `unit`s again, such as 0.04167 days for 3,600 seconds. */
export function inField(units: number, unit: number): string {
  for (let digits = 1; digits < 17; digits++) {
    const text = String(Number((units / unit).toPrecision(digits)));
    if (Math.round(Number(text) * unit) === units) return text;
  }
  return String(units / unit);
}

/** Bytes for reading: `500 KiB`, `1.5 GiB`. */
export function size(bytes: number): string {
  const step = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), 4);
  return `${EXACT.format(Number((bytes / 1024 ** step).toPrecision(3)))} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][step]}`;
}

/** How many of what: `1 run`, `2 new runs`. */
export function counted(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** Tokens, or anything that is counted. Unknown is a dash. */
export function count(number: number | null | undefined, unit = 'tok'): Shown {
  if (number === null || number === undefined) return { short: '–', exact: 'not reported' };
  const exact = `${EXACT.format(number)} ${unit}`;
  return { short: number < 10_000 ? exact : `${SHORT.format(number)} ${unit}`, exact };
}

/** A fraction as percent, which is 100 for the whole alone; from ten times on, how many times. */
export function percent(fraction: number | null | undefined): Shown {
  if (fraction === null || fraction === undefined) return { short: '–', exact: 'not reported' };
  const parts = fraction * 100;
  if (parts >= 1000) return { short: `${SHORT.format(fraction)} ×`, exact: `${EXACT.format(parts)} %` };
  const short = parts > 0 && parts < 1 ? Number(parts.toPrecision(1)) : parts > 99 && parts < 100 ? Math.floor(parts * 10) / 10 : Math.round(parts);
  return { short: `${short} %`, exact: `${EXACT.format(fraction * 100)} %` };
}

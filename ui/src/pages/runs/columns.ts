/** The columns of the run list: which there are, and which the page's URL asks for. */

export interface Column {
  readonly name: string;
  readonly width: string;
  readonly from?: number;
  readonly until?: number;
  readonly end?: boolean;
  readonly quiet?: boolean;
  /** Shown unless the URL names columns. */
  readonly usual?: boolean;
}

/** Those that may be chosen, in their order. */
export const CHOICES: readonly Column[] = [
  { name: 'Status', width: '104px', usual: true },
  { name: 'Agent', width: 'minmax(88px, 1fr)', usual: true },
  { name: 'Thread', width: 'minmax(96px, 1fr)', from: 640, usual: true },
  { name: 'Phase', width: 'minmax(64px, 1fr)', from: 1100, usual: true },
  { name: 'Model', width: 'minmax(80px, 1fr)', from: 980, usual: true },
  { name: 'Persona', width: 'minmax(80px, 1fr)', from: 720 },
  { name: 'Source', width: '88px', from: 640 },
  { name: 'Error', width: 'minmax(96px, 2fr)', from: 640 },
  { name: 'Attempt', width: '64px', from: 560, end: true },
  { name: 'Events', width: '72px', from: 560, end: true },
  { name: 'Took', width: '96px', from: 480, end: true, usual: true },
  { name: 'Tokens', width: '88px', from: 860, end: true, usual: true },
  { name: 'Cost', width: '96px', from: 560, end: true, usual: true },
  { name: 'Started', width: '80px', from: 400, end: true, usual: true },
  { name: 'Ended', width: '80px', from: 560, end: true },
];
const FIRST: Column = { name: 'Run', width: '56px' };
const FOUND: Column = { name: 'Found', width: 'minmax(120px, 3fr)' };
/** Narrower than this, what was found stands beside the shape of the run's status and its agent alone. */
const BESIDE_FOUND = 480;
const WHO: Column = { name: 'Who', width: 'minmax(88px, 1fr)', until: BESIDE_FOUND };
/** Of a search. */
const LEFT_OUT = ['Phase', 'Model', 'Thread'];
const LAST: Column = { name: 'Select', width: '20px', from: 560, quiet: true };
export const USUAL = CHOICES.filter(({ usual }) => usual).map(({ name }) => name);

/** Names of the chosen columns; those that there are not are left out. Nothing asked for: the usual ones. */
export function chosenOf(asked: string | null): string[] {
  const named = new Set((asked ?? '').split(',').map((name) => name.trim().toLowerCase()));
  const found = CHOICES.filter(({ name }) => named.has(name.toLowerCase())).map(({ name }) => name);
  return found.length > 0 ? found : USUAL;
}

/** The table's columns; of a search, where its words are stands in place of what is wide. */
export function columnsOf(chosen: readonly string[], isSearch = false): Column[] {
  const shown = CHOICES.filter(({ name }) => chosen.includes(name) && !(isSearch && LEFT_OUT.includes(name)));
  if (!isSearch) return [FIRST, ...shown, LAST];
  const before = [FIRST, ...shown.slice(0, 2)].map((column) => ({ ...column, from: Math.max(column.from ?? 0, BESIDE_FOUND) }));
  return [WHO, ...before, FOUND, ...shown.slice(2), LAST];
}

/** What the URL says of a choice; null for the usual ones. */
export function askedFor(chosen: readonly string[]): string | null {
  return chosen.join() === USUAL.join() ? null : chosen.join(',').toLowerCase();
}

/** Times for reading: how long, how long ago, and the moment itself in the viewer's zone and in UTC. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A duration: `350 ms`, `3.2 s`, `4 min 05 s`, `2 h 10 min`, `3 d 4 h`. Unknown is a dash. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || ms < 0) return '–';
  if (ms < SECOND - 0.5) return `${Math.round(ms)} ms`;
  if (ms < MINUTE) return `${(Math.floor(Math.round(ms) / 100) / 10).toFixed(1)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min ${two(Math.floor((ms % MINUTE) / SECOND))} s`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h ${two(Math.floor((ms % HOUR) / MINUTE))} min`;
  const hours = Math.floor((ms % DAY) / HOUR);
  return `${Math.floor(ms / DAY)} d${hours > 0 ? ` ${hours} h` : ''}`;
}

/** How long ago, in one unit: `now`, `12 s ago`, `2 min ago`, `5 h ago`, `3 d ago`; `in 2 min`, `in 1 h 52 min` for what is to come. */
export function ago(then: number, now: number): string {
  const ms = now - then;
  if (Math.abs(ms) < SECOND) return 'now';
  // What is to come is planned by: it is told to two units.
  return ms > 0 ? `${coarse(ms)} ago` : `in ${-ms < HOUR ? coarse(-ms) : duration(-ms)}`;
}

/** Made once: `toLocaleString` with options makes one for each call, which takes 50 KB beside the heap until that is
    collected. */
const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** A moment in the viewer's zone, to the second. */
export function local(time: string): string {
  return LOCAL.format(new Date(time));
}

/** A text of the server, with its times of UTC in the viewer's zone. */
export function spoken(text: string): string {
  return text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, local);
}

/** The same moment in UTC, for a hint. */
export function utc(time: string): string {
  return `${new Date(time).toISOString().replace('T', ' ').replace('Z', '')} UTC`;
}

/** How long something still lasts, to two units: `expires in 1 h 52 min`; what is over is `expired 5 min ago`. */
export function left(ms: number): string {
  return ms > 0 ? `Expires in ${duration(ms < MINUTE ? Math.ceil(ms / SECOND) * SECOND : ms)}` : `Expired ${ago(ms, 0)}`;
}

function coarse(ms: number): string {
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}

/** The last midnight in the viewer's zone, as a time of the API. */
export function startOfDay(now: number): string {
  const day = new Date(now);
  day.setHours(0, 0, 0, 0);
  return day.toISOString();
}

interface Clocks {
  readonly status?: string;
  readonly duration_ms: number | null;
  readonly created_at?: string;
  readonly started_at: string | null;
  readonly ended_at: string | null;
}

/** How long a run has taken, in ms: as told, else from its clocks up to now; of a run whose sender tells no start, from its creation. */
export function tookMs(run: Clocks, now: number): number | null {
  if (run.duration_ms !== null) return run.duration_ms;
  const begun = run.started_at ?? (run.status === 'queued' ? null : run.created_at);
  if (!begun) return null;
  return Math.max((run.ended_at ? Date.parse(run.ended_at) : now) - Date.parse(begun), 0);
}

/** A moment as time since another, in at most twelve characters: `+3.25 s`, `+12.3 s`, `+4 min 51 s`, `+2 h 10 min`, `+3 d 4 h`. */
export function since(ms: number): string {
  const sign = ms < 0 ? '−' : '+';
  const size = Math.abs(ms);
  return sign + (size < 10_000 ? `${(size / SECOND).toFixed(2)} s` : duration(size));
}

/** The real server of these tests: `tests/clients/test_typescript.py` starts it and says where it is. */

import { Towerlog, type TowerlogOptions } from "towerlog";

export const URL_OF_SERVER = needed("TOWERLOG_URL");
export const KEY = needed("TOWERLOG_API_KEY");
const CONTROL = needed("TOWERLOG_TESTS_CONTROL");
const DEADLINE_MS = 60_000;
const POLL_MS = 20;

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run these tests by tests/clients/test_typescript.py`);
  return value;
}

/** Has the server stopped, killed or started. */
export async function server(act: "stop" | "kill" | "start" | "restart"): Promise<void> {
  const reply = await fetch(`${CONTROL}/${act}`, { method: "POST" });
  if (!reply.ok) throw new Error(`${act}: ${await reply.text()}`);
}

let names = 0;

/** A name that no other test uses. */
export function unique(what: string): string {
  names += 1;
  return `${what}-${process.pid}-${Date.now()}-${names}`;
}

/** A client of the server, and what it has said that people should know. */
export function client(options: TowerlogOptions = {}): { tl: Towerlog; problems: string[] } {
  const problems: string[] = [];
  const tl = new Towerlog({ url: URL_OF_SERVER, apiKey: KEY, onProblem: (words) => problems.push(words), ...options });
  return { tl, problems };
}

/** Waits for a condition; fails after a minute. */
export async function until<T>(what: string, look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const endsAt = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > endsAt) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export interface Told {
  type: string;
  data: Record<string, unknown>;
}

/** The events of a run that has ended, as its stream has them. */
export async function eventsOf(tl: Towerlog, run: string): Promise<Told[]> {
  const { run_id: id } = await tl.get(run);
  const found: Told[] = [];
  for await (const event of tl.follow(id)) {
    if (event.type === "gap" || !("seq" in event)) throw new Error(`a gap in ${run}`);
    found.push({ type: event.type, data: event.data as Record<string, unknown> });
  }
  return found;
}

export function typesOf(events: Told[]): string[] {
  return events.map((event) => event.type);
}

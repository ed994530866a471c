/** Messages of a saved history, whatever its framework: who speaks, what is said, which tools are called. Pure. */

import type { Turn } from './events';
import { asText } from './json';

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields | null {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : null;
}

function first(fields: Fields, names: readonly string[]): unknown {
  return names.map((name) => fields[name]).find((value) => value !== undefined && value !== null && value !== '');
}

function word(fields: Fields, names: readonly string[]): string | null {
  const found = first(fields, names);
  return typeof found === 'string' ? found : null;
}

/** A tool call in one line: `rm(path: build, force: true)`. */
export function callLine(given: unknown): string {
  const { name, told } = callOf(given);
  return `${name}(${told})`;
}

function callOf(given: unknown): { name: string; told: string; key: string } {
  const outer = fieldsOf(given);
  if (outer === null) return { name: asText(given), told: '', key: '' };
  const call = fieldsOf(outer['function']) ?? outer;
  const name = word(call, ['name', 'tool_name', 'tool', 'toolName']) ?? 'a tool';
  const asked = parsed(first(call, ['arguments', 'args', 'input']));
  return { name, told: listed(asked), key: JSON.stringify(asked ?? null) };
}

/** Arguments are often JSON in a text. */
export function parsed(given: unknown): unknown {
  if (typeof given !== 'string' || !/^\s*[{[]/.test(given)) return given;
  try {
    return JSON.parse(given) as unknown;
  } catch {
    return given;
  }
}

function listed(given: unknown): string {
  const fields = fieldsOf(given);
  if (fields === null) return given === undefined ? '' : typeof given === 'string' ? given : JSON.stringify(given);
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}

const CALLS = /tool[-_]?(use|call)|function[-_]?call/i;
const RESULTS = /tool[-_]?(result|return|call[-_]?response)|function[-_]?(call[-_]?)?output/i;

/** What one message says: its text, then its calls and results, one turn each. */
export function turnsOf(given: unknown, seq = 0): Turn[] {
  const message = fieldsOf(given);
  if (message === null) return [{ who: 'run', name: 'message', text: asText(given), seq, failed: false }];
  const role = word(message, ['role', 'kind', 'type']) ?? 'message';
  const who = /^(user|human|request)$/i.test(role) ? 'person' : /tool|function/i.test(role) ? 'tool' : /system|developer/i.test(role) ? 'run' : 'agent';
  const speaks = (text: string): Turn => ({ who, name: role, text, seq, failed: false });
  const content = first(message, ['content', 'text', 'parts']);
  const turns = Array.isArray(content) ? content.flatMap((part) => partTurns(part, speaks, seq)) : content === undefined ? [] : [speaks(asText(content))];
  const calls = first(message, ['tool_calls', 'toolCalls']);
  turns.push(...(Array.isArray(calls) ? calls : []).map((call) => called(call, seq)));
  // What is in none of the known places is shown as it is.
  return turns.length > 0 ? turns : [CALLS.test(role) ? called(message, seq) : speaks(asText(first(message, ['output']) ?? given))];
}

function called(given: unknown, seq: number): Turn {
  const { name, told, key } = callOf(given);
  return { who: 'tool', name: `calls ${name}`, text: told, seq, failed: false, key };
}

function partTurns(given: unknown, speaks: (text: string) => Turn, seq: number): Turn[] {
  const part = fieldsOf(given);
  if (part === null) return [speaks(asText(given))];
  const kind = word(part, ['type', 'part_kind', 'kind']) ?? '';
  if (CALLS.test(kind) && !RESULTS.test(kind)) return [called(part, seq)];
  const text = first(part, ['text', 'content', 'output', 'response', 'result']);
  if (RESULTS.test(kind)) {
    return [{ who: 'tool', name: `${word(part, ['tool_name', 'name']) ?? 'a tool'} answered`, text: asText(text), seq, failed: part['is_error'] === true }];
  }
  return [speaks(typeof text === 'string' ? text : asText(given))];
}

/** A saved state, as far as what was said goes. */
export interface Saved {
  readonly agent: string;
  readonly history: readonly unknown[];
}

/** A line of the list of states. */
export interface Listed {
  readonly agent: string;
  readonly seq: number;
  readonly message_count: number;
}

/** What states say, each message at the first event that had it. `list` may be in any order. */
export function turnsOfStates(states: readonly Saved[], list: readonly Listed[]): Turn[] {
  const inOrder = [...list].sort((one, other) => one.seq - other.seq);
  return states.flatMap(({ agent, history }) => {
    const mine = inOrder.filter((row) => row.agent === agent);
    let at = 0;
    return history.flatMap((message, index) => {
      while (at < mine.length - 1 && (mine[at]?.message_count ?? 0) <= index) at++;
      return turnsOf(message, mine[at]?.seq ?? 0);
    });
  });
}

/** Turns of events and of states (or calls) in one order. What both tell is there once: as the state has it, where its event was. */
export function merged(events: readonly Turn[], states: readonly Turn[], areCalls = false): Turn[] {
  const told = new Map<string, Turn[]>();
  for (const turn of events) told.set(saidAs(turn), [...(told.get(saidAs(turn)) ?? []), turn]);
  const twice = new Set<Turn>();
  const known = states.map((turn) => {
    const event = told.get(saidAs(turn))?.shift();
    if (!event) return turn;
    twice.add(event);
    return { ...turn, seq: event.seq, failed: event.failed || turn.failed };
  });
  return [...events.filter((turn) => !twice.has(turn)), ...inOrder(known, states, areCalls)].sort((one, other) => one.seq - other.seq);
}

/** None stands behind one that its history has later. A history ends where the next state's begins at an earlier event,
 * and what a call says where the next call's begins. */
function inOrder(turns: readonly Turn[], states: readonly Turn[], areCalls: boolean): Turn[] {
  let latest = Infinity;
  return turns
    .map((turn, at) => {
      const [seq, next] = [states[at]?.seq ?? 0, states[at + 1]?.seq ?? Infinity];
      return { turn, isLast: areCalls ? seq !== next : seq > next };
    })
    .reverse()
    .map(({ turn, isLast }) => {
      latest = isLast ? turn.seq : Math.min(latest, turn.seq);
      return turn.seq === latest ? turn : { ...turn, seq: latest };
    })
    .reverse();
}

const NOTHING = new Set(['null', '{}', '""']);

/** What a turn comes to, whoever tells it: JSON however it is laid out, and a text without the space around it. */
export function saidAs({ who, name, text, key }: Turn): string {
  const value = parsed(key ?? text);
  const said = typeof value === 'string' ? value.trim() : JSON.stringify(value);
  return `${who}\n${name.startsWith('calls ') ? name : ''}\n${NOTHING.has(said) ? '' : said}`;
}

/** The newest state with messages of each agent, of those up to an event; the newest agents first, at most `most`. */
export function newest<Row extends Listed>(list: readonly Row[], most: number, upTo = Infinity): Row[] {
  const found = new Map<string, Row>();
  for (const row of [...list].sort((one, other) => other.seq - one.seq)) {
    if (row.seq <= upTo && row.message_count > 0 && !found.has(row.agent)) found.set(row.agent, row);
  }
  return [...found.values()].slice(0, most);
}

/** Whether an agent has shortened its history, so that its newest state does not hold all that was said. */
export function isShortened(list: readonly Listed[]): boolean {
  const longest = new Map<string, number>();
  return [...list]
    .sort((one, other) => one.seq - other.seq)
    .some(({ agent, message_count: length }) => {
      const before = longest.get(agent) ?? 0;
      longest.set(agent, Math.max(before, length));
      return length > 0 && length < before;
    });
}

/** Events as lines of JSON of a bounded size. Nothing here throws. */

import { CONVERTED, Conversion, isJson, plain } from "./plain.js";
import { wellFormed } from "./texts.js";

/** The largest event that is sent unchanged: with its envelope it must fit into one event of 4 MiB. */
export const MAX_EVENT_BYTES = 4 * 1024 * 1024 - 4096;
/** The lengths to which texts of too large an event are cut: the first with which it fits. */
const CUTS_CHARS = [65_536, 4_096, 256];
const MAX_SCALARS = 100;
const MAX_VALUES = 200_000;

export type Data = Record<string, unknown>;

/** What stands beside an event's data. */
export type Head = Readonly<Record<string, string | number>>;

export type Measure = (text: string) => number;

/** One line of JSON, at most `MAX_EVENT_BYTES` long. */
export function encodeEvent(head: Head, data: Data, measure: Measure): string {
  const line = joined(head, dataText(data));
  const size = measure(line);
  return size <= MAX_EVENT_BYTES ? line : shortened(head, data, size, measure);
}

/** The data of an event as JSON; what had to be converted is named in it, beside what `before` names. */
export function dataText(data: Data, before: Readonly<Record<string, string>> = {}): string {
  const isQuick = Object.keys(before).length === 0;
  const told = isQuick ? quickText(data) : null;
  if (told !== null) return told;
  const to = new Conversion();
  const members = plain(data, to) as Data;
  const converted = { ...before, ...to.converted };
  return JSON.stringify(Object.keys(converted).length > 0 ? { ...members, [CONVERTED]: converted } : members);
}

/** A value that must not be cut: its JSON, and what was converted below `path`; null where it cannot be whole. */
export function wholeText(value: unknown, path = ""): { text: string; converted: Record<string, string> } | null {
  const told = quickText(value);
  if (told !== null) return { text: told, converted: {} };
  const to = new Conversion();
  const made = plain(value, to, path);
  return to.isCut ? null : { text: JSON.stringify(made), converted: to.converted };
}

/** The JSON of what needs no converting; null for anything else, such as half of a character. */
function quickText(value: unknown): string | null {
  try {
    if (!isJson(value, { values: MAX_VALUES })) return null;
    const text = JSON.stringify(value);
    return text.includes("\\ud") ? null : text;
  } catch {
    return null;
  }
}

/** An event and its encoded data in one line. */
export function joined(head: Head, data: string): string {
  return `${JSON.stringify(head).slice(0, -1)},"data":${data}}`;
}

function shortened(head: Head, data: Data, size: number, measure: Measure): string {
  const whole = plain(data, new Conversion()) as Data;
  const marker = { towerlog_truncated: { bytes: size } };
  for (const chars of CUTS_CHARS) {
    const line = joined(head, JSON.stringify({ ...(cutTexts(whole, chars) as Data), ...marker }));
    if (measure(line) <= MAX_EVENT_BYTES) return line;
  }
  return joined(head, JSON.stringify({ ...scalarsOf(whole), ...marker }));
}

function cutTexts(value: unknown, chars: number): unknown {
  if (typeof value === "string") {
    return value.length <= chars ? value : `${wellFormed(value.slice(0, chars))}… [cut: ${value.length} characters]`;
  }
  if (Array.isArray(value)) return value.map((item) => cutTexts(item, chars));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, cutTexts(member, chars)]));
}

/** The small members: what the server requires of an event is among them. */
function scalarsOf(data: Data): Data {
  const small = Object.entries(data).filter(([, value]) => typeof value !== "object" || value === null);
  return Object.fromEntries(small.slice(0, MAX_SCALARS).map(([name, value]) => [name.slice(0, 200), cutTexts(value, 256)]));
}

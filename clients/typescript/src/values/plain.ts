/**
 * Values made fit for JSON. Nothing here throws.
 *
 * What JSON cannot express becomes its members where it has some, else a text; NaN and the infinities become null. What
 * was converted is named by its path. A value is converted up to a bound, whatever hangs on it.
 */

import { describe, oneLine, wellFormed } from "./texts.js";

/** Member of an event's data: path of a value that JSON cannot express → its type. */
export const CONVERTED = "towerlog_converted";
const MAX_CONVERTED = 16;
const MAX_DEPTH = 64;
const MAX_TEXT_CHARS = 1_000;
/** Values of one event that are looked at. */
const MAX_VALUES = 500_000;
/** Characters of one event's texts. */
const MAX_CHARS = 32 * 1024 * 1024;

/** What is left of the bounds while one event is converted, and what was converted. */
export class Conversion {
  values = MAX_VALUES;
  chars = MAX_CHARS;
  /** Whether something was left out. */
  isCut = false;
  readonly converted: Record<string, string> = {};
  readonly inside = new Set<object>();

  name(path: string, kind: string): void {
    if (Object.keys(this.converted).length < MAX_CONVERTED) this.converted[wellFormed(path.slice(0, 200))] = kind;
  }

  cut(path: string, kind: string, text: string): string {
    this.isCut = true;
    this.name(path, kind);
    return text;
  }
}

/** Whether `JSON.stringify` keeps all of a value, so that nothing has to be converted. */
export function isJson(value: unknown, left: { values: number }, depth: number = MAX_DEPTH): boolean {
  left.values -= 1;
  if (value === null || typeof value === "boolean" || typeof value === "string") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || depth <= 0 || left.values <= 0) return false;
  if (Array.isArray(value)) {
    for (const item of value) if (!isJson(item, left, depth - 1)) return false;
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if ((prototype !== Object.prototype && prototype !== null) || "toJSON" in value) return false;
  for (const member of Object.values(value)) {
    if (member !== undefined && !isJson(member, left, depth - 1)) return false;
  }
  return true;
}

/** A copy of a value made of JSON types only. Members that are undefined are left out, as JSON does. */
export function plain(value: unknown, to: Conversion, path = "", depth: number = MAX_DEPTH): unknown {
  to.values -= 1;
  if (to.values <= 0 || to.chars <= 0) return to.cut(path, "too much", "…");
  switch (typeof value) {
    case "string":
      to.chars -= value.length;
      return wellFormed(value);
    case "boolean":
      return value;
    case "number":
      if (Number.isFinite(value)) return value;
      to.name(path, String(value));
      return null;
    case "bigint":
      if (Number.isSafeInteger(Number(value))) return Number(value);
      to.name(path, "bigint");
      return value.toString();
    case "undefined":
      return null;
    case "object":
      return value === null ? null : plainObject(value, to, path, depth);
    default:
      to.name(path, typeof value);
      return oneLine(value, MAX_TEXT_CHARS);
  }
}

function plainObject(value: object, to: Conversion, path: string, depth: number): unknown {
  const kind = kindOf(value);
  if (depth <= 0) return to.cut(path, kind, `<${kind}, nested too deep>`);
  if (to.inside.has(value)) {
    to.name(path, kind);
    return `<${kind} inside itself>`;
  }
  to.inside.add(value);
  try {
    return membersOf(value, kind, to, path, depth - 1);
  } catch {
    // A getter or a `toJSON` of the program that throws.
    to.name(path, kind);
    return `<${kind}, which cannot be read>`;
  } finally {
    to.inside.delete(value);
  }
}

function membersOf(value: object, kind: string, to: Conversion, path: string, depth: number): unknown {
  if (Array.isArray(value)) return value.map((item, index) => plain(item, to, below(path, index), depth));
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    to.name(path, kind);
    return `<${kind} of ${value.byteLength} bytes>`;
  }
  if ("toJSON" in value && typeof value.toJSON === "function") return plain(value.toJSON(), to, path, depth);
  if (kind !== "Object") to.name(path, kind);
  if (value instanceof Error) return describe(value);
  if (value instanceof Set) return plain([...value], to, path, depth);
  if (value instanceof Map) return plain(Object.fromEntries(namedMembers(value)), to, path, depth);
  const members: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) define(members, wellFormed(name), plain(member, to, below(path, name), depth));
  }
  return members;
}

function namedMembers(map: Map<unknown, unknown>): [string, unknown][] {
  return [...map].map(([name, member]) => [typeof name === "string" ? name : oneLine(name, MAX_TEXT_CHARS), member]);
}

/** A member of any name: an assignment to `__proto__` would make no member. */
function define(members: object, name: string, value: unknown): void {
  Object.defineProperty(members, name, { value, enumerable: true, configurable: true, writable: true });
}

function kindOf(value: object): string {
  const made: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof made === "string" && made ? made.slice(0, 100) : "Object";
}

function below(path: string, name: string | number): string {
  return path ? `${path}.${name}` : String(name);
}

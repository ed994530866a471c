/**
 * Figures that a program gives, made fit for the wire. What cannot be used is not sent in its place, and never costs the
 * event: it is kept under `towerlog_invalid` in the event's data.
 */

import { Conversion, plain } from "./plain.js";
import { wellFormed } from "./texts.js";

const INVALID = "towerlog_invalid";
const MAX_COUNT = 2 ** 53;
const MAX_DOLLARS = 1_000_000;
const MAX_LABELS = 64;

/** What makes a figure fit; undefined where it cannot be used. */
export type Fitting = (value: unknown) => unknown;

/** Members that fit, and those that do not. */
export class Fit {
  readonly data: Record<string, unknown> = {};
  readonly #invalid: Record<string, unknown> = {};

  /** Undefined and null are unknown, and left out. */
  take(name: string, value: unknown, fit: Fitting): this {
    if (value === undefined || value === null) return this;
    const found = attempt(fit, value);
    if (found === undefined) this.#invalid[name] = plain(value, new Conversion());
    else this.data[name] = found;
    return this;
  }

  all(): Record<string, unknown> {
    return Object.keys(this.#invalid).length > 0 ? { ...this.data, [INVALID]: this.#invalid } : this.data;
  }
}

function attempt(fit: Fitting, value: unknown): unknown {
  try {
    return fit(value);
  } catch {
    return undefined;
  }
}

/** A whole number from 0 on, also as a text or a bigint. */
export function count(value: unknown): number | undefined {
  const found = numberOf(value);
  return found !== undefined && Number.isInteger(found) && found >= 0 && found <= MAX_COUNT ? found : undefined;
}

/**
 * Dollars from 0 on, from a number or its text. A number of JavaScript keeps 15 digits, so every amount up to a million
 * dollars is exact to the nano-dollar, which is how the server counts.
 */
export function dollars(value: unknown): number | undefined {
  const found = numberOf(value);
  return found !== undefined && found >= 0 && found <= MAX_DOLLARS ? found : undefined;
}

export function milliseconds(value: unknown): number | undefined {
  const found = numberOf(value);
  return found !== undefined && found >= 0 && found <= MAX_COUNT ? found : undefined;
}

/** Names and texts; numbers and truth values become text. */
export function labels(value: unknown): Record<string, string> | undefined {
  const pairs = Object.entries(value as object);
  const isFit = pairs.length <= MAX_LABELS && pairs.every(([, text]) => ["string", "number", "boolean"].includes(typeof text));
  return isFit ? Object.fromEntries(pairs.map(([name, text]) => [wellFormed(name), wellFormed(String(text))])) : undefined;
}

export function mapping(value: unknown): unknown {
  return typeof value === "object" && !Array.isArray(value) ? value : undefined;
}

export function list(value: unknown): unknown {
  return Array.isArray(value) ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  const isNumber = typeof value === "number" || typeof value === "bigint";
  const isText = typeof value === "string" && /^\s*\d+(\.\d+)?([eE][+-]?\d+)?\s*$/.test(value);
  const found = isNumber || isText ? Number(value) : Number.NaN;
  return Number.isFinite(found) ? found : undefined;
}

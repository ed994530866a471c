/** Values as short texts: names, reasons, errors. Nothing here throws. */

import { digestOf } from "../wire/ids.js";

export const MAX_NAME_CHARS = 200;
const MAX_LINE_CHARS = 500;
const MAX_KEY_CHARS = 128;

/** The text, with U+FFFD for each half of a character, which UTF-8 cannot encode. */
export function wellFormed(text: string): string {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}

/** What a value says of itself, whatever it is. */
export function textOf(value: unknown): string {
  try {
    if (value instanceof Error) return describe(value);
    if (typeof value !== "object" || value === null) return String(value);
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "(a value without a text)";
  }
}

export function oneLine(value: unknown, longest: number = MAX_LINE_CHARS): string {
  // Cut before it is searched: the text may be of any length.
  const text = wellFormed(textOf(value).slice(0, longest * 4))
    .replace(/[\p{Cc}\p{Z}\s]+/gu, " ")
    .trim();
  return text.length <= longest ? text : `${wellFormed(text.slice(0, longest - 1))}…`;
}

/** An error in one line: its name and its message. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(error) || "failed";
  try {
    return oneLine(error.message ? `${error.name}: ${error.message}` : error.name);
  } catch {
    return "an error that cannot be read";
  }
}

/** A name as the wire allows it: one line, not empty, at most 200 characters. */
export function nameOf(value: unknown): string {
  return oneLine(value, MAX_NAME_CHARS) || "unnamed";
}

/** A thread's id as the wire allows it. One that is changed gets a suffix, so that two threads stay two. */
export function threadOf(value: unknown): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const given = typeof value === "string" ? value : textOf(value);
  const fit = wellFormed(given.replace(/[/\p{Cc}]/gu, "-"));
  if (fit === given && fit.length <= MAX_NAME_CHARS && fit !== "." && fit !== "..") return fit;
  return `${wellFormed(fit.slice(0, MAX_NAME_CHARS - 9))}-${digestOf(given).slice(0, 8)}`;
}

/** A run's key as the wire allows it: visible ASCII. One that is changed gets a suffix, so that two keys stay two. */
export function runKeyOf(value: unknown, fresh: () => string): string {
  if (value === undefined || value === null || value === "") return fresh();
  const given = typeof value === "string" ? value : textOf(value);
  const fit = given.replace(/[^!-~]/g, "-");
  if (fit === given && fit.length <= MAX_KEY_CHARS) return fit;
  return `${fit.slice(0, MAX_KEY_CHARS - 17)}-${digestOf(given)}`;
}

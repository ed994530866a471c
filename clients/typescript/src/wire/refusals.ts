/** The one reader of refusals: whichever dialect or proxy has refused, it becomes a `TowerlogError`. */

import { TowerlogError } from "./errors.js";
import type { HttpReply } from "./http.js";
import { retryAfterMs } from "./retries.js";

const MAX_MESSAGE_CHARS = 2_000;
/** Fields of a refusal that are told of. */
const MAX_DETAILS = 100;
const NO_REASON = "The server gave no reason.";
/** The code of a refusal that names none. */
const NO_CODE = "http";

export type JsonObject = Record<string, unknown>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The JSON of a good reply. Throws for a refusal, and for what is not JSON. */
export function jsonOf(reply: HttpReply): unknown {
  if (reply.status >= 300) throw refusalOf(reply);
  const value = parsed(reply.text);
  if (value === undefined) {
    throw new TowerlogError("bad_answer", `the server answered ${reply.status} with something that is not JSON`);
  }
  return value;
}

/** What a refusal says. The dialects name its parts differently; a gateway nests them in `error`. */
export function refusalOf(reply: HttpReply): TowerlogError {
  const body = parsed(reply.text);
  const said = isObject(body) ? body : null;
  const told = { status: reply.status, retryAfterMs: retryAfterMs(reply.headers.get("retry-after")) };
  const traceId = reply.headers.get("x-trace-id");
  if (said === null) return new TowerlogError(NO_CODE, printable(reply.text) || NO_REASON, { ...told, traceId });
  const inner = isObject(said.error) ? said.error : said;
  const errorText = typeof said.error === "string" ? said.error : undefined;
  const message = wordOf(inner.message) || wordOf(inner.detail) || errorText || NO_REASON;
  const code = wordOf(inner.code) || errorText || NO_CODE;
  return new TowerlogError(printable(code.toLowerCase()), printable(message), {
    ...told,
    details: detailsOf(inner.details ?? inner.errors ?? inner.fieldErrors),
    traceId: typeof said.trace_id === "string" ? printable(said.trace_id) : traceId,
  });
}

/** A word that a server says, whatever stands in its place: empty for an object, a list or nothing. */
export function wordOf(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** A server's words on one line, without what could control a terminal or pretend to be a line of a log. */
export function printable(text: string): string {
  return text
    .slice(0, MAX_MESSAGE_CHARS)
    .replace(/[\p{C}\p{Z}]+/gu, " ")
    .trim();
}

function detailsOf(details: unknown): Record<string, string> {
  if (!isObject(details)) return {};
  const told = Object.entries(details).slice(0, MAX_DETAILS);
  return Object.fromEntries(told.map(([name, what]) => [printable(name), printable(Array.isArray(what) ? what.map(wordOf).join(", ") : wordOf(what))]));
}

/** The value of a JSON text; undefined for what is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

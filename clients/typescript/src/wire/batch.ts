/** One request with a batch of events, and what its reply means for them. */

import type { TowerlogError } from "./errors.js";
import { type Http, type HttpReply, TIMEOUT_MS, failureOf } from "./http.js";
import { type JsonObject, isObject, jsonOf, refusalOf, wordOf } from "./refusals.js";

export const BATCH_EVENTS = 100;
export const BATCH_BYTES = 256 * 1024;
/** How much longer than it was asked to wait a server may take. */
const WAIT_SLACK_MS = 10_000;
const MAX_WORDS_CHARS = 300;
const STATUSES = new Set(["stored", "duplicate", "refused"]);

/** A pending command of a run. */
export interface Command {
  readonly run_key: string;
  readonly command_id: number | string;
  readonly type: string;
  /** An answer may be any value; other commands have text. */
  readonly content?: unknown;
  readonly question_key?: string | null;
  readonly expired?: boolean;
}

export interface EventResult {
  readonly status: string;
  readonly run_id?: string | null;
  readonly seq?: number | null;
  readonly code?: string;
  readonly message?: string;
}

/**
 * What to do with the events of a batch: each has its own result (`taken`); send them again soon (`later`); the key or the
 * server accepts none, so send them again rarely (`refused`); fewer at a time, since one is at fault (`smaller`).
 */
export type Disposition = "taken" | "later" | "refused" | "smaller";

export interface BatchReply {
  readonly disposition: Disposition;
  readonly results: readonly EventResult[];
  readonly commands: readonly Command[];
  readonly retryAfterMs: number;
  /** What was wrong. */
  readonly words: string;
}

/** How events are sent: by batches of our own wire, or one at a time in a dialect. */
export interface Wire {
  /** Events of one request. */
  readonly maxEvents: number;
  /** Sends encoded events, and asks for the commands of these runs. Never throws. */
  send(lines: readonly string[], runs: readonly string[]): Promise<BatchReply>;
  /** An event that says which numbers of a run will never come. It is made once, and has a number of its own. */
  notice(range: Range): string;
}

/** Numbers of a run that will never come, both ends included. */
export interface Range {
  readonly runKey: string;
  /** The run's: the notice may be the first of its events that arrives. */
  readonly thread: string | undefined;
  readonly from: number;
  to: number;
  readonly reason: string;
  /** The next number of the run's events. */
  readonly nextSeq: () => number;
}

export interface BatchRequest {
  clientId: string;
  /** Encoded events. */
  lines: readonly string[];
  /** Keys of runs whose commands are asked for. */
  runs: readonly string[];
  /** How long the reply may be held back until there is a command. */
  waitSeconds?: number;
  signal?: AbortSignal;
}

/** Sends encoded events. Never throws. */
export async function sendBatch(http: Http, batch: BatchRequest): Promise<BatchReply> {
  const { clientId, lines, runs, waitSeconds = 0, signal } = batch;
  const wait = waitSeconds ? { wait_seconds: waitSeconds } : {};
  const head = JSON.stringify({ client_id: clientId, runs, ...wait });
  const body = `${head.slice(0, -1)},"events":[${lines.join(",")}]}`;
  const timeoutMs = TIMEOUT_MS + (waitSeconds ? waitSeconds * 1000 + WAIT_SLACK_MS : 0);
  try {
    return readReply(await http.request("POST", "/api/v1/events", { body, timeoutMs, signal }), lines.length);
  } catch (error) {
    return failedReply(failureOf(error));
  }
}

/** Whether an event's result says that the server has it. */
export function isStored(result: EventResult): boolean {
  return result.status === "stored" || result.status === "duplicate";
}

/** What is wrong with the status of an event's result; null for one that says what became of it. */
export function strangeStatus(result: EventResult): string | null {
  if (STATUSES.has(result.status)) return null;
  const shown = result.status.slice(0, 40);
  return `the server answered '${shown}' for an event, which says neither that it is stored nor that it is not`;
}

export function readReply(reply: HttpReply, sent: number): BatchReply {
  if (reply.status !== 200) return failedReply(refusalOf(reply));
  const body = jsonOf(reply);
  if (!isObject(body)) return later("the reply is not that of a Towerlog server");
  const { results, commands = [] } = body;
  if (!areObjects(results) || results.length !== sent || !Array.isArray(commands)) {
    return later("the reply does not give a result for every event");
  }
  return {
    disposition: "taken",
    results: results.map(resultOf),
    commands: commandsOf(commands),
    retryAfterMs: 0,
    words: "",
  };
}

/** The commands of a reply: what is none is left out, and no member is of another type than it says. */
export function commandsOf(told: readonly unknown[]): Command[] {
  return told.filter(isObject).flatMap((one) => {
    const { run_key, command_id, type, question_key, expired } = one;
    if (typeof run_key !== "string" || typeof type !== "string") return [];
    if (typeof command_id !== "string" && typeof command_id !== "number") return [];
    return [{ run_key, command_id, type, content: one.content ?? null, question_key: wordOf(question_key) || null, expired: expired === true }];
  });
}

/** A result of an event; a status that is no word is one that nobody knows. */
function resultOf(told: JsonObject): EventResult {
  const { status, run_id, seq, code, message } = told;
  return {
    status: wordOf(status) || typeof status,
    run_id: typeof run_id === "string" ? run_id : null,
    seq: typeof seq === "number" ? seq : null,
    code: wordOf(code),
    message: wordOf(message),
  };
}

function areObjects(value: unknown): value is JsonObject[] {
  return Array.isArray(value) && value.every(isObject);
}

/** What a failure means for the events. */
export function failedReply(error: TowerlogError): BatchReply {
  const words = (error.status === null ? error.message : `HTTP ${error.status}: ${error.message}`).slice(0, MAX_WORDS_CHARS);
  const told = { ...later(words), retryAfterMs: error.retryAfterMs ?? 0 };
  if (error.blamesContent) return { ...told, disposition: "smaller" };
  if (error.status === null || error.isTemporary || error.status >= 500) return told;
  // 401 and 403 above all; also 404 or 405, from something that is not Towerlog.
  return { ...told, disposition: "refused" };
}

function later(words: string): BatchReply {
  return { disposition: "later", results: [], commands: [], retryAfterMs: 0, words };
}

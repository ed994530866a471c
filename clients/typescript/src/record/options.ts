/** What the calls of a run take. */

import type { Run } from "./run.js";
import type { Span } from "./spans.js";

export interface RunOptions {
  /** Who works: the name under which runs are listed. */
  agent?: string;
  /** The conversation or task that the run belongs to. */
  thread?: string;
  input?: unknown;
  /** Names the run before the server does: 1 to 128 visible characters. By default a fresh id. */
  runKey?: string;
  metadata?: Readonly<Record<string, unknown>>;
  labels?: Readonly<Record<string, string>>;
  /** The run that this one is a child of, or its key; by default the current run. */
  parent?: Run | string;
}

/** Where an event stands, and whose it is. */
export interface CallOptions {
  /** By default a fresh one. */
  spanId?: string;
  /** A span or its id; by default the innermost open one around the call, and none for an empty id. */
  parent?: Span | string;
  /** Where it is not the run's. */
  agent?: string;
  /** The model's own id of a tool call. */
  toolCallId?: string;
}

/** What is told of a model call. What is unknown is left out, which is not the same as 0. Further members are kept. */
export interface ModelCallMembers {
  /** What the provider or the framework gives; single figures override it. */
  usage?: unknown;
  /** Input that was neither read from a cache nor written to one. */
  inputTokens?: number | undefined;
  cachedInputTokens?: number | undefined;
  cacheWriteTokens?: number | undefined;
  /** Output without reasoning. */
  outputTokens?: number | undefined;
  reasoningTokens?: number | undefined;
  /** Dollars, exact as the number or the text that is given. */
  costUsd?: number | string | undefined;
  durationMs?: number | undefined;
  timeToFirstTokenMs?: number | undefined;
  messages?: unknown;
  response?: unknown;
  provider?: string | undefined;
  span?: Span | string;
  parent?: Span | string;
  agent?: string | undefined;
  [more: string]: unknown;
}

export interface AskOptions {
  /** After this time the question is withdrawn, and `ask` throws with the code `timeout`. */
  timeoutMs?: number;
  /** Gives the question up. */
  signal?: AbortSignal;
  /** A JSON Schema: only an answer that fits it is taken, and `ask` returns its value. */
  schema?: Readonly<Record<string, unknown>>;
  risk?: "low" | "medium" | "high" | "critical";
  /** After this time without an answer the server does what `onExpiry` says. */
  expiresInSeconds?: number;
  /** `wait` marks the question; `deny` has `ask` throw with the code `question_expired`; `cancel` cancels the run. */
  onExpiry?: "wait" | "deny" | "cancel";
}

export interface CheckpointOptions {
  /** By default steps count from 1. */
  stepIndex?: number;
  historyMeta?: readonly unknown[];
  state?: Readonly<Record<string, unknown>>;
}

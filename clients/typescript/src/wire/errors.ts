/** The one class of error that this package throws. Its texts never contain a key. */

/** What went wrong beside a server's own codes, which are in lower case as well. */
export type OwnCode =
  | "unreachable"
  | "bad_answer"
  | "invalid_argument"
  | "closed"
  | "cancelled"
  | "timeout"
  | "question_refused"
  | "question_expired";

export interface ErrorMembers {
  /** HTTP status; null where no usable reply came. */
  status?: number | null;
  /** Field → what is wrong with it. */
  details?: Readonly<Record<string, string>>;
  traceId?: string | null;
  /** After how long the server says that it may be tried again. */
  retryAfterMs?: number | null;
  cause?: unknown;
}

const TEMPORARY = new Set([408, 425, 429, 502, 503, 504]);
const BLAMES_CONTENT = new Set([400, 413, 422]);
/** Names by which other libraries know an abort and a time-out. */
const NAMES: Readonly<Record<string, string>> = { cancelled: "AbortError", timeout: "TimeoutError" };

export class TowerlogError extends Error {
  /** `unreachable` and `bad_answer`: whether the server has acted is unknown. */
  readonly code: OwnCode | (string & {});
  readonly status: number | null;
  readonly details: Readonly<Record<string, string>>;
  readonly traceId: string | null;
  readonly retryAfterMs: number | null;

  constructor(code: OwnCode | (string & {}), message: string, members: ErrorMembers = {}) {
    super(message, members.cause === undefined ? undefined : { cause: members.cause });
    this.name = NAMES[code] ?? "TowerlogError";
    this.code = code;
    this.status = members.status ?? null;
    this.details = members.details ?? {};
    this.traceId = members.traceId ?? null;
    this.retryAfterMs = members.retryAfterMs ?? null;
  }

  /** Whether the same request may be accepted later. */
  get isTemporary(): boolean {
    return this.code === "unreachable" || this.code === "in_progress" || TEMPORARY.has(this.status ?? 0);
  }

  /** Whether what was sent is at fault, so that sending it again will not help. */
  get blamesContent(): boolean {
    return BLAMES_CONTENT.has(this.status ?? 0);
  }
}

/** What a `catch` has caught, in words for people. */
export function wordsOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return error instanceof Error ? `${error.message}${cause}` : String(error);
}

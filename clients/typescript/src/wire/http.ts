/** Requests to one server with one key. It follows no redirect, since the key is for that server alone. */

import type { Destination } from "./address.js";
import { TowerlogError, wordsOf } from "./errors.js";
import { timerMs } from "./retries.js";

export const TIMEOUT_MS = 30_000;
/** Of a reply that is read whole: three events of the largest size, and more. */
export const MAX_RESPONSE_BYTES = 14 * 1024 * 1024;

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface HttpReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface HttpOptions {
  body?: string | undefined;
  headers?: Readonly<Record<string, string>>;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

export class Http {
  constructor(
    readonly destination: Destination,
    private readonly fetch: Fetch,
    /** Ends all that is under way. */
    readonly closed: AbortSignal,
  ) {}

  /** One request, and its reply whatever its status. Throws where no usable reply came. */
  async request(method: string, path: string, options: HttpOptions = {}): Promise<HttpReply> {
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    const call = new AbortController();
    const timer = setTimeout(() => call.abort(new Error(`no reply within ${Math.round(timeoutMs)} ms`)), timerMs(timeoutMs));
    const unlink = linked(call, options.signal, this.closed);
    try {
      const response = await this.open(method, path, { ...options, signal: call.signal });
      return { status: response.status, headers: response.headers, text: await wholeText(response) };
    } catch (error) {
      throw failureOf(error, call.signal);
    } finally {
      clearTimeout(timer);
      unlink();
    }
  }

  /** A request whose reply is read by the caller, who ends it with its signal. */
  async open(method: string, path: string, options: HttpOptions): Promise<Response> {
    const { url, apiKey, whyNot } = this.destination;
    if (whyNot !== null) throw new TowerlogError("invalid_argument", whyNot);
    // What does not begin with one slash would go on with the host's name or its port: to another server, with the key.
    if (!/^\/(?!\/)/.test(path)) throw new TowerlogError("invalid_argument", "a path begins with one slash");
    const headers: Record<string, string> = { ...options.headers };
    if (apiKey !== null) headers.Authorization = `Bearer ${apiKey}`;
    // By the session of a member, whose changes have to come from a page that can set a header.
    else if (method !== "GET") headers["X-Towerlog-Request"] = "1";
    const init: RequestInit = { method, headers, redirect: "manual" };
    if (options.body !== undefined) {
      init.body = options.body;
      headers["Content-Type"] = "application/json";
    }
    if (options.signal !== undefined) init.signal = options.signal;
    const response = await this.fetch(url + path, init);
    if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400 && response.status !== 304)) {
      await response.body?.cancel();
      throw new TowerlogError("bad_answer", "the server answered with a redirect, which is not followed");
    }
    return response;
  }
}

/** What a failed request is told as. */
export function failureOf(error: unknown, signal?: AbortSignal): TowerlogError {
  if (error instanceof TowerlogError) return error;
  const reason: unknown = signal?.aborted ? signal.reason : error;
  if (reason instanceof TowerlogError) return reason;
  // The caller's own signal: a time-out of this module has a reason of its own.
  const isAborted = signal?.aborted && reason instanceof Error && ["AbortError", "TimeoutError"].includes(reason.name);
  if (isAborted) return new TowerlogError("cancelled", wordsOf(reason), { cause: error });
  return new TowerlogError("unreachable", `the server cannot be reached: ${wordsOf(reason)}`, { cause: error });
}

/** Aborts `call` with any of these signals. Returns what ends that, so that a signal that lives long holds no calls. */
export function linked(call: AbortController, ...signals: (AbortSignal | undefined)[]): () => void {
  const links = signals.filter((signal) => signal !== undefined).map((signal) => {
    const abort = (): void => call.abort(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    return () => signal.removeEventListener("abort", abort);
  });
  return () => links.forEach((unlink) => unlink());
}

/** The body of a reply. Throws where it is too large. */
export async function wholeText(response: Response): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let text = "";
  let size = 0;
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    size += piece.value.length;
    if (size > MAX_RESPONSE_BYTES) {
      await reader.cancel();
      throw new TowerlogError("bad_answer", "the server's reply is too large");
    }
    text += decoder.decode(piece.value, { stream: true });
  }
  return text + decoder.decode();
}

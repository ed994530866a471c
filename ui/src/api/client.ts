/** Calls of the server's API, typed by its own description; whatever is wrong is one kind of error. */

import type { paths } from './schema';

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
type Having<M extends Method> = { [P in keyof paths]: paths[P] extends Record<M, unknown> ? P : never }[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P] extends Record<M, infer O> ? O : never;
type Json<T> = T extends { content: { 'application/json': infer J } } ? J : undefined;
type Answer<O> = O extends { responses: infer R }
  ? { [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Json<R[S]> : never }[keyof R]
  : never;

export interface Asked {
  readonly path?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | boolean | null | undefined>>;
  readonly body?: unknown;
  /** The body as JSON text, where its numbers are to stay as they are written. */
  readonly text?: string;
  /** What a repeat of this call is known by: it is carried out once. */
  readonly key?: string;
  readonly signal?: AbortSignal;
}

/** A call that was refused, or that did not reach the server (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** What is wrong with each field that was sent. */
    readonly fields: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** Whether the same call may succeed later. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The path of an operation with its parameters in place. */
export function pathOf(template: string, { path = {}, query = {} }: Asked): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name] ?? ''));
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') asked.set(name, String(value));
  }
  const text = asked.toString();
  return text ? `${filled}?${text}` : filled;
}

/** Calls an operation. Raises ApiError; an AbortError where `signal` says so. */
export async function call<M extends Method, P extends Having<M>>(
  method: M,
  template: P & string,
  asked: Asked = {},
): Promise<Answer<Operation<P, M>>> {
  return (await shared(method, pathOf(template, asked), asked)) as Answer<Operation<P, M>>;
}

/** What an operation answers, as JSON text: numbers as they are written. Raises as `call` does. */
export async function told<P extends Having<'get'>>(template: P & string, asked: Asked = {}): Promise<string> {
  return (await accepted('get', pathOf(template, asked), asked)).text();
}

/** A key for `Asked.key` that nobody has used. */
export function freshKey(): string {
  // Not `randomUUID`, which is there over HTTPS alone.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const open = new Map<string, Promise<unknown>>();

/** A change that is asked for again while it is being made, as by a second click, is the same one. */
function shared(method: Method, path: string, asked: Asked): Promise<unknown> {
  if (method === 'get' || asked.signal) return answer(method, path, asked);
  const words = `${method} ${path} ${bodyOf(asked) ?? ''}`;
  const known = open.get(words);
  if (known) return known;
  const made = answer(method, path, asked).finally(() => open.delete(words));
  open.set(words, made);
  return made;
}

function bodyOf({ body, text }: Asked): string | undefined {
  return text ?? (body === undefined ? undefined : JSON.stringify(body));
}

/** Told whenever the server says that nobody is signed in. */
export const SIGNED_OUT = 'towerlog:signed-out';

async function answer(method: Method, path: string, asked: Asked): Promise<unknown> {
  const response = await accepted(method, path, asked);
  return response.status === 204 ? undefined : response.json();
}

async function accepted(method: Method, path: string, asked: Asked): Promise<Response> {
  const response = await sent(method, path, asked);
  if (!response.ok) {
    if (response.status === 401) dispatchEvent(new Event(SIGNED_OUT));
    throw await refusal(response);
  }
  return response;
}

async function sent(method: Method, path: string, asked: Asked): Promise<Response> {
  const { key, signal } = asked;
  const isRead = method === 'get';
  const body = bodyOf(asked);
  const headers: Record<string, string> = { accept: 'application/json' };
  if (!isRead) headers['x-towerlog-request'] = '1';
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (key !== undefined) headers['idempotency-key'] = key;
  const request: RequestInit = {
    method: method.toUpperCase(),
    headers,
    credentials: 'same-origin',
    ...(body === undefined ? {} : { body }),
    ...(signal ? { signal } : {}),
  };
  // A connection that was kept open may be gone: what only reads is asked once more.
  for (let left = isRead ? 1 : 0; ; left--) {
    try {
      return await fetch(path, request);
    } catch (fault) {
      if (fault instanceof DOMException && fault.name === 'AbortError') throw fault;
      if (left <= 0) throw new ApiError(0, 'network', 'The server cannot be reached.');
    }
  }
}

/** What a reply that is no success says of itself. */
export async function refusal(response: Response): Promise<ApiError> {
  const told: unknown = await response.json().catch(() => null);
  const problem = typeof told === 'object' && told !== null ? (told as Record<string, unknown>) : {};
  const text = (name: string): string | null => (typeof problem[name] === 'string' ? problem[name] : null);
  const words = text('detail') ?? text('title') ?? `The server answered ${response.status}.`;
  const fields = typeof problem['errors'] === 'object' && problem['errors'] !== null ? problem['errors'] : {};
  return new ApiError(response.status, text('code') ?? 'unknown', words, fields as Record<string, string>);
}

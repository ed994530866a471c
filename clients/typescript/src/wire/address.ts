/** Where the server is, and with which key. Nothing here throws: what cannot be used says why. */

import { TowerlogError } from "./errors.js";

export const LOCAL_URL = "http://127.0.0.1:8700";

/** A server and a key; `whyNot` says why nothing can be sent there. */
export interface Destination {
  readonly url: string;
  readonly apiKey: string | null;
  readonly whyNot: string | null;
}

export function destinationOf(url: string | undefined, apiKey: string | undefined): Destination {
  const base = baseOf(url || LOCAL_URL);
  if (base === null) return { url: "", apiKey: null, whyNot: "the URL of the server is not valid" };
  // Sent in a header, so visible ASCII.
  if (apiKey && !/^[!-~]+$/.test(apiKey)) return { url: base, apiKey: null, whyNot: "the API key is not valid" };
  return { url: base, apiKey: apiKey || null, whyNot: null };
}

/** The address without a slash at its end; null for what is none. It names no user and has no query. */
function baseOf(text: string): string | null {
  const url = parsedUrl(text);
  if (url === null) return null;
  const isHttp = url.protocol === "http:" || url.protocol === "https:";
  if (!isHttp || url.username || url.password || url.search || url.hash) return null;
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

/** The parts of an address; null for what is none. */
export function parsedUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** A path from a template and its ids, each percent-encoded. */
export function pathOf(template: string, ids: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => segment(ids[name]));
}

/** One segment of a path. `.` and `..` would be taken for steps in the path, however they are encoded. */
function segment(value: unknown): string {
  if (typeof value !== "string" || value === "" || value === "." || value === "..") {
    throw new TowerlogError("invalid_argument", "an id must be a text, and not empty, `.` or `..`");
  }
  try {
    return encodeURIComponent(value);
  } catch {
    throw new TowerlogError("invalid_argument", "an id has half of a character");
  }
}

export type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

export function withQuery(path: string, query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

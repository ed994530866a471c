/** Server-sent events: bytes to frames, as the HTML standard defines them. Does not interpret their data. */

import { TowerlogError } from "./errors.js";

export const MAX_FRAME_CHARS = 14 * 1024 * 1024;

export interface Frame {
  readonly event: string;
  readonly data: string;
  /** Null for a frame without an id. */
  readonly id: string | null;
}

/** Puts frames together. What the end of a connection has cut off is no frame. */
export class FrameReader {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #data: string[] = [];
  #event = "";
  #id: string | null = null;
  #size = 0;

  /** The frames that this piece completes. Throws for one that is too large. */
  feed(piece: Uint8Array): Frame[] {
    const lines = this.#decoder.decode(piece, { stream: true }).split("\n");
    lines[0] = this.#rest + (lines[0] ?? "");
    this.#rest = lines.pop() ?? "";
    const frames = lines.map((line) => this.#line(line.replace(/\r$/, ""))).filter((frame) => frame !== null);
    if (this.#size + this.#rest.length > MAX_FRAME_CHARS) {
      throw new TowerlogError("bad_answer", "a frame of the stream is too large");
    }
    return frames;
  }

  #line(line: string): Frame | null {
    if (line === "") return this.#finished();
    this.#size += line.length + 1;
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #finished(): Frame | null {
    const frame = { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id };
    const isEmpty = this.#data.length === 0;
    this.#data = [];
    this.#event = "";
    this.#id = null;
    this.#size = 0;
    return isEmpty ? null : frame;
  }
}

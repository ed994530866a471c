/** Server-sent events from the bytes of a response, as the HTML standard has them. No DOM, no fetch. */

export interface Frame {
  readonly event: string;
  readonly data: string;
  readonly id: string | null;
}

/** Reads text in pieces of any length. */
export class FrameReader {
  /** What the server asks for between two connections, in ms. */
  retry: number | null = null;
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id: string | null = null;

  /** The frames that are whole with this piece. */
  read(piece: string): Frame[] {
    const found: Frame[] = [];
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        const frame = this.#take();
        if (frame) found.push(frame);
      } else this.#field(line);
    }
    return found;
  }

  #take(): Frame | null {
    const frame = this.#data.length ? { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id } : null;
    this.#event = '';
    this.#data = [];
    return frame;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') this.#event = value;
    else if (name === 'data') this.#data.push(value);
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }
}

/** A relay before the server that can lose, delay and answer in its place what goes through it. */

import http from "node:http";
import type { AddressInfo } from "node:net";

import { URL_OF_SERVER } from "./rig.js";

export interface Seen {
  method: string;
  path: string;
  body: string;
  at: number;
}

/** What happens to a request: a reply in the server's place, its reply lost or cut, or a header of it hidden. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  | { losesReply: true }
  | { refuses: true }
  | { hides: string }
  | { cutsAfter: number };

export class Relay {
  readonly seen: Seen[] = [];
  /** Is asked for each request; undefined lets it through. */
  fault: (request: Seen) => Fault | undefined = () => undefined;
  readonly #server = http.createServer((request, response) => void this.#take(request, response));
  readonly #target = new URL(URL_OF_SERVER);

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The events of all requests to the batch endpoint, by request. */
  batches(): { client_id: string; events: { type: string; run_key: string; client_seq: number; event_id: string }[] }[] {
    return this.seen.filter((one) => one.path === "/api/v1/events").map((one) => JSON.parse(one.body));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const one = { method: request.method ?? "", path: request.url ?? "", body: Buffer.concat(pieces).toString(), at: performance.now() };
    this.seen.push(one);
    const fault = this.fault(one);
    if (fault !== undefined && "refuses" in fault) request.socket.destroy();
    else if (fault !== undefined && "status" in fault) response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
    else this.#forward(request, one, response, fault);
  }

  #forward(request: http.IncomingMessage, one: Seen, response: http.ServerResponse, fault: Fault | undefined): void {
    const { hostname, port } = this.#target;
    const headers: http.OutgoingHttpHeaders = { ...request.headers, host: this.#target.host };
    if (fault !== undefined && "hides" in fault) delete headers[fault.hides];
    const forwarded = http.request({ hostname, port, path: one.path, method: one.method, headers, agent: false }, (reply) => {
      if (fault !== undefined && "losesReply" in fault) {
        reply.resume().on("end", () => request.socket.destroy());
        return;
      }
      response.writeHead(reply.statusCode ?? 502, reply.headers);
      response.flushHeaders();
      let left = fault !== undefined && "cutsAfter" in fault ? fault.cutsAfter : Number.POSITIVE_INFINITY;
      reply.on("data", (piece: Buffer) => {
        response.write(piece.subarray(0, left));
        left -= piece.length;
        if (left <= 0) response.socket?.end(() => request.socket.destroy());
      });
      reply.on("end", () => response.end());
      reply.on("error", () => request.socket.destroy());
    });
    forwarded.on("error", () => request.socket.destroy());
    response.on("close", () => forwarded.destroy());
    forwarded.end(one.body);
  }
}

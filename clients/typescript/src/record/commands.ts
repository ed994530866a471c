/**
 * Commands of the server for a run: cancel, input, message, pause, resume.
 *
 * A command takes effect once, however often the server repeats it, and is acknowledged then: a cancel when the program
 * learns of it. An answer reaches the question of its key, and no other: once the server has that question, and only if it
 * came with the reply to that or was given later. What came before may have been withdrawn since; what still holds is
 * repeated with that reply.
 */

import type { Command } from "../wire/batch.js";
import { TowerlogError } from "../wire/errors.js";
import { wordOf } from "../wire/refusals.js";
import { Pending } from "./pending.js";

/** Command ids of a run that are remembered, to recognise repetitions. */
const MAX_REMEMBERED = 1_000;
/** Messages that are kept until the agent reads them; a server sends fewer. */
const MAX_KEPT = 100;
/** Questions that nobody waits for any more, remembered so that a late answer is told as not taken. */
const MAX_GIVEN_UP = 1_000;
export const NO_ANSWER = "no answer in time";

/** Acknowledges a command; `taken`: whether the program does something with it. */
export type Acknowledge = (command: Command, taken: boolean) => void;

/** Somebody who waits for an answer. */
interface Asker {
  readonly pending: Pending<unknown>;
  /** Answers count whose command has a higher id; null: none do, the server does not have the question yet. */
  above: number | null;
}

export class Inbox {
  /** Why the run is being cancelled, in the words of whoever requested it. */
  reason: string | null = null;
  #seen = new Set<unknown>();
  #asking = new Map<string, Asker>();
  #givenUp = new Set<string>();
  #messages: Command[] = [];
  #pause: Command | null = null;
  /** One for each branch of the program that waits in a pause. */
  #paused: Pending<void>[] = [];
  #isCancelled = false;
  /** The program has ended the run. */
  #isClosed = false;
  /** A cancel of which the program has not learnt yet. */
  #unnoticed: Command | null = null;
  #abort: AbortController | null = null;

  constructor(private readonly acknowledge: Acknowledge) {}

  /** Whether a cancel has come, for this package itself: the program has not learnt of it by that. */
  get hasCancel(): boolean {
    return this.#isCancelled;
  }

  /** Whether a cancel has come, for code of the program: it is acknowledged then. */
  noticesCancel(): boolean {
    const command = this.#unnoticed;
    this.#unnoticed = null;
    if (command !== null) this.acknowledge(command, true);
    return this.#isCancelled;
  }

  /** A signal that is aborted by a cancel. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.noticesCancel() && !this.#abort.signal.aborted) this.#abort.abort(this.cancellation());
    return this.#abort.signal;
  }

  /** Carries out a command that has not been seen before, and says whether it was; an unknown type is ignored. */
  take(command: Command): boolean {
    if (this.#seen.has(command.command_id) || (command.type === "input" && this.#isEarly(command))) return false;
    remember(this.#seen, command.command_id, MAX_REMEMBERED);
    if (command.type === "cancel") this.#cancel(command);
    else if (command.type === "input") this.#answered(command);
    else if (command.type === "message") this.#messages = [...this.#messages, command].slice(-MAX_KEPT);
    else if (command.type === "pause") this.#pause = command;
    else if (command.type === "resume") this.#resumed(command);
    return true;
  }

  /** The answer to the question of this key, which is to be told after this call; acknowledged when it arrives. */
  answer(key: string): Pending<unknown> {
    const pending = new Pending<unknown>();
    if (this.noticesCancel()) pending.reject(this.cancellation());
    else if (this.#isClosed) pending.reject(ended());
    else this.#asking.set(key, { pending, above: null });
    return pending;
  }

  /** The server has the question of this key: from now on answers count whose command has a higher id. */
  stored(key: string, above: number): void {
    const asker = this.#asking.get(key);
    if (asker !== undefined) asker.above = above;
  }

  /** Whether nothing has come yet that ends the wait for an answer. */
  waitsFor(key: string): boolean {
    return this.#asking.has(key);
  }

  /** Ends the wait for an answer, whatever the server says later. */
  giveUp(key: string, error: unknown): void {
    const asker = this.#asking.get(key);
    if (asker === undefined) return;
    this.#asking.delete(key);
    remember(this.#givenUp, key, MAX_GIVEN_UP);
    asker.pending.reject(error);
  }

  /** The server has refused a question, so that nobody can answer it. */
  refused(key: string, words: string): void {
    const asker = this.#asking.get(key);
    this.#asking.delete(key);
    asker?.pending.reject(new TowerlogError("question_refused", words));
  }

  /** The messages that have come since the last call; acknowledged by it. Throws where a cancel is all that has come. */
  messages(): string[] {
    const taken = this.#messages;
    if (taken.length === 0 && this.noticesCancel()) throw this.cancellation();
    this.#messages = [];
    for (const command of taken) this.acknowledge(command, true);
    return taken.map((command) => wordOf(command.content));
  }

  /** Begins the requested pause: what ends with it. Null when no pause was requested. */
  pause(): Pending<void> | null {
    const command = this.#pause;
    this.#pause = null;
    if (command === null) return null;
    const paused = new Pending<void>();
    this.#paused.push(paused);
    this.acknowledge(command, true);
    return paused;
  }

  cancellation(): TowerlogError {
    return new TowerlogError("cancelled", this.reason ?? "the run was cancelled");
  }

  /** Throws where nobody answers any more: after a cancel, and after the end of the run. */
  checkOpen(): void {
    if (this.noticesCancel()) throw this.cancellation();
    if (this.#isClosed) throw ended();
  }

  /** Ends all waits: the program has ended the run. */
  close(): void {
    this.#isClosed = true;
    this.#pause = null;
    for (const pending of this.#stopWaiting()) pending.reject(ended());
  }

  #stopWaiting(): { reject(error: unknown): void }[] {
    const waiting: { reject(error: unknown): void }[] = [...this.#asking.values()].map((asker) => asker.pending);
    waiting.push(...this.#paused);
    this.#asking.clear();
    this.#paused = [];
    return waiting;
  }

  /**
   * Whether a command answers what this attempt has not asked the server, as far as this side knows. It is not looked at:
   * while it holds, it comes with each reply.
   */
  #isEarly(command: Command): boolean {
    const key = command.question_key ?? "";
    const asker = this.#asking.get(key);
    if (asker === undefined) return !this.#givenUp.has(key);
    return asker.above === null || (typeof command.command_id === "number" && command.command_id <= asker.above);
  }

  /** An answer of a person, or the server's word that none has come in time. */
  #answered(command: Command): void {
    const key = command.question_key ?? "";
    const asker = this.#asking.get(key);
    this.#asking.delete(key);
    // The acknowledgement first, so that it precedes whatever the answer leads to.
    this.acknowledge(command, asker !== undefined);
    if (command.expired) asker?.pending.reject(new TowerlogError("question_expired", NO_ANSWER));
    else asker?.pending.resolve(command.content ?? null);
  }

  #resumed(command: Command): void {
    if (this.#pause !== null) this.acknowledge(this.#pause, true);
    this.#pause = null;
    this.acknowledge(command, true);
    for (const paused of this.#paused) paused.resolve();
    this.#paused = [];
  }

  #cancel(command: Command): void {
    this.#isCancelled = true;
    this.#unnoticed = command;
    this.reason = wordOf(command.content) || null;
    const waiting = this.#stopWaiting();
    // Who waits is told at once. Other code learns of it where it looks, and may never look.
    if (waiting.length > 0 || this.#abort !== null) this.noticesCancel();
    for (const pending of waiting) pending.reject(this.cancellation());
    this.#abort?.abort(this.cancellation());
  }
}

function ended(): TowerlogError {
  return new TowerlogError("cancelled", "the run has ended");
}

function remember<T>(known: Set<T>, one: T, most: number): void {
  known.add(one);
  if (known.size > most) known.delete(known.values().next().value as T);
}

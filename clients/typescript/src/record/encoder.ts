/**
 * The encoder of one run's events: numbers, ids, times, and what is never sent in part.
 *
 * Most events may be shortened. State may not: a checkpoint, and the `input` and `result` of a run, are sent whole or not
 * at all, and what is not sent takes a number of its own, which is reported as lost.
 */

import { type Data, type Head, MAX_EVENT_BYTES, type Measure, dataText, encodeEvent, joined, wholeText } from "../values/encoding.js";
import { uuid7 } from "../wire/ids.js";
import type { Range } from "../wire/batch.js";

/** With its envelope a checkpoint must fit into one request of 16 MiB. */
const MAX_CHECKPOINT_BYTES = 16 * 1024 * 1024 - 64 * 1024;
/** What stands beside an event's data. */
const MAX_HEAD_BYTES = 4_096;
/** The name of the event, of type `other`, that says which numbers of a client will never come. */
export const LOSS_NOTICE = "client.dropped";
/** Members that are sent whole or not at all; the event is sent in either case. */
const WHOLE_MEMBERS: Readonly<Record<string, string>> = { "run.started": "input", "run.completed": "result" };

/** An event with its number. */
export interface Encoded {
  readonly seq: number;
  readonly line: string;
}

/** A number that will never come. */
export interface Lost {
  readonly seq: number;
  readonly reason: string;
}

export interface Told {
  readonly type: string;
  readonly data: Data;
  readonly agent?: string | undefined;
  readonly thread?: string | undefined;
}

export class EventEncoder {
  /** The last number that was given out. */
  seq = 0;

  constructor(
    private readonly runKey: string,
    private readonly measure: Measure,
  ) {}

  readonly nextSeq = (): number => {
    this.seq += 1;
    return this.seq;
  };

  /** The lines of an event, and what of it is lost. */
  encode(told: Told): { lines: Encoded[]; lost: Lost[] } {
    if (told.type === "checkpoint") return this.#checkpoint(told);
    const member = WHOLE_MEMBERS[told.type];
    if (member !== undefined && told.data[member] !== undefined) return this.#withWhole(told, member);
    return { lines: [this.#line(told, told.data)], lost: [] };
  }

  #line(told: Told, data: Data): Encoded {
    const head = this.#head(told);
    return { seq: this.seq, line: encodeEvent(head, data, this.measure) };
  }

  #head(told: Told): Head {
    return headOf(told, this.runKey, this.nextSeq());
  }

  #lost(reason: string): Lost {
    return { seq: this.nextSeq(), reason };
  }

  #checkpoint(told: Told): { lines: Encoded[]; lost: Lost[] } {
    const whole = wholeText(told.data);
    if (whole === null) return { lines: [], lost: [this.#lost("a checkpoint cannot be sent whole")] };
    const data = Object.keys(whole.converted).length > 0 ? dataText(told.data) : whole.text;
    const line = joined(headOf(told, this.runKey, this.seq + 1), data);
    const size = this.measure(line);
    if (size > MAX_CHECKPOINT_BYTES) {
      return { lines: [], lost: [this.#lost(`a checkpoint of ${size} bytes is too large to be sent whole`)] };
    }
    return { lines: [{ seq: this.nextSeq(), line }], lost: [] };
  }

  /** The event with this member whole; without it, and a number reported as lost, if that cannot be. */
  #withWhole(told: Told, member: string): { lines: Encoded[]; lost: Lost[] } {
    const { [member]: value, ...rest } = told.data;
    const whole = wholeText(value, member);
    const others = dataText(rest, whole?.converted);
    const size = this.measure(whole?.text ?? "");
    if (whole !== null && size + this.measure(others) + MAX_HEAD_BYTES <= MAX_EVENT_BYTES) {
      const head = this.#head(told);
      const data = `{${JSON.stringify(member)}:${whole.text}${others === "{}" ? "" : ","}${others.slice(1)}`;
      return { lines: [{ seq: this.seq, line: joined(head, data) }], lost: [] };
    }
    const reason = whole === null ? "it cannot be sent whole" : `${size} bytes are too many to be sent whole`;
    const lost = this.#lost(`the run's ${member}: ${reason}`);
    return { lines: [this.#line(told, { ...rest, towerlog_dropped: { [member]: reason } })], lost: [lost] };
  }
}

/** A notice that numbers will never come. */
export function noticeOf(range: Range, measure: Measure): string {
  const payload = { from_seq: range.from, to_seq: range.to, reason: range.reason };
  const head = headOf({ type: "other", data: {}, thread: range.thread }, range.runKey, range.nextSeq());
  return encodeEvent(head, { name: LOSS_NOTICE, payload }, measure);
}

function headOf(told: Told, runKey: string, seq: number): Head {
  return {
    type: told.type,
    event_id: uuid7(),
    client_seq: seq,
    run_key: runKey,
    time: Date.now(),
    ...(told.agent === undefined ? {} : { agent: told.agent }),
    ...(told.thread === undefined ? {} : { thread: told.thread }),
  };
}

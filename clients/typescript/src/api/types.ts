/** What the server answers, in its own words: the types of its OpenAPI document, under short names. */

import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** All that is known of a run. */
export type RunDetail = Schemas["RunDetail"];
/** A run in a list. */
export type RunRow = Schemas["FullRow"];
export type CreatedRun = Schemas["CreatedReply"];

/** An event of a run's stream, told from a `Gap` by its `type`. `data` is what was sent; what stands beside it has one name for all dialects. */
export type RunEvent = Schemas["FrameData"] &
  Partial<Pick<Schemas["DeltaData"], "content_delta">> &
  Partial<Pick<Schemas["TimedData"], "duration_ms">>;

/** Stands for events that cannot be had any more. */
export interface Gap {
  type: "gap";
  requested?: number | null;
  oldest_seq?: number | null;
  missing?: number | null;
  reason?: string | null;
}

/** A new run: the body of the request, and what makes its repetition harmless. */
export type NewRun = Partial<Schemas["RunBody"]>;

export interface InputOptions {
  /** The question; by default the oldest that the run waits for. */
  questionId?: number;
  /** Only an answer, or only a message. */
  kind?: "input" | "message";
}

export interface RunFilters {
  status?: RunRow["status"];
  agent?: string;
  thread_id?: string;
  model?: string;
  persona_id?: string;
  parent_run_id?: string;
  since?: string;
  until?: string;
  q?: string;
  /** Rows that are fetched at a time, at most 200: all that are found are given. */
  page_size?: number;
}

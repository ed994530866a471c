/** Events of a run in one line each, and the conversation that they tell. */

import { asText } from './json';
import { cut } from './text';

/** What is used of an event, as the API gives it. */
export interface Told {
  readonly seq: number;
  readonly type: string;
  readonly name?: string | null;
  readonly tool?: string;
  readonly arguments?: unknown;
  readonly success?: boolean;
  readonly error?: string;
  readonly result?: unknown;
  readonly text?: string;
  readonly content?: string;
  readonly answered_by?: string;
  readonly written_by?: string;
  readonly model?: string;
  readonly step_index?: number;
  readonly data?: unknown;
  readonly recorded_at: string;
  readonly duration_ms?: number | null;
}

/** What a tool was called with, wherever its sender has put it. */
function asked(event: Told): unknown {
  return event.arguments ?? member(event, ['arguments', 'input_preview', 'input_summary', 'input']);
}

/** What a person or an agent wrote. */
function written(event: Told): string | undefined {
  return event.content ?? (member(event, ['content']) as string | undefined);
}

/** What a tool gave. */
function given(event: Told): unknown {
  return event.result ?? member(event, ['result', 'output_preview', 'output_summary', 'output']);
}

function member(event: Told, names: readonly string[]): unknown {
  const data = (event.data ?? {}) as Record<string, unknown>;
  return names.map((name) => data[name]).find((value) => value !== undefined && value !== null);
}

/** The ends of a step, in words. */
const ENDS: Readonly<Record<string, string>> = { start: 'begins', end: 'ends', error: 'failed' };

/** What an event says beside its type; one line. */
export function summary(event: Told): string {
  const data = (event.data ?? {}) as Record<string, unknown>;
  const said =
    event.text ??
    written(event) ??
    event.error ??
    (event.tool ? [event.tool, preview(event.type === 'tool.call' ? asked(event) : given(event))].filter(Boolean).join('  ') : null) ??
    (event.step_index !== undefined ? `after step ${event.step_index}` : null) ??
    event.model ??
    (event.type === 'step' && event.name ? [event.name, ENDS[data['phase'] as string]].filter(Boolean).join(' ') : null) ??
    event.name ??
    ['question', 'reason', 'phase', 'log_line', 'worker_id', 'input', 'result'].map((name) => data[name]).find((value) => value !== undefined);
  return preview(said);
}

function preview(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return cut(text, 300);
}

/** One call of a tool, with what came of it. */
export interface ToolCall {
  readonly seq: number;
  readonly time: string;
  readonly asked: string;
  readonly gave: string;
  readonly failed: boolean;
  /** Whether a result was reported. */
  readonly isOver: boolean;
  readonly ms: number | null;
}

/** The calls of a tool, from events in order: a result is of the call with its id, else of the oldest without one. */
export function callsOf(events: readonly Told[], tool: string): ToolCall[] {
  const calls: (ToolCall & { readonly id: unknown })[] = [];
  for (const event of events) {
    if ((event.tool ?? '') !== tool) continue;
    const id = member(event, ['tool_call_id', 'call_id', 'id']);
    const open = calls.findIndex((call) => !call.isOver && (id === undefined || call.id === undefined || call.id === id));
    const call = event.type === 'tool.call' ? undefined : calls[open];
    const told = { seq: event.seq, time: event.recorded_at, id, asked: preview(asked(event)), gave: '', failed: false, isOver: false, ms: null };
    if (event.type === 'tool.call') calls.push(told);
    else {
      const over = { gave: preview(event.error ?? given(event)), failed: toneOf(event) === 'failed', isOver: true, ms: event.duration_ms ?? (call ? Date.parse(event.recorded_at) - Date.parse(call.time) : null) };
      if (call) calls[open] = { ...call, ...over };
      else calls.push({ ...told, asked: '', ...over });
    }
  }
  return calls;
}

/** The colour of what an event means for its run: a name of `tokens.css`. */
export function toneOf(event: Told): string {
  if (event.success === false || event.error || /failed|lost|exceeded/.test(event.type)) return 'failed';
  if (/waiting|warning|silent|cancel/.test(event.type)) return 'waiting';
  if (event.type === 'run.completed') return 'completed';
  return 'text';
}

export interface Turn {
  readonly who: 'agent' | 'person' | 'tool' | 'run';
  readonly name: string;
  readonly text: string;
  readonly seq: number;
  readonly failed: boolean;
  /** What it is compared by, where the text is shortened for reading. */
  readonly key?: string;
}

/** Types of events that are turns of the conversation. */
export const TOLD_TYPES = ['message.delta', 'tool.call', 'tool.result', 'run.queued', 'run.started', 'run.waiting_for_input', 'run.input', 'run.message', 'run.completed', 'run.failed', 'run.cancelled', 'run.lost', 'budget.exceeded'];

/** What was said in a run, from its events in order: pieces of text joined, calls with their results, questions, answers. */
export function conversation(events: readonly Told[]): Turn[] {
  const turns: Turn[] = [];
  let joined: { seq: number; pieces: string[] } | null = null;
  const close = (): void => {
    if (joined) turns.push({ who: 'agent', name: 'agent', text: joined.pieces.join(''), seq: joined.seq, failed: false });
    joined = null;
  };
  for (const event of events) {
    if (event.type === 'message.delta') {
      // A thought is no part of the answer, and has no text.
      if (event.text) (joined ??= { seq: event.seq, pieces: [] }).pieces.push(event.text);
      continue;
    }
    const turn = turnOf(event);
    if (!turn) continue;
    close();
    turns.push(turn);
  }
  close();
  return turns;
}

function turnOf(event: Told): Turn | null {
  const data = (event.data ?? {}) as Record<string, unknown>;
  const turn = (who: Turn['who'], name: string, text: string): Turn => ({ who, name, text, seq: event.seq, failed: toneOf(event) === 'failed' });
  switch (event.type) {
    case 'run.queued':
    case 'run.started':
      return data['input'] === undefined ? null : turn('person', 'input', asText(data['input']));
    case 'tool.call':
      return turn('tool', `calls ${event.tool ?? 'a tool'}`, asText(asked(event)));
    case 'tool.result':
      return turn('tool', `${event.tool ?? 'a tool'} ${event.success === false ? 'failed' : 'answered'}`, asText(event.error ?? given(event)));
    case 'run.waiting_for_input':
      return turn('agent', 'asks', asText(data['question']));
    case 'run.input':
      return turn('person', event.answered_by ?? 'answer', asText(written(event)));
    case 'run.message':
      return turn('person', event.written_by ?? 'message', asText(written(event)));
    case 'run.completed':
    case 'run.failed':
    case 'run.cancelled':
    case 'run.lost':
    case 'budget.exceeded':
      return turn('run', event.type.replace('run.', '').replace('.', ' '), asText(event.error ?? given(event) ?? data['reason']));
    default:
      return null;
  }
}

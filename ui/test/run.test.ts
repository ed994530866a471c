import { describe, expect, it } from 'vitest';
import { compare, verdict } from '../src/model/compare';
import { curl } from '../src/model/curl';
import { diff } from '../src/model/diff';
import { callsOf, conversation, summary, type Told, toneOf, type Turn } from '../src/model/events';
import { tally, waitMs } from '../src/model/replay';
import { dense, summed } from '../src/model/series';
import { barAt, layout, MIN_BAR, type Span, ticks } from '../src/model/timeline';

const T = Date.parse('2026-04-02T10:00:00Z');
const at = (ms: number): string => new Date(T + ms).toISOString();
const span = (kind: string, begin: number, end: number | null, more: Partial<Span> = {}): Span => ({
  kind,
  name: kind,
  begin: at(begin),
  end: end === null ? null : at(end),
  first_seq: 1,
  last_seq: 2,
  count: 1,
  failed: 0,
  agent: 1,
  run_id: null,
  ...more,
});

describe('the timeline', () => {
  it('has a track a kind, in one order, and none that is empty', () => {
    const drawing = layout([span('tool', 0, 10), span('model', 20, 30), span('lease', 0, 100)], T, T + 100, 100);
    expect(drawing.tracks.map(({ words, row }) => [words, row])).toEqual([
      ['lease', 0],
      ['models', 1],
      ['tools', 2],
    ]);
    expect(drawing.rows).toBe(3);
  });
  it('has a lane for each of several agents, under its name', () => {
    const spans = [span('lease', 0, 100, { agent: 0 }), span('tool', 0, 10), span('tool', 5, 10, { agent: 2 })];
    expect(layout(spans, T, T + 100, 100, ['writer', null]).tracks.map(({ words, row, isHead }) => [words, row, isHead])).toEqual([
      ['lease', 0, false],
      ['writer', 1, true],
      ['tools', 2, false],
      ['agent 2', 3, true],
      ['tools', 4, false],
    ]);
  });
  it('puts what overlaps into rows of its own', () => {
    const drawing = layout([span('tool', 0, 50), span('tool', 10, 60), span('tool', 70, 80)], T, T + 100, 1000);
    expect(drawing.bars.map(({ row, x, width }) => [row, x, width])).toEqual([
      [0, 0, 500],
      [1, 100, 500],
      [0, 700, 100],
    ]);
  });
  it('draws what is too short to be seen, and what goes on up to the end', () => {
    const drawing = layout([span('tool', 0, 0), span('wait', 50, null)], T, T + 100, 100);
    expect(drawing.bars.map(({ width, colour }) => [width, colour])).toEqual([
      [50, 'waiting'],
      [MIN_BAR, 'quiet'],
    ]);
  });
  it('leaves out what is outside, and cuts what reaches over', () => {
    const drawing = layout([span('tool', 0, 10), span('tool', 40, 160)], T + 50, T + 100, 50);
    expect(drawing.bars.map(({ x, width }) => [x, width])).toEqual([[0, 50]]);
  });
  it('shows by colour what failed', () => {
    const [bar] = layout([span('tool', 0, 10, { failed: 1, count: 3 })], T, T + 10, 10).bars;
    expect([bar?.colour, bar?.label]).toEqual(['failed', 'tool ×3']);
  });
  it('finds the bar at a place', () => {
    const { bars } = layout([span('tool', 0, 50), span('tool', 10, 60)], T, T + 100, 1000);
    expect(barAt(bars, 150, 1)?.x).toBe(100);
    expect(barAt(bars, 700, 1)).toBeNull();
  });
  it('holds two thousand spans of two hundred agents', () => {
    const many = Array.from({ length: 2000 }, (_, n) => span('tool', n, n + 5, { agent: n % 200 }));
    expect(layout(many, T, T + 2005, 1200).bars).toHaveLength(2000);
  });
  it.each([
    [1000, 1000, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]],
    [6500, 1000, [0, 1000, 2000, 3000, 4000, 5000, 6000]],
    [3_600_000, 400, [0, 900_000, 1_800_000, 2_700_000, 3_600_000]],
  ])('names round moments of %d ms on %d pixels', (length, width, moments) => expect(ticks(length, width)).toEqual(moments));
});

describe('differences', () => {
  const told = (before: string, after: string): string =>
    diff([...before], [...after], (letter) => letter)
      .map(({ kind, value }) => (kind === 'same' ? value : kind === 'new' ? `+${value}` : `-${value}`))
      .join('');
  it.each([
    ['abc', 'abc', 'abc'],
    ['', 'ab', '+a+b'],
    ['ab', '', '-a-b'],
    ['abcd', 'abxd', 'ab-c+xd'],
    ['abcd', 'bcde', '-abcd+e'],
  ])('of %s and %s', (before, after, words) => expect(told(before, after)).toBe(words));
  it('give both lists back', () => {
    const [one, other] = ['kitten sitting on a mat', 'sitting kittens in a hat'];
    const pieces = diff([...one], [...other], (letter) => letter);
    expect(pieces.filter(({ kind }) => kind !== 'new').map(({ value }) => value).join('')).toBe(one);
    expect(pieces.filter(({ kind }) => kind !== 'gone').map(({ value }) => value).join('')).toBe(other);
  });
  it('of what is too long to be compared are told as replaced', () => {
    const [one, other] = [0, 1].map((n) => Array.from({ length: 3000 }, (_, m) => `${n} ${m}`));
    expect(diff(one ?? [], other ?? [], (text) => text)).toHaveLength(6000);
  });
});

let seq = 0;
const event = (type: string, more: Partial<Told> = {}): Told => ({ seq: ++seq, type, recorded_at: at(seq * 1000), ...more });

describe('events', () => {
  it('are told in a line, wherever their sender has put what they say', () => {
    expect(summary(event('tool.call', { tool: 'search', data: { arguments: { q: 'towers' } } }))).toBe('search  {"q":"towers"}');
    expect(summary(event('tool.result', { tool: 'search', error: 'no answer' }))).toBe('no answer');
    expect(summary(event('run.queued', { data: { input: 'docs' } }))).toBe('docs');
    expect(summary(event('run.started'))).toBe('');
    expect(summary(event('checkpoint', { step_index: 3, model: 'words-1' }))).toBe('after step 3');
    expect(['start', 'end', undefined].map((phase) => summary(event('step', { name: 'look', data: { phase } })))).toEqual(['look begins', 'look ends', 'look']);
  });
  it('have the tone of what they mean', () => {
    expect([event('run.failed'), event('run.waiting_for_input'), event('step'), event('run.completed')].map(toneOf)).toEqual(['failed', 'waiting', 'text', 'completed']);
  });
  it('make a conversation: pieces of text are one, calls and answers stand between them', () => {
    const turns = conversation([
      event('run.started', { data: { input: 'count' } }),
      event('message.delta', { text: 'one ' }),
      event('message.delta', { text: 'two' }),
      event('tool.call', { tool: 'sum', arguments: { of: 2 } }),
      event('tool.result', { tool: 'sum', success: false, error: 'no' }),
      event('message.delta', { text: 'three' }),
      event('run.waiting_for_input', { data: { question: 'more?' } }),
      event('run.input', { data: { content: 'no' }, answered_by: 'ada' }),
      event('run.completed', { result: 'done' }),
    ]);
    expect(turns.map(({ who, name, text }) => `${who} ${name}: ${text.replaceAll(/\s+/g, '')}`)).toEqual([
      'person input: count',
      'agent agent: onetwo',
      'tool calls sum: {"of":2}',
      'tool sum failed: no',
      'agent agent: three',
      'agent asks: more?',
      'person ada: no',
      'run completed: done',
    ]);
  });
});

describe('two runs', () => {
  const run = (...texts: string[]): Turn[] => conversation(texts.map((text) => event('tool.call', { tool: text, arguments: {} })));
  it('that did the same do not part', () => expect(compare(run('a', 'b'), run('a', 'b')).parts).toBeNull());
  it('part where they first differ, and meet again', () => {
    const { lines, parts } = compare(run('a', 'b', 'c'), run('a', 'x', 'y', 'c'));
    expect(parts).toBe(1);
    expect(lines.map(({ a, b, same }) => [a?.name, b?.name, same])).toEqual([
      ['calls a', 'calls a', true],
      ['calls b', 'calls x', false],
      [undefined, 'calls y', false],
      ['calls c', 'calls c', true],
    ]);
  });
  it('leaves thoughts out, which are no part of what was said', () => {
    expect(conversation([event('message.delta', { data: { content: 'Cold, I think.', channel: 'thinking' } })])).toEqual([]);
    const turns = conversation([event('message.delta', { data: { content: 'Hm.', channel: 'thinking' } }), event('message.delta', { text: 'Cold.' })]);
    expect(turns.map((turn) => turn.text)).toEqual(['Cold.']);
  });

  it('are not told to be alike where nothing was compared', () => {
    const ended = conversation([event('run.completed')]);
    expect(verdict(compare(ended, ended))).toMatch(/^Nothing to compare/);
    expect(verdict(compare([], []))).toMatch(/^Nothing to compare/);
    expect(verdict(compare(run('a'), run('a')))).toMatch(/^No difference in 1 step: messages/);
    expect(verdict(compare(run('a', 'b'), run('a', 'c')))).toBe('The same for 1 step, then they part ways.');
  });
});

describe('a replay', () => {
  const one = { ...event('step'), occurred_at: at(0) };
  const next = { ...event('step'), occurred_at: at(60_000) };
  it('runs as fast as asked, and cuts long waits where asked', () => {
    expect(waitMs(one, next, 10, false)).toBe(6000);
    expect(waitMs(one, next, 10, true)).toBe(2000);
    expect(waitMs(next, one, 10, true)).toBe(0);
  });
  it('knows what was spent by then; what is unknown is not 0', () => {
    expect(tally([event('tool.call'), event('model.call')]).usd).toBeNull();
    const calls = [{ ...event('model.call'), cost_usd: 0.5, total_input_tokens: 3, total_output_tokens: 4 }, { ...event('tool.result'), success: false }];
    expect(tally(calls)).toEqual({ tools: 0, failed: 1, tokens: 7, usd: 0.5, unpriced: 0 });
    expect(tally([...calls, { ...event('model.call'), total_input_tokens: 1 }])).toMatchObject({ tokens: 8, usd: 0.5, unpriced: 1 });
  });
});

describe('figures over time', () => {
  const HOUR = 3_600_000;
  const rows = [
    { hour: at(0), cost: 1 },
    { hour: at(2 * HOUR), cost: 2 },
    { hour: at(3 * HOUR), cost: null },
  ];
  it('have an entry for hours in which nothing was', () => {
    expect(dense(rows, T, T + 3 * HOUR, HOUR).rows.map((row) => row?.cost)).toEqual([1, undefined, 2, null]);
  });
  it('are summed by step', () => {
    expect(summed(rows, T, T + 3 * HOUR, 24 * HOUR, ({ cost }) => cost).values).toEqual([3]);
    expect(summed(rows, T, T + 3 * HOUR, HOUR, ({ cost }) => cost).values).toEqual([1, 0, 2, null]);
  });
});

describe('curl', () => {
  it('quotes what a shell would take apart, and holds no key', () => {
    expect(curl('http://h', "/a?b='c'", 'POST', { d: "e'f" })).toBe(
      `curl -sS -X POST 'http://h/a?b='\\''c'\\''' -H "Authorization: Bearer $TOWERLOG_API_KEY" -H 'Content-Type: application/json' -d '{"d":"e'\\''f"}'`,
    );
  });
});

describe('the calls of a tool', () => {
  const at = (seq: number, type: string, more: object): Told => ({ seq, type, tool: 'look', recorded_at: `2026-04-02T10:00:0${seq}Z`, ...more });
  it('have what came of each, by its id, else in order', () => {
    const calls = callsOf(
      [
        at(1, 'tool.call', { arguments: { at: 'a' }, data: { tool_call_id: 'x' } }),
        at(2, 'tool.call', { arguments: { at: 'b' }, data: { tool_call_id: 'y' } }),
        at(3, 'tool.call', { tool: 'other' }),
        at(4, 'tool.result', { result: 'two', data: { tool_call_id: 'y' } }),
        at(5, 'tool.result', { error: 'no', data: { tool_call_id: 'x' }, duration_ms: 7 }),
        at(6, 'tool.call', { arguments: 1 }),
      ],
      'look',
    );
    expect(calls.map(({ seq, asked, gave, failed, isOver, ms }) => [seq, asked, gave, failed, isOver, ms])).toEqual([
      [1, '{"at":"a"}', 'no', true, true, 7],
      [2, '{"at":"b"}', 'two', false, true, 2_000],
      [6, '1', '', false, false, null],
    ]);
  });
  it('of which only the result was reported are there as well', () => {
    expect(callsOf([at(1, 'tool.result', { result: 'two' })], 'look')).toMatchObject([{ seq: 1, gave: 'two', isOver: true, ms: null }]);
  });
});

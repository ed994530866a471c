import { describe, expect, it, vi } from 'vitest';
import { count, money, partOf, percent } from '../src/model/numbers';
import { isEnded, lookOf, STATUSES } from '../src/model/status';
import { line, shortId, visible, named } from '../src/model/text';
import { ago, duration, local } from '../src/model/times';
import { FrameReader } from '../src/live/frames';
import { gave, what } from '../src/pages/agent/feeds';
import { missingOf } from '../src/model/delivery';
import { labelsOf } from '../src/model/labels';

describe('money', () => {
  it('of unknown price is never $0', () => {
    expect(money(null).short).toBe('unpriced');
    expect(money(undefined).short).toBe('unpriced');
    expect(money(0).short).toBe('$0');
  });
  it.each([
    [0.0023, '$0.0023'],
    [0.00000412, '<$0.0001'],
    [12.5, '$12.50'],
    [0.003, '$0.0030'],
    [1204.239, '$1,204.24'],
  ])('%d is shown as %s', (usd, words) => expect(money(usd).short).toBe(words));
  it('is exact to the nano-dollar on hover', () => expect(money(0.000000001).exact).toBe('$0.000000001'));
});

describe('counts', () => {
  it('unknown is a dash', () => expect(count(null).short).toBe('–'));
  it.each([
    [1204, '1,204 tok'],
    [25_400, '25.4K tok'],
  ])('%d is shown as %s', (tokens, words) => expect(count(tokens).short).toBe(words));
});

describe('percents', () => {
  it.each([
    [0.0042, '0.4 %'],
    [0.804, '80 %'],
    [0.9996, '99.9 %'],
    [1, '100 %'],
    [1.004, '100 %'],
    [12, '12 ×'],
  ])('%d is shown as %s', (fraction, words) => expect(percent(fraction).short).toBe(words));
  it.each([
    [21.5, 25, '86 %'],
    [9.96, 10, '99.6 %'],
    [null, 10, '100 %'],
    [0, 0, '100 %'],
  ])('%d of %d is %s', (usd, amount, words) => expect(partOf(usd, amount).short).toBe(words));
});

describe('statuses', () => {
  it('each have words and a shape of their own colour or not', () => {
    const seen = new Set(STATUSES.map((status) => lookOf(status).shape + lookOf(status).words));
    expect(seen.size).toBe(STATUSES.length);
  });
  it('a status that is not known shows its name', () => expect(lookOf('hovering').words).toBe('hovering'));
  it('ended ones', () => expect(STATUSES.filter(isEnded)).toEqual(['completed', 'failed', 'cancelled', 'lost', 'budget_exceeded']));
});

describe('times', () => {
  it.each([
    [0, '0 ms'],
    [999.6, '1.0 s'],
    [3249, '3.2 s'],
    [59_999, '59.9 s'],
    [245_000, '4 min 05 s'],
    [7_800_000, '2 h 10 min'],
    [273_600_000, '3 d 4 h'],
  ])('%d ms is %s', (ms, words) => expect(duration(ms)).toBe(words));
  it('a negative one is not shown', () => expect(duration(-1)).toBe('–'));
  it.each([
    [500, 'now'],
    [12_000, '12 s ago'],
    [-120_000, 'in 2 min'],
    [-6_720_000, 'in 1 h 52 min'],
  ])('%d ms ago is %s', (ms, words) => expect(ago(1_000_000, 1_000_000 + ms)).toBe(words));
});

describe('what is worked out for each row of a long list', () => {
  it('makes no formatter of its own, which would stay beside the heap until it is collected', () => {
    const [dates, numbers] = [vi.spyOn(Date.prototype, 'toLocaleString'), vi.spyOn(Number.prototype, 'toLocaleString')];
    expect(local('2026-04-02T10:00:00.000Z')).toContain('2026');
    expect([money(0.0123).short, money(1234.5).short]).toEqual(['$0.0123', '$1,234.50']);
    expect([dates.mock.calls, numbers.mock.calls]).toEqual([[], []]);
    vi.restoreAllMocks();
  });
});

describe('text of agents', () => {
  it('shows what would move a cursor or turn the text', () => {
    expect(visible('a\u001b[31mb\u202ec\ufeff')).toBe('a⟨ESC⟩[31mb⟨U+202E⟩c⟨BOM⟩');
    expect(visible('tab\tand\nlines stay')).toBe('tab\tand\nlines stay');
  });
  it('is cut between characters', () => {
    for (let length = 2; length < 12; length++) expect(line('ab \ud83d\ude00\ud83d\ude00\ud83d\ude00 c\ud83d\ude00d', length)).not.toMatch(/\p{Cs}/u);
  });
  it('of an id is the end, no character halved', () => {
    for (let length = 1; length < 12; length++) expect(shortId('ab\ud83d\ude00\u200d\ud83d\ude00', length)).not.toMatch(/\p{Cs}|^\u200d/u);
    expect(shortId('0196b2c0-0000-7000')).toBe('0-7000');
  });
  it('is cut to a line', () => expect(line('a\n b'.repeat(100), 10)).toHaveLength(10));
});

describe('frames', () => {
  const text = ': ping\r\nretry: 1500\nid: a-1\nevent: run\ndata: {"a":\ndata: 1}\n\ndata: x\r\n\r\n';
  it.each([1, 2, 3, 7, 1000])('are read from pieces of %d', (size) => {
    const reader = new FrameReader();
    const found = [];
    for (let at = 0; at < text.length; at += size) found.push(...reader.read(text.slice(at, at + size)));
    expect(found).toEqual([
      { event: 'run', data: '{"a":\n1}', id: 'a-1' },
      { event: 'message', data: 'x', id: 'a-1' },
    ]);
    expect(reader.retry).toBe(1500);
  });
});

describe('names and ids', () => {
  it('are shown whole, and ids by their end', () => {
    expect(named('01a22b0e-c0fd-7350-9f10-2b7d4e8a1c55')).toBe('8a1c55');
    expect(named('for-the-weigher')).toBe('for-the-weigher');
    expect(named('x'.repeat(80)).length).toBe(60);
  });
});

describe('what is missing of a run', () => {
  it('is counted in events, not in gaps', () => {
    expect(missingOf([{ missing: [[4, 10], [12, 12]], dropped: 2 }, { missing: [], dropped: 0 }])).toBe(10);
  });
});

describe('labels of a run', () => {
  it('are what its list is filtered by, and nothing else is a label', () => {
    expect(labelsOf({ labels: { team: 'search', gpu: 'a100' }, ticket: 'T-1' })).toEqual(['team:search', 'gpu:a100']);
    expect([labelsOf({ labels: { team: 1, gpu: 'a100' } }), labelsOf({ labels: 'x' }), labelsOf(null)]).toEqual([[], [], []]);
  });
});

describe('a line of an agent’s feed', () => {
  it('says what is not known in words', () => {
    expect(gave('15789+1 tokens, $?, ? ms')).toBe('15789 in, 1 out, unpriced');
    expect(gave('310+110 tokens, $?, 12 ms')).toBe('310 in, 110 out, unpriced, 12 ms');
    expect(gave('310+110 tokens, $0.002, 12 ms')).toBe('310 in, 110 out, $0.0020, 12 ms');
    expect([gave('?+? tokens, $?, ? ms'), gave('?+? tokens, $?, 12 ms')]).toEqual(['', '12 ms']);
  });
  it('tells a call from its result, and names no model that is not known', () => {
    const lines = [['command_start', 'look'], ['command_complete', 'look'], ['inference_error', 'unknown (run)'], ['file_read', '']];
    expect(what({ type: 'inference_budget_exceeded', input_summary: 'unknown (run)' })).toBe('budget exceeded');
    expect(lines.map(([type = '', input_summary = '']) => what({ type, input_summary }))).toEqual(['starts look', 'look', 'run', 'file read']);
  });
});

import { describe, expect, it } from 'vitest';
import { compare } from '../src/model/compare';
import { conversation } from '../src/model/events';
import { callLine, isShortened, merged, newest, turnsOf, turnsOfStates } from '../src/model/messages';
import { tally } from '../src/model/replay';

const said = (message: unknown): string[] => turnsOf(message).map(({ who, name, text }) => `${who} ${name}: ${text}`);
const row = (agent: string, seq: number, message_count: number) => ({ agent, seq, message_count });

describe('a message of a history', () => {
  it('has a role and a text, whatever its framework', () => {
    expect(said({ role: 'user', content: 'hello' })).toEqual(['person user: hello']);
    expect(said({ kind: 'request', parts: ['a'] })).toEqual(['person request: a']);
    expect(said('plain')).toEqual(['run message: plain']);
    expect(said({ role: 'assistant', content: [{ type: 'text', text: 'one' }, { type: 'image', url: 'x' }] })[1]).toContain('"url"');
  });
  it('tells each tool that it calls, and what each gave', () => {
    const calls = [{ id: '1', name: 'rm', arguments: { path: 'build', force: true } }, { function: { name: 'ls', arguments: '{"at": "/"}' } }];
    expect(said({ role: 'assistant', content: 'I clean up.', tool_calls: calls })).toEqual(['agent assistant: I clean up.', 'tool calls rm: path: build, force: true', 'tool calls ls: at: /']);
    expect(said({ role: 'assistant', content: null, tool_calls: calls.slice(0, 1) })).toEqual(['tool calls rm: path: build, force: true']);
    expect(said({ role: 'assistant', content: [{ type: 'tool_use', name: 'rm', input: { path: 'a' } }] })).toEqual(['tool calls rm: path: a']);
    expect(said({ kind: 'response', parts: [{ part_kind: 'tool-call', tool_name: 'rm', args: { path: 'a' } }] })).toEqual(['tool calls rm: path: a']);
    expect(said({ role: 'user', content: [{ type: 'tool_result', content: 'gone' }] })).toEqual(['tool a tool answered: gone']);
    expect(said({ type: 'function_call', name: 'rm', arguments: '{"path": "a"}' })).toEqual(['tool calls rm: path: a']);
  });
  it('is never without a word, and any value is one', () => {
    for (const value of [null, 7, true, [], {}, { role: 3 }, { role: 'user', content: [] }, { tool_calls: 'x' }, { tool_calls: [null, 3, {}] }]) {
      expect(Array.isArray(turnsOf(value))).toBe(true);
      expect(typeof callLine(value)).toBe('string');
    }
    expect(said({ found: 2 })[0]).toContain('"found": 2');
  });
});

describe('what saved states say', () => {
  const history = [{ role: 'user', content: 'Go' }, { role: 'assistant', content: 'sky', tool_calls: [{ name: 'ls', arguments: {} }] }];
  it('stands at the first event that had it', () => {
    const turns = turnsOfStates([{ agent: 'a', history }], [row('a', 5, 2), row('a', 2, 1), row('b', 3, 9)]);
    expect(turns.map(({ name, seq }) => [name, seq])).toEqual([
      ['user', 2],
      ['assistant', 5],
      ['calls ls', 5],
    ]);
  });
  it('is of the newest state of each agent, up to a moment', () => {
    const list = [row('a', 2, 1), row('b', 3, 1), row('a', 5, 2), row('a', 6, 0)];
    expect(newest(list, 8).map(({ agent, seq }) => [agent, seq])).toEqual([['a', 5], ['b', 3]]);
    expect(newest(list, 8, 4).map(({ seq }) => seq)).toEqual([3, 2]);
    expect(newest(list, 8, 1)).toEqual([]);
  });
  it('is not all where a history became shorter', () => {
    expect(isShortened([row('a', 1, 3), row('a', 2, 4), row('b', 3, 1)])).toBe(false);
    expect(isShortened([row('a', 2, 2), row('a', 1, 3)])).toBe(true);
  });
  it('is there once where events tell it too, and as often as it was said', () => {
    const events = conversation([
      { seq: 1, type: 'run.started', data: { input: ' Go' }, recorded_at: '' },
      { seq: 2, type: 'message.delta', text: 's', recorded_at: '' },
      { seq: 3, type: 'message.delta', text: 'ky', recorded_at: '' },
      { seq: 4, type: 'tool.call', tool: 'ls', arguments: { at: '/' }, recorded_at: '' },
      { seq: 5, type: 'tool.result', tool: 'ls', result: { n: 2 }, recorded_at: '' },
      { seq: 6, type: 'tool.call', tool: 'ls', recorded_at: '' },
      { seq: 9, type: 'run.completed', recorded_at: '' },
    ]);
    const call = (args: unknown) => ({ name: 'ls', arguments: args });
    const all = [
      { role: 'system', content: 'Be brief' },
      { role: 'user', content: 'Go' },
      { role: 'assistant', content: 'sky', tool_calls: [call('{"at":"/"}')] },
      { role: 'tool', content: '{"n": 2}' },
      { role: 'assistant', tool_calls: [call({})] },
      { role: 'assistant', content: 'sky' },
      { role: 'assistant', tool_calls: [call({ at: '/tmp' })] },
    ];
    const turns = merged(events, turnsOfStates([{ agent: 'a', history: all }], [row('a', 8, 7)]));
    expect(turns.map(({ name, seq }) => [seq, name])).toEqual([
      [1, 'system'], [1, 'user'], [2, 'assistant'], [4, 'calls ls'], [5, 'tool'], [6, 'calls ls'],
      [8, 'assistant'], [8, 'calls ls'], [9, 'completed'],
    ]);
    expect(merged(events, [])).toEqual(events);
  });
  it('parts two runs whose events are alike', () => {
    const ended = [{ who: 'run' as const, name: 'completed', text: '', seq: 3, failed: false }];
    const of = (word: string, tool: string) =>
      merged(ended, turnsOfStates([{ agent: 'a', history: [{ role: 'user', content: 'Go' }, { role: 'assistant', content: word, tool_calls: [{ name: tool, arguments: {} }] }] }], [row('a', 2, 2)]));
    expect(compare(of('blue', 'ls'), of('red', 'ls')).parts).toBe(1);
    expect(compare(of('blue', 'ls'), of('blue', 'rm')).parts).toBe(2);
    expect(compare(of('blue', 'ls'), of('blue', 'ls')).parts).toBeNull();
  });
  it('differs in arguments that read alike', () => {
    const call = (value: unknown) => turnsOf({ role: 'assistant', tool_calls: [{ name: 'f', arguments: { n: value } }] });
    expect(compare(call(1), call('1')).parts).toBe(0);
  });
  it('counts the tools of a replay where no event does', () => {
    const turns = turnsOfStates([{ agent: 'a', history }], [row('a', 2, 2)]);
    expect(tally([], turns).tools).toBe(1);
  });
});

import { describe, expect, it } from 'vitest';
import { callTurns, withCalls } from '../src/model/calls';
import { conversation, type Told } from '../src/model/events';

let seq = 0;
const event = (type: string, more: Partial<Told> = {}): Told => ({ seq: ++seq, type, recorded_at: '', ...more });
const call = (data: unknown, more: Partial<Told> = {}): Told => event('model.call', { data, ...more });
const said = (calls: readonly Told[]): string[] => callTurns(calls).turns.map(({ who, name, text }) => `${who} ${name}: ${text}`);

const brief = { role: 'system', content: 'Be brief.' };
const oslo = { role: 'user', content: 'Oslo?' };
const cold = { role: 'assistant', content: 'It is cold.' };
const bergen = { role: 'user', content: 'Bergen?' };
const rain = { role: 'assistant', content: 'It rains.' };

describe('calls of models', () => {
  it('tell their prompt and their reply', () => {
    expect(said([call({ messages: [brief, oslo], response: cold })])).toEqual(['run system: Be brief.', 'person user: Oslo?', 'agent assistant: It is cold.']);
  });
  it('tell what is new since the call before, and the reply once', () => {
    const calls = [call({ messages: [brief, oslo], response: 'It is cold.' }), call({ messages: [brief, oslo, cold, bergen], response: rain })];
    expect(said(calls).slice(3)).toEqual(['person user: Bergen?', 'agent assistant: It rains.']);
  });
  it('tell a prompt again that was asked again', () => {
    const calls = [call({ messages: [brief, oslo] }), call({ messages: [brief, bergen] }), call({ messages: [brief, oslo, oslo] })];
    expect(said(calls)).toEqual(['run system: Be brief.', 'person user: Oslo?', 'person user: Bergen?', 'person user: Oslo?']);
  });
  it('tell each conversation by itself, by agent, by span, and by how it begins', () => {
    const other = { role: 'system', content: 'Be long.' };
    for (const names of [[{ agent: 'a' }, { agent: 'b' }], [{ parent_span_id: '1' }, { parent_span_id: '2' }], [{}, {}]] as const) {
      const calls = [
        call({ ...names[0], messages: [brief, oslo] }),
        call({ ...names[1], messages: [other, oslo] }),
        call({ ...names[0], messages: [brief, oslo, cold, bergen] }),
        call({ ...names[1], messages: [other, oslo, rain] }),
      ];
      expect(said(calls).slice(4)).toEqual(['agent assistant: It is cold.', 'person user: Bergen?', 'agent assistant: It rains.']);
    }
  });
  it('tell no more of a history that was shortened than what is new', () => {
    const calls = [call({ messages: [brief, oslo, cold, bergen], response: rain }), call({ messages: [brief, bergen, rain, oslo] })];
    expect(said(calls).slice(5)).toEqual(['person user: Oslo?']);
  });
  it('go on from what a sender has told before', () => {
    const calls = [call({ messages: [brief, oslo], response: cold }), call({ messages: [cold, bergen], messages_after: { span_id: 'x', count: 2 }, response: rain })];
    expect(said(calls).slice(3)).toEqual(['person user: Bergen?', 'agent assistant: It rains.']);
  });
  it('are read as OpenTelemetry has them', () => {
    const text = (role: string, content: string) => ({ role, parts: [{ type: 'text', content }] });
    const input = JSON.stringify([text('user', 'Oslo?')]);
    const output = JSON.stringify([{ ...text('assistant', 'It is cold.'), finish_reason: 'stop' }]);
    expect(said([call({ attributes: { 'gen_ai.input.messages': input, 'gen_ai.output.messages': output } })])).toEqual(['person user: Oslo?', 'agent assistant: It is cold.']);
    const numbered = { 'llm.input_messages.0.message.role': 'user', 'llm.input_messages.0.message.content': 'Oslo?', 'gen_ai.completion.0.content': 'It is cold.', 'gen_ai.completion.0.role': 'assistant' };
    expect(said([call({ attributes: numbered })])).toEqual(['person user: Oslo?', 'agent assistant: It is cold.']);
    expect(said([call({ attributes: { 'input.value': JSON.stringify({ messages: [oslo] }), 'output.value': 'It is cold.' } })])).toEqual(['person user: Oslo?', 'agent assistant: It is cold.']);
    const tool = [{ role: 'assistant', parts: [{ type: 'tool_call', name: 'ls', arguments: { at: '/' } }] }, { role: 'tool', parts: [{ type: 'tool_call_response', response: 'bin' }] }];
    expect(said([call({ attributes: { 'gen_ai.input.messages': tool } })])).toEqual(['tool calls ls: at: /', 'tool a tool answered: bin']);
  });
  it('are read whatever a provider calls its reply', () => {
    for (const response of ['It is cold.', cold, [cold], { choices: [{ message: cold }] }, { type: 'message', role: 'assistant', content: [{ type: 'text', text: 'It is cold.' }] }, [{ type: 'reasoning', summary: [] }, { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'It is cold.' }] }], [{ type: 'text', text: 'It is cold.' }]])
      expect(said([call({ response })])).toEqual(['agent assistant: It is cold.']);
  });
  it('that tell nothing are counted, and any value is one', () => {
    expect(callTurns([call({}), call(null), call({ messages: [oslo] }), call({}, { error: 'no answer', success: false })])).toMatchObject({ mute: 2, turns: [{ text: 'Oslo?' }, { text: 'no answer', failed: true }] });
    let deep: unknown = 'x';
    for (let level = 0; level < 50; level++) deep = [deep];
    for (const value of [7, true, [null], [[7]], {}, deep, { choices: [] }, { choices: [null] }, { messages: 3 }]) expect(Array.isArray(said([call({ messages: value, response: value })]))).toBe(true);
  });
});

describe('events and calls together', () => {
  it('tell once what both tell, a prompt before its reply', () => {
    const events = [event('run.started', { data: { input: 'Oslo?' } }), event('message.delta', { text: 'It is ' }), event('message.delta', { text: 'cold.' })];
    const calls = [call({ messages: [brief, oslo], response: cold })];
    const asked = event('tool.call', { tool: 'ls', arguments: { at: '/' } });
    const gave = event('tool.result', { tool: 'ls', result: 'bin' });
    calls.push(call({ messages: [brief, oslo, cold, { role: 'assistant', tool_calls: [{ name: 'ls', arguments: { at: '/' } }] }, { role: 'tool', content: 'bin' }, bergen], response: rain }));
    const turns = withCalls(conversation([...events, asked, gave, event('run.completed')]), calls);
    expect(turns.map(({ name, text }) => `${name}: ${text}`)).toEqual(['system: Be brief.', 'user: Oslo?', 'assistant: It is cold.', 'calls ls: at: /', 'tool: bin', 'user: Bergen?', 'assistant: It rains.', 'completed: ']);
  });
  it('stand where their call was, wherever a later call finds an event of its own', () => {
    const heard = event('run.message', { content: 'Hold' });
    const calls = [call({ messages: [oslo], response: cold }), call({ messages: [oslo, cold, { role: 'user', content: 'Hold' }] })];
    expect(withCalls(conversation([heard]), calls).map(({ text }) => text)).toEqual(['Hold', 'Oslo?', 'It is cold.']);
  });
  it('are what events tell where there are no calls', () => {
    const turns = conversation([event('run.started', { data: { input: 'Go' } })]);
    expect(withCalls(turns, [])).toEqual(turns);
  });
});

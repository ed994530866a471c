/** What was said in calls of models: what is new in each prompt since the call before, and each reply. Pure. */

import type { Told, Turn } from './events';
import { merged, parsed, saidAs, turnsOf } from './messages';

/** Where senders put them: members of the data, then attributes of spans, of several the first that is there. */
const PROMPTS = ['messages', 'gen_ai.input.messages', 'ai.prompt.messages', 'gen_ai.prompt', 'input.value'];
const REPLIES = ['response', 'gen_ai.output.messages', 'ai.response.text', 'gen_ai.completion', 'output.value'];
const INDEXED = /^(gen_ai\.(?:prompt|completion)|llm\.(?:input|output)_messages)\.(\d+)\.(?:message\.)?(role|content)$/;

type Fields = Readonly<Record<string, unknown>>;

/** Conversations of an agent that a prompt may go on from: those of its last calls. */
const MANY = 8;
/** Of lists and objects around messages. */
const MAX_DEPTH = 8;

interface Said {
  readonly messages: readonly string[];
  /** What its reply comes to, turn by turn. */
  readonly replied: readonly string[];
}

function fieldsOf({ data }: Told): Fields {
  const own = (data ?? {}) as Fields;
  return { ...((own['attributes'] ?? {}) as Fields), ...own };
}

function told(fields: Fields): { prompt: readonly unknown[]; reply: readonly unknown[] } {
  const numbered: Record<string, Record<string, unknown>[]> = {};
  for (const [name, value] of Object.entries(fields)) {
    const [, list, index, member] = INDEXED.exec(name) ?? [];
    if (list && member && Number(index) < 1_000) ((numbered[list] ??= [])[Number(index)] ??= {})[member] = value;
  }
  const found = (names: readonly string[], lists: readonly string[], role: string): unknown[] =>
    [...lists.map((list) => numbered[list]), ...names.map((name) => fields[name])].map((value) => listed(parsed(value), role)).find((list) => list.length > 0) ?? [];
  return { prompt: found(PROMPTS, ['llm.input_messages', 'gen_ai.prompt'], 'user'), reply: found(REPLIES, ['llm.output_messages', 'gen_ai.completion'], 'assistant') };
}

/** Messages out of whatever a provider or a framework calls its prompt or its reply. */
function listed(value: unknown, role: string, depth = 0): unknown[] {
  if (value === null || value === undefined || value === '') return [];
  if (typeof value !== 'object' || depth > MAX_DEPTH) return [{ role, content: value }];
  if (Array.isArray(value)) return value.flatMap((one) => (one && /reasoning|thinking/.test(String((one as Fields)['type'])) ? [] : listed(one, role, depth + 1)));
  const fields = value as Fields;
  const choices = fields['choices'];
  if (Array.isArray(choices)) return listed((choices[0] as Fields | undefined)?.['message'], role, depth + 1);
  const isMessage = ['role', 'kind', 'type'].some((name) => fields[name] && !/text/.test(String(fields[name])));
  const inner = fields['messages'] ?? fields['kwargs'] ?? (isMessage ? undefined : fields['output']);
  return inner !== undefined ? listed(inner, role, depth + 1) : [isMessage ? value : { ...fields, role }];
}

/** The turns of calls, in order; and how many calls have told neither a prompt nor a reply. */
export function callTurns(calls: readonly Told[]): { turns: Turn[]; mute: number } {
  const before = new Map<string, readonly Said[]>();
  const turns: Turn[] = [];
  let mute = 0;
  for (const call of calls) {
    const fields = fieldsOf(call);
    const { prompt, reply } = told(fields);
    if (prompt.length + reply.length > 0) {
      const agent = String(fields['agent'] ?? fields['gen_ai.agent.name'] ?? '');
      const span = `${agent}\n${String(fields['parent_span_id'] ?? fields['parent_id'] ?? '')}`;
      const messages = prompt.map((message) => JSON.stringify(message));
      const earlier = before.get(span) ?? before.get(agent) ?? [];
      // One that sends what is new alone goes on from the last.
      const isOnly = fields['messages_after'] !== undefined;
      const last = (isOnly ? earlier[0] : lastOf(earlier, messages)) ?? { messages: [], replied: [] };
      const replied = [...last.replied];
      let at = 0;
      for (const [index, message] of prompt.entries()) {
        const known = isOnly ? -1 : last.messages.indexOf(messages[index] ?? '', at);
        if (known >= 0) at = known + 1;
        else turns.push(...turnsOf(message, call.seq).filter((turn) => !took(replied, saidAs(turn))));
      }
      const answer = reply.flatMap((message) => turnsOf(message, call.seq));
      turns.push(...answer);
      const now = { messages: isOnly ? [...last.messages, ...messages] : messages, replied: answer.map(saidAs) };
      for (const key of [span, agent]) before.set(key, [now, ...(before.get(key) ?? [])].slice(0, MANY));
    } else if (!call.error) mute++;
    if (call.error) turns.push({ who: 'agent', name: 'model failed', text: call.error, seq: call.seq, failed: true });
  }
  return { turns, mute };
}

/** The call that a prompt goes on from: the last, where that has all of it; else the one that it begins with longest; else
 * the last that has its beginning, of a history that was shortened. */
function lastOf(calls: readonly Said[], messages: readonly string[]): Said | undefined {
  const begins = ({ messages: known }: Said): number => {
    const at = messages.findIndex((one, index) => one !== known[index]);
    return at < 0 ? messages.length : at;
  };
  const [best] = [...calls].sort((one, other) => begins(other) - begins(one));
  return best && begins(best) > 0 ? best : calls.find(({ messages: known }) => known.includes(messages[0] ?? ''));
}

/** Takes one of these out of a list; false: there is none. */
function took(list: string[], one: string): boolean {
  const at = list.indexOf(one);
  if (at >= 0) list.splice(at, 1);
  return at >= 0;
}

/** What events and calls tell together; what both tell is there once. */
export function withCalls(events: readonly Turn[], calls: readonly Told[]): Turn[] {
  return calls.length === 0 ? [...events] : merged(events, callTurns(calls).turns, true);
}

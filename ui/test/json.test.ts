import { afterEach, describe, expect, it, vi } from 'vitest';
import { call, freshKey } from '../src/api/client';
import { indented, memberOf } from '../src/model/json';

describe('JSON that is changed by hand', () => {
  it('keeps numbers as they are written', () => {
    const text = '{"n":12345678901234567890,"f":1.10,"e":1E400,"l":[1,{"a":null}],"o":{},"x":[]}';
    expect(indented(text)).toBe(
      '{\n  "n": 12345678901234567890,\n  "f": 1.10,\n  "e": 1E400,\n  "l": [\n    1,\n    {\n      "a": null\n    }\n  ],\n  "o": {},\n  "x": []\n}',
    );
  });
  it('leaves what is inside a text alone', () => expect(indented('["a, {b}: \\"c\\" \\\\", "d"]')).toBe('[\n  "a, {b}: \\"c\\" \\\\",\n  "d"\n]'));
  it('has no bound to how long a text is', () => expect(indented(`["${'a\\n'.repeat(1_000_000)}"]`)).toHaveLength(3_000_008));
});

describe('a member of an object', () => {
  const text = '{"a":{"input":1},"b":"input","input" : {"n": 10000000000000000001, "l":[1,2]} ,"z":2}';
  it('is cut out as it is written', () => expect(memberOf(text, 'input')).toBe('{"n": 10000000000000000001, "l":[1,2]}'));
  it('may be the last', () => expect(memberOf(text, 'z')).toBe('2'));
  it('may be a text that looks like more', () => expect(memberOf('{"input":"a\\",}","b":1}', 'input')).toBe('"a\\",}"'));
  it('may not be there', () => expect(memberOf(text, 'n')).toBeNull());
});

describe('a change that is asked for twice', () => {
  afterEach(() => vi.unstubAllGlobals());
  const path = { run_id: 'r' };
  function server(): [string[], () => void] {
    const asked: string[] = [];
    let answer = (): void => undefined;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    vi.stubGlobal('fetch', async (to: string, { body, headers }: RequestInit) => {
      asked.push(`${to} ${String(body)} ${String((headers as Record<string, string>)['idempotency-key'])}`);
      await answered;
      return new Response(`{"run_id": "${asked.length}"}`, { status: 201 });
    });
    return [asked, answer];
  }
  it('before it is made is made once, and again after that', async () => {
    const [asked, answer] = server();
    const retry = () => call('post', '/api/v1/runs/{run_id}:retry', { path, text: '{"input": 1.0}', key: 'k' });
    const both = Promise.all([retry(), retry()]);
    answer();
    expect((await both).map(({ run_id }) => run_id)).toEqual(['1', '1']);
    await retry();
    expect(asked).toEqual(Array(2).fill('/api/v1/runs/r:retry {"input": 1.0} k'));
  });
  it('in other words is another', async () => {
    const [asked, answer] = server();
    answer();
    await Promise.all(['a', 'b'].map((name) => call('post', '/api/v1/keys', { body: { name, scopes: ['read'] } })));
    expect(asked).toHaveLength(2);
  });
  it('has a key of its own each time', () => expect(freshKey()).not.toBe(freshKey()));
});

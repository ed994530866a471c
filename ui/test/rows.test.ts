import { beforeEach, describe, expect, it } from 'vitest';
import { MAX_ROWS, Rows } from '../src/live/rows.svelte';

interface Row {
  readonly id: string;
  readonly status: string;
}
const row = (id: string, status = 'running'): Row => ({ id, status });
const ids = (rows: Rows<Row>): string => rows.shown.map(({ id }) => id).join('');

describe('live rows', () => {
  let rows: Rows<Row>;
  beforeEach(() => {
    rows = new Rows<Row>(({ id }) => id, (one, other) => (one.id < other.id ? 1 : -1));
    rows.reset([row('d'), row('b'), row('a')]);
  });

  it('change where they stand', () => {
    rows.merge([row('b', 'failed')]);
    expect(ids(rows)).toBe('dba');
    expect(rows.shown[1]?.status).toBe('failed');
  });
  it('join in the order of the list while the reader is at its top', () => {
    rows.merge([row('e'), row('c')]);
    expect(ids(rows)).toBe('edcba');
  });
  it('wait while the reader is further down, and nothing on show moves', () => {
    rows.hold(true);
    rows.merge([row('e'), row('b', 'failed'), row('f')]);
    expect(ids(rows)).toBe('dba');
    expect(rows.waiting).toBe(2);
    rows.merge([row('e', 'completed')]);
    expect(rows.waiting).toBe(2);
    rows.hold(false);
    expect(ids(rows)).toBe('fedba');
    expect(rows.shown[1]?.status).toBe('completed');
  });
  it('are there once, whether a page or the stream brought them first', () => {
    rows.append([row('a'), row('0')]);
    expect(ids(rows)).toBe('dba0');
  });
  it('go when they are removed, also while they wait', () => {
    rows.hold(true);
    rows.merge([row('e')]);
    rows.remove('e');
    rows.remove('b');
    expect(rows.waiting).toBe(0);
    expect(ids(rows)).toBe('da');
  });
  it('are bounded', () => {
    rows.reset([]);
    rows.merge(Array.from({ length: MAX_ROWS + 10 }, (_, at) => row(String(at).padStart(6, '0'))));
    expect(rows.shown).toHaveLength(MAX_ROWS);
    expect(rows.shown[0]?.id).toBe(String(MAX_ROWS + 9).padStart(6, '0'));
  });
});

/** Lists that are short enough to be read whole, page by page. */

/** More rows than this are not read: the page that shows them says so. */
export const MOST = 2_000;

interface Page<Row> {
  readonly data: readonly Row[];
  readonly next: string | null;
}

/** All rows of a list, up to MOST. */
export async function everything<Row>(read: (cursor: string | null) => Promise<Page<Row>>): Promise<Row[]> {
  const rows: Row[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Row> = await read(cursor);
    rows.push(...page.data);
    cursor = page.next;
  } while (cursor !== null && rows.length < MOST);
  return rows;
}

/** The rows of the first pages of a list, up to the page that has enough of them, and whether these are all. */
export async function firstPages<Row>(read: (cursor: string | null) => Promise<Page<Row>>, pages: number, enough = Infinity): Promise<{ rows: Row[]; isWhole: boolean }> {
  const rows: Row[] = [];
  let cursor: string | null = null;
  for (let at = 0; at < pages && rows.length < enough && (at === 0 || cursor !== null); at++) {
    const page: Page<Row> = await read(cursor);
    rows.push(...page.data);
    cursor = page.next;
  }
  return { rows, isWhole: cursor === null };
}

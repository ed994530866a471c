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

/** Addresses of the dashboard's pages, from what they show. */

/** A thread's page. A path cannot hold an id with a slash; the list of its runs can. */
export function threadPath(threadId: string): string {
  const id = encodeURIComponent(threadId);
  return threadId.includes('/') ? `/runs?thread_id=${id}` : `/threads/${id}`;
}

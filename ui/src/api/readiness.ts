/** Whether the server takes what is written, as its page for supervisors says it. */

/** What is in the way of writes, by the server's word for it; null: nothing is, or the server is away. */
export async function obstacle(): Promise<string | null> {
  try {
    const response = await fetch('/readyz', { cache: 'no-store' });
    const told = (await response.json()) as { status?: unknown };
    return typeof told.status === 'string' && told.status !== 'ready' ? told.status : null;
  } catch {
    return null;
  }
}

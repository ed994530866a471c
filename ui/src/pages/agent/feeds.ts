/** The kinds of an agent's activity that its page tells apart. */

export const FEEDS = ['All', 'Shell', 'Filesystem', 'Runtime', 'Inference'] as const;
export type FeedName = (typeof FEEDS)[number];

/** Whether an event of this tool is shown. What is no command, no file and no model call is of the agent's runtime. */
export function inFeed(tool: string, name: FeedName): boolean {
  if (name === 'All') return true;
  const known = ['shell', 'filesystem', 'inference'];
  return name === 'Runtime' ? !known.includes(tool) : tool === name.toLowerCase();
}

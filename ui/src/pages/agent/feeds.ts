import { money } from '../../model/numbers';

/** The kinds of an agent's activity that its page tells apart. */

export const FEEDS = ['All', 'Shell', 'Filesystem', 'Runtime', 'Inference'] as const;
export type FeedName = (typeof FEEDS)[number];

/** What a line of the feed is about: of a call and its result, which is which; of what has no model, only what it is. */
export function what(event: { readonly type: string; readonly input_summary: string }): string {
  if (event.type === 'inference_budget_exceeded') return 'budget exceeded';
  const named = event.input_summary.replace(/^unknown \((.*)\)$/, '$1');
  return named ? (event.type.endsWith('_start') ? `starts ${named}` : named) : event.type.replaceAll('_', ' ');
}

/** What a line of the feed says came of it: where the feed has a `?` for money or time, that is not known. */
export function gave(summary: string): string {
  summary = summary.replace(/\$(\d+(?:\.\d+)?)/g, (_, usd: string) => money(Number(usd)).short);
  const known = summary.replace(/, \? ms$/, '').replace(/^\?\+\? tokens, \$\?(, )?/, '');
  return known.replace(/^(\S+)\+(\S+) tokens/, '$1 in, $2 out').replace(/, \$\?(?=,|$)/, ', unpriced');
}

/** Whether an event of this tool is shown. What is no command, no file and no model call is of the agent's runtime. */
export function inFeed(tool: string, name: FeedName): boolean {
  if (name === 'All') return true;
  const known = ['shell', 'filesystem', 'inference'];
  return name === 'Runtime' ? !known.includes(tool) : tool === name.toLowerCase();
}

/** Every page: where it is, what it is called, and how it is loaded when it is visited. */

import type { Component } from 'svelte';

/** A page is told what its path names; one that has no use for that takes nothing. */
type Page = Component<{ params: Readonly<Record<string, string>> }> | Component;
type Loader = () => Promise<{ default: Page }>;

export const LOADERS: Readonly<Record<string, Loader>> = {
  now: () => import('./pages/now/Now.svelte'),
  runs: () => import('./pages/runs/Runs.svelte'),
  run: () => import('./pages/run/Run.svelte'),
  replay: () => import('./pages/replay/Replay.svelte'),
  compare: () => import('./pages/compare/Compare.svelte'),
  'sign-in': () => import('./pages/sign-in/SignIn.svelte'),
  approvals: () => import('./pages/approvals/Approvals.svelte'),
  agents: () => import('./pages/agents/Agents.svelte'),
  agent: () => import('./pages/agent/Agent.svelte'),
  threads: () => import('./pages/threads/Threads.svelte'),
  thread: () => import('./pages/thread/Thread.svelte'),
  workers: () => import('./pages/workers/Workers.svelte'),
  usage: () => import('./pages/usage/Usage.svelte'),
  budgets: () => import('./pages/budgets/Budgets.svelte'),
  alerts: () => import('./pages/alerts/Alerts.svelte'),
  audit: () => import('./pages/audit/Audit.svelte'),
  settings: () => import('./pages/settings/Settings.svelte'),
};

export interface Place {
  readonly path: string;
  readonly words: string;
  readonly page: string;
  /** Pages that belong to this one. */
  readonly inner: readonly string[];
  /** The key after g that leads there. */
  readonly key: string;
  /** Whether only who administers the server has a use for it. */
  readonly isForAdmins?: boolean;
}

/** The navigation, in the order of the questions that bring people here. */
export const PLACES: readonly Place[] = [
  { path: '/', words: 'Now', page: 'now', inner: [], key: 'n' },
  { path: '/runs', words: 'Runs', page: 'runs', inner: ['run', 'replay', 'compare'], key: 'r' },
  { path: '/approvals', words: 'Approvals', page: 'approvals', inner: [], key: 'p' },
  { path: '/agents', words: 'Agents', page: 'agents', inner: ['agent'], key: 'a' },
  { path: '/threads', words: 'Threads', page: 'threads', inner: ['thread'], key: 't' },
  { path: '/workers', words: 'Workers', page: 'workers', inner: [], key: 'w' },
  { path: '/usage', words: 'Usage', page: 'usage', inner: [], key: 'u' },
  { path: '/budgets', words: 'Budgets', page: 'budgets', inner: [], key: 'b' },
  { path: '/alerts', words: 'Alerts', page: 'alerts', inner: [], key: 'l' },
  { path: '/audit', words: 'Audit', page: 'audit', inner: [], key: 'd', isForAdmins: true },
  { path: '/settings', words: 'Settings', page: 'settings', inner: [], key: 's' },
];

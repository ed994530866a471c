/** What a rule can watch, and what each needs to be told. */

import type { AlertRule } from '../../api/types';
import { numberOf } from '../../model/numbers';

export type Trigger = AlertRule['trigger'];
export type Setting = 'amount_usd' | 'minutes' | 'times' | 'fraction' | 'window_minutes';

export interface Kind {
  readonly words: string;
  /** The settings that it needs, and those that it may have. */
  readonly settings: readonly Setting[];
}

export const KINDS: Readonly<Record<Trigger, Kind>> = {
  error: { words: 'a run fails', settings: [] },
  lost: { words: 'a run is given up', settings: [] },
  cost_threshold: { words: 'a run has cost so much', settings: ['amount_usd'] },
  loop: { words: 'a run repeats the same call', settings: ['times'] },
  budget: { words: 'so much of a budget is spent', settings: ['fraction'] },
  waiting_too_long: { words: 'a run waits long for a person', settings: ['minutes'] },
  stalled: { words: 'a run makes no progress', settings: ['minutes'] },
  queue_wait: { words: 'a run waits long for a worker', settings: ['minutes'] },
  unserved: { words: 'no worker could take a run', settings: ['minutes'] },
  failure_rate: { words: 'too many runs fail', settings: ['fraction', 'window_minutes', 'times'] },
  burn_rate: { words: 'too much is spent in a time', settings: ['amount_usd', 'window_minutes'] },
};

export const SETTINGS: Readonly<Record<Setting, string>> = {
  amount_usd: 'Amount ($)',
  minutes: 'Minutes',
  times: 'Times',
  fraction: 'Fraction (0 to 1)',
  window_minutes: 'Window (minutes)',
};

/** What is missing where one is left empty. */
export const ASKED: Readonly<Record<Setting, string>> = {
  amount_usd: 'how many dollars',
  minutes: 'after how many minutes',
  times: 'how many times',
  fraction: 'which fraction',
  window_minutes: 'within how many minutes',
};

/** Where a rule looks, in words. */
export function scopeOf(rule: Pick<AlertRule, 'scope'>): string {
  const { agent, thread_id: thread, run_id: run, label, persona } = rule.scope;
  const parts = [agent && `agent ${agent}`, thread && `thread ${thread}`, run && `run ${run.slice(-6)}`, label && `label ${label}`, persona && `persona ${persona}`];
  return parts.filter(Boolean).join(', ') || 'everything';
}

const DAY_MS = 86_400_000;

/** How many of some moments (wall ms) lie in each of the last seven days, the oldest first. */
export function perDay(moments: readonly number[], now: number): number[] {
  const days = Array.from({ length: 7 }, () => 0);
  for (const moment of moments) {
    const at = 6 - Math.floor((now - moment) / DAY_MS);
    if (at >= 0 && at < 7) days[at] = (days[at] ?? 0) + 1;
  }
  return days;
}

/** When a rule fires, with the figures that it was told: `a run has cost so much: $5`. */
export function firesWhen({ trigger, config }: Pick<AlertRule, 'trigger' | 'config'>): string {
  const { amount_usd: amount, fraction, times, minutes, window_minutes: window } = config;
  const told = [
    amount != null && `$${amount}`,
    fraction != null && `${Math.round(fraction * 1000) / 10} %`,
    times != null && `${times} ${times === 1 ? 'time' : 'times'}`,
    minutes != null && `${minutes} min`,
    window != null && `within ${window} min`,
  ].filter(Boolean);
  const words = KINDS[trigger]?.words ?? trigger;
  return told.length > 0 ? `${words}: ${told.join(', ')}` : words;
}

/** Whom a rule tells, and what it does to the run. */
export function tells({ channels, act }: Pick<AlertRule, 'channels' | 'act'>): string {
  const told = channels.map(({ type, target }) => (target ? `${type} ${target}` : type));
  return `${told.join(', ') || 'nobody'}${act ? `, and ${act}s` : ''}`;
}

export type ChannelType = AlertRule['channels'][number]['type'];

export const CHANNELS: Readonly<Record<ChannelType, string>> = {
  email: 'an e-mail address',
  webhook: 'a webhook',
  slack: 'Slack',
  discord: 'Discord',
  teams: 'Teams',
  in_app: 'only this list',
};

export type ScopeName = 'agent' | 'thread_id' | 'run_id' | 'label' | 'persona';

export const SCOPES: Readonly<Record<ScopeName, string>> = {
  agent: 'Agent',
  thread_id: 'Thread',
  run_id: 'Run and its descendants',
  label: 'Label (name=value)',
  persona: 'Persona',
};

/** A rule as its form has it: texts. */
export interface Draft {
  name: string;
  trigger: Trigger;
  scope: Readonly<Partial<Record<ScopeName, string>>>;
  config: Readonly<Partial<Record<Setting, string>>>;
  channels: readonly { readonly type: ChannelType; readonly target: string }[];
  cooldown: string;
  renotify: string;
  act: '' | 'pause' | 'cancel';
}

/** What the form's members are called. */
export const WORDS: Readonly<Record<keyof Draft, string>> = {
  name: 'name',
  trigger: 'trigger',
  scope: 'conditions',
  config: 'figures',
  channels: 'whom it notifies',
  cooldown: 'cool-down',
  renotify: 'repeat every',
  act: 'action on the run',
};

const NEW: Draft = { name: '', trigger: 'error', scope: {}, config: {}, channels: [], cooldown: '10', renotify: '0', act: '' };

function texts(given: object): Record<string, string> {
  const told = Object.entries(given).filter(([, value]) => value !== null && value !== undefined && typeof value !== 'boolean');
  return Object.fromEntries(told.map(([name, value]) => [name, String(value)]));
}

/** What the form begins with: a rule, or nothing. */
export function draftOf(rule: AlertRule | null): Draft {
  if (rule === null) return NEW;
  const { name, trigger, channels, cooldown_minutes: cooldown, renotify_minutes: renotify, act } = rule;
  const ways = channels.map(({ type, target }) => ({ type, target: target ?? '' }));
  return { name, trigger, scope: texts(rule.scope), config: texts(rule.config), channels: ways, cooldown: String(cooldown), renotify: String(renotify), act: act ?? '' };
}

/** The form as the API takes it: its fields have made sure of numbers. Figures that the trigger does not use are left out; of what was emptied nothing is sent. */
export function bodyOf({ name, scope, config, channels, cooldown, renotify, act, trigger }: Draft): Record<string, unknown> {
  const given = (values: Readonly<Record<string, string | undefined>>): [string, string][] =>
    Object.entries(values).flatMap(([key, value]) => (value?.trim() ? [[key, value.trim()] as [string, string]] : []));
  const used: readonly string[] = KINDS[trigger].settings;
  return {
    name,
    scope: Object.fromEntries(given(scope)),
    config: Object.fromEntries(given(config).flatMap(([key, value]) => (used.includes(key) ? [[key, numberOf(value)]] : []))),
    channels: channels.map(({ type, target }) => (type === 'in_app' ? { type } : { type, target })),
    cooldown_minutes: numberOf(cooldown),
    renotify_minutes: numberOf(renotify),
    act: act || null,
  };
}

import { describe, expect, it } from 'vitest';
import type { AlertRule } from '../src/api/types';
import { bodyOf, draftOf } from '../src/pages/alerts/rules';

const rule = (more: Partial<AlertRule>): AlertRule =>
  ({ rule_id: 'r', name: 'slow', trigger: 'waiting_too_long', scope: {}, config: {}, channels: [], cooldown_minutes: 10, renotify_minutes: 0, act: null, ...more }) as AlertRule;

describe('the form of a rule', () => {
  it('sends a rule back as it was', () => {
    const channels = [{ type: 'webhook', target: 'https://h.example/…3f', secret: null }, { type: 'in_app', target: null, secret: null }] as AlertRule['channels'];
    const given = rule({ scope: { agent: 'writer', label: 'team=search' }, config: { minutes: 1.5 }, channels, act: 'pause', renotify_minutes: 30 });
    expect(bodyOf(draftOf(given))).toEqual({
      name: 'slow',
      scope: { agent: 'writer', label: 'team=search' },
      config: { minutes: 1.5 },
      channels: [{ type: 'webhook', target: 'https://h.example/…3f' }, { type: 'in_app' }],
      cooldown_minutes: 10,
      renotify_minutes: 30,
      act: 'pause',
    });
  });
  it('sends nothing of what was emptied, and no figure that its trigger does not use', () => {
    const draft = { ...draftOf(rule({ scope: { organisation: true } })), scope: { agent: ' ', persona: '' }, config: { minutes: '', amount_usd: '5' } };
    expect(bodyOf(draft)).toMatchObject({ scope: {}, config: {}, act: null });
  });
  it('begins empty', () => {
    expect(bodyOf(draftOf(null))).toMatchObject({ name: '', scope: {}, config: {}, channels: [], cooldown_minutes: 10 });
  });
});

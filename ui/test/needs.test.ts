import { expect, test } from 'vitest';
import { healthOf } from '../src/model/health';
import { waiting } from '../src/model/matters';
import { OPEN } from '../src/model/status';

test('an agent whose runs wait for a person is not at work', () => {
  const none = { silent: 0, failed: 0, waiting: 0, busy: 0, open: 0 };
  expect(healthOf({ ...none, waiting: 1, open: 1 })).toMatchObject({ status: 'waiting_for_input', words: '1 waiting' });
  expect(healthOf({ ...none, waiting: 1, busy: 3, open: 4 }).status).toBe('waiting_for_input');
  expect(healthOf({ ...none, busy: 1, open: 2 }).words).toBe('at work');
  expect(healthOf({ ...none, open: 1 }).words).toBe('on hold');
  expect(healthOf(none).words).toBe('at rest');
  expect(healthOf({ silent: 1, failed: 1, waiting: 1, busy: 1, open: 3 }).words).toBe('1 silent');
  expect(healthOf({ ...none, failed: 2, waiting: 1, open: 1 }).words).toBe('2 failed');
});

test('open runs are those of the statuses that are no end', () => {
  expect([...OPEN].sort()).toEqual(['cancelling', 'paused', 'queued', 'running', 'waiting_for_input']);
});

test('questions and approvals are counted apart', () => {
  const [question, approval] = [{ kind: 'question' }, { kind: 'approval' }];
  expect(waiting([])).toBe('nothing waits for you');
  expect(waiting([question])).toBe('1 question waits');
  expect(waiting([approval, question, question])).toBe('2 questions and 1 approval wait');
  expect(waiting([approval])).toBe('1 approval waits');
});

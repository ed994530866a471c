/** The lines by which a page that is empty gets its first data: they work as they stand, once a key is in them. */

export interface Way {
  /** What the lines are for: a terminal, a language. */
  readonly name: string;
  readonly code: string;
}

export type Lesson = 'run' | 'ask' | 'usage' | 'work' | 'budget' | 'rule';

/** What the key of a lesson must be good for. */
export const SCOPES: Readonly<Record<Lesson, readonly string[]>> = {
  run: ['ingest'],
  ask: ['ingest'],
  usage: ['ingest'],
  work: ['worker', 'control', 'read'],
  budget: ['read', 'control'],
  rule: ['read', 'control'],
};

const KEY = 'tl_live_…';
const INSTALL = '# the package: pip install PATH_OF_A_CHECKOUT (it is not on PyPI yet)';

/** The ways of a lesson at this server; `key` null: one has to be put in. */
export function waysOf(lesson: Lesson, origin: string, key: string | null): Way[] {
  const exports = `export TOWERLOG_URL=${origin}\nexport TOWERLOG_API_KEY=${key ?? KEY}`;
  const shell = (line: string): string => `${INSTALL}\n${exports}\n${line}`;
  const set = ['import os', `os.environ["TOWERLOG_URL"] = "${origin}"`, `os.environ["TOWERLOG_API_KEY"] = "${key ?? KEY}"`];
  const python = (...lines: string[]): Way => ({ name: 'Python', code: [INSTALL, ...set, 'import towerlog', ...lines].join('\n') });
  const curl = (path: string, body: string): Way => ({
    name: 'curl',
    code: `curl -sS '${origin}${path}' -H 'Authorization: Bearer ${key ?? KEY}' \\\n  -H 'Content-Type: application/json' -d '${body}'`,
  });
  const events = (...told: string[]): Way => curl('/api/v1/events', `{"client_id": "hello", "events": [\n  ${told.map(numbered).join(',\n  ')}]}`);
  const started = '"type": "run.started", "agent": "hello", "data": {"input": "my first run"}';
  const completed = '"type": "run.completed", "data": {"result": "it works"}';
  const otlp: Way = {
    name: 'OpenTelemetry',
    code: [
      '# for a program whose agents export OpenTelemetry',
      `export OTEL_EXPORTER_OTLP_ENDPOINT=${origin}`,
      'export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf',
      `export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20${key ?? KEY}"`,
    ].join('\n'),
  };
  switch (lesson) {
    case 'run':
      return [
        { name: 'Terminal', code: shell('towerlog exec --agent hello -- echo "my first run"') },
        events(started, completed),
        python('with towerlog.record_run("hello", input="my first run") as run:', '    run.step("look")', '    run.result = "it works"'),
        otlp,
      ];
    case 'ask':
      return [
        events(started, '"type": "run.waiting_for_input", "data": {"question": "Publish it?"}'),
        python('with towerlog.record_run("hello") as run:', '    print(run.ask("Publish it?"))'),
      ];
    case 'usage':
      return [
        events(started, '"type": "model.call", "data": {"model": "gpt-4o-mini", "input_tokens": 812, "output_tokens": 40}', completed),
        python('with towerlog.record_run("hello") as run:', '    run.model_call("gpt-4o-mini", input_tokens=812, output_tokens=40)'),
        otlp,
      ];
    case 'work':
      return [
        {
          name: 'Terminal',
          code: shell(
            [
              "cat > crew.py <<'END'",
              'import time, towerlog',
              '',
              'app = towerlog.App()',
              '',
              '@app.agent("hello", default=True)',
              'def hello(run):',
              '    for second in range(30):',
              '        run.check()',
              '        time.sleep(1)',
              '    return {"heard": run.input}',
              'END',
              'towerlog runs create my-thread --agent hello --input "my first run"',
              'towerlog worker --app crew:app',
            ].join('\n'),
          ),
        },
      ];
    case 'budget':
      return [
        { name: 'Terminal', code: shell('towerlog budgets set everything --amount 20 --period day --action pause') },
        curl('/api/v1/budgets', '{"name": "everything", "scope": {"organisation": true}, "amount_usd": 20, "period": "day", "action": "pause"}'),
      ];
    case 'rule':
      return [
        { name: 'Terminal', code: shell('towerlog alerts set "failed runs" --trigger error --cooldown 10') },
        curl('/api/v1/alert-rules', '{"name": "failed runs", "trigger": "error", "cooldown_minutes": 10}'),
      ];
  }
}

/** An event with the numbers that a client gives it. */
function numbered(event: string, at: number): string {
  return `{"event_id": "${at + 1}", "client_seq": ${at + 1}, "run_key": "hello-1", ${event}}`;
}

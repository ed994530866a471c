import { expect, it } from 'vitest';
import paths from '../../tests/asgi/pages/sign_in/next_paths.json';
import { nextOf } from '../src/model/next';

const ORIGIN = 'http://towerlog.example.com:8787';

it.each(paths as [string, string][])('after signing in, %j leads to %j', (sent, goes) => expect(nextOf(sent, ORIGIN)).toBe(ORIGIN + goes));
it('without a path to the first page', () => expect(nextOf(null, ORIGIN)).toBe(`${ORIGIN}/`));
it('what stays on this host is opened there', () => expect(nextOf('/a/..//evil.example', ORIGIN)).toBe(`${ORIGIN}//evil.example`));
it('a path has a bound', () => expect(nextOf('/' + 'x'.repeat(500), ORIGIN)).toBe(`${ORIGIN}/`));

/** Who is signed in, and what it may do. Behind an API key, as in development, nobody is, and everything may be tried. */

import { ApiError, call } from '../api/client';
import type { Who } from '../api/types';

export type Scope = 'read' | 'control' | 'admin';

class Session {
  /** Null while it is not known, and where a key is used. */
  who = $state.raw<Who | null>(null);
  /** Whether the server was asked. */
  isKnown = $state(false);

  /** Asks the server; without a session that is told as everything else that is refused with 401. */
  async load(): Promise<void> {
    try {
      this.who = await call('get', '/api/v1/session');
    } catch (fault) {
      if (!(fault instanceof ApiError)) throw fault;
      // A server that is away has signed nobody out.
      if (!fault.isPassing) this.who = null;
    }
    this.isKnown = true;
  }

  /** Whether the reader may do what needs this scope. */
  may(scope: Scope): boolean {
    return this.who === null || this.who.scopes.includes(scope) || this.who.scopes.includes('admin');
  }

  /** Signs in. Raises ApiError. */
  async signIn(body: { token: string } | { user: string; password: string; organisation: string }): Promise<void> {
    await call('post', '/api/v1/sign-in', { body });
  }

  /** Signs out. Raises ApiError. */
  async signOut(): Promise<void> {
    await call('post', '/api/v1/sign-out');
  }
}

export const session = new Session();

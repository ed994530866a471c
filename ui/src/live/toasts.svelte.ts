/** Short words about what was just done, at the foot of the screen. */

import { visible } from '../model/text';

export interface Toast {
  readonly id: number;
  readonly words: string;
  readonly isBad: boolean;
}

const SHOWN_MS = 6_000;

class Toasts {
  list = $state.raw<readonly Toast[]>([]);
  #next = 1;

  /** Says something; what is bad stays until it is dismissed, or a form is sent. */
  say(words: string, isBad = false): void {
    const id = this.#next++;
    this.list = [...this.list.slice(-2), { id, words: visible(words), isBad }];
    if (!isBad) setTimeout(() => this.dismiss(id), SHOWN_MS);
  }

  /** Says what went wrong. */
  fail(fault: unknown): void {
    this.say(fault instanceof Error ? fault.message : String(fault), true);
  }

  /** What went wrong before is over: somebody tries again. */
  again(): void {
    this.list = this.list.filter((toast) => !toast.isBad);
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();

/** Copies a text, and says so. */
export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toasts.say(`Copied ${what}.`);
  } catch {
    toasts.say('The browser does not let this page copy.', true);
  }
}

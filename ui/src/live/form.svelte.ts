/** What a form holds of a thing that others may change while it is open. */

import { changes, rebased } from '../model/merge';
import { line } from '../model/text';

export class Form<T extends object> {
  draft: T = $state() as T;
  /** What others have changed since it was opened, by name; with the value where it is a text. */
  theirs = $state.raw<Partial<T>>({});
  began: T;

  constructor(thing: T) {
    this.draft = thing;
    this.began = thing;
  }

  /** Takes over how the thing is now. Whether that is another than was known: then it is shown before anything is sent. */
  meet(now: T): boolean {
    const theirs = changes(this.began, now);
    if (Object.keys(theirs).length === 0) return false;
    this.draft = rebased($state.snapshot(this.draft) as T, this.began, now);
    this.began = now;
    this.theirs = { ...this.theirs, ...theirs };
    return true;
  }

  /** What they have changed, for the reader; `words`: what each member is called. Empty for nothing. */
  told(words: Readonly<Record<keyof T, string>>): string {
    return Object.entries(this.theirs)
      .map(([name, value]) => words[name as keyof T] + (typeof value === 'string' ? ` “${line(value, 60)}”` : ''))
      .join(', ');
  }
}

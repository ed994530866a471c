/** Buttons that decide something: a press counts for what stood under the pointer, and one press decides one thing. */

import { type Spot, Stillness } from '../model/standing';
import { toasts } from './toasts.svelte';

/** For so long after a press that counted no other does, in ms. */
const REST_MS = 1_000;
/** How often it is looked whether something has moved, in ms; and at each press. */
const LOOK_MS = 100;
/** Buttons that only change how something is shown. */
const ACTS = 'button:not(.ghost)';

const still = new Stillness<HTMLElement>();
const nodes = new Set<HTMLElement>();
let restsUntil = 0;
let pressed: { readonly node: HTMLElement; readonly isStill: boolean } | null = null;
let timer: ReturnType<typeof setInterval> | undefined;

/** Where an element is on its page: scrolling, which the reader does, moves nothing. */
function spotOf(node: HTMLElement): Spot {
  const { left, top } = node.getBoundingClientRect();
  let [x, y] = [left + scrollX, top + scrollY];
  for (let at = node.parentElement; at !== null && at !== document.body; at = at.parentElement) [x, y] = [x + at.scrollLeft, y + at.scrollTop];
  return { x, y };
}

function look(node: HTMLElement): boolean {
  const isStill = still.see(node, spotOf(node), performance.now());
  const isReady = isStill && performance.now() >= restsUntil;
  for (const button of node.querySelectorAll(ACTS)) {
    if (!isReady) button.setAttribute('aria-disabled', 'true');
    else if (button.hasAttribute('aria-disabled')) button.removeAttribute('aria-disabled');
  }
  return isStill;
}

function down(event: Event): void {
  const node = event.currentTarget as HTMLElement;
  pressed = { node, isStill: look(node) };
}

function clicked(event: MouseEvent): void {
  const node = event.currentTarget as HTMLElement;
  const button = event.target instanceof Element ? event.target.closest<HTMLElement>(ACTS) : null;
  if (!button) return;
  const isKey = event.detail === 0;
  const isResting = performance.now() < restsUntil;
  const isMeant = isKey || (pressed?.node === node && pressed.isStill && look(node));
  pressed = null;
  if (isResting || !isMeant) {
    event.preventDefault();
    event.stopImmediatePropagation();
    toasts.say(isResting ? 'Nothing was done: that came too soon after the last press.' : 'Nothing was done: this had just moved. Press again.');
    return;
  }
  restsUntil = performance.now() + REST_MS;
  nodes.forEach(look);
  // Buttons that come by the press rest too.
  setTimeout(() => nodes.forEach(look));
}

/** For the element that holds the buttons of one thing. */
export function acting(node: HTMLElement): { destroy: () => void } {
  nodes.add(node);
  look(node);
  node.addEventListener('pointerdown', down, true);
  node.addEventListener('click', clicked, true);
  timer ??= setInterval(() => nodes.forEach(look), LOOK_MS);
  return {
    destroy: () => {
      nodes.delete(node);
      still.forget(node);
      if (nodes.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    },
  };
}

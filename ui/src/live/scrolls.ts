/** A box whose text is longer than itself: the keyboard scrolls it, so it can be reached; a shorter one is no stop. */
export function scrolls(box: HTMLElement): () => void {
  const seen = new ResizeObserver(() => {
    if (box.scrollHeight > box.clientHeight) box.tabIndex = 0;
    else box.removeAttribute('tabindex');
  });
  seen.observe(box);
  return () => seen.disconnect();
}

/** What agents wrote, for showing: characters that hide, reorder or erase text are made visible. */

const NAMES: Readonly<Record<number, string>> = { 0x1b: 'ESC', 0x7f: 'DEL', 0x200b: 'ZWSP', 0xfeff: 'BOM' };
// Control characters but tab and line end, marks of direction, half characters, and what has no width; the joiner of an emoji stays.
const UNSEEN = /(?![\n\t])(?!(?<=\p{Extended_Pictographic}\ufe0f?)\u200d\p{Extended_Pictographic})[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;

/** The text with every unseen character as `⟨name⟩`. */
export function visible(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(UNSEEN, (unseen) => {
    const code = unseen.codePointAt(0) ?? 0;
    return `⟨${NAMES[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, '0')}`}⟩`;
  });
}

/** The last characters of an id, which tell ids of the same minute apart. */
export function shortId(id: string, length = 6): string {
  return visible(id.slice(-length).replace(/^[\udc00-\udfff]/, ''));
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What is called by a name or by an id: a name in one line, of an id its end. */
export function named(name: string, length = 60): string {
  return UUID.test(name) ? shortId(name) : line(name, length);
}

/** The text up to so many characters, none of them halved; an ellipsis where there is more. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, '')}…` : text;
}

/** One line of at most so many characters. */
export function line(text: string, length = 200): string {
  return cut(visible(text.replace(/\s+/g, ' ').trim()), length);
}

/** What people should know: handed to the program, by default as a warning on the console. Never throws. */

export type TellProblem = (words: string) => void;

export function tellerOf(onProblem: TellProblem | undefined): TellProblem {
  const tell = onProblem ?? ((words) => console.warn(`towerlog: ${words}`));
  return (words) => {
    try {
      tell(words);
    } catch {
      // Whatever the program does with it must not end the delivery.
    }
  };
}

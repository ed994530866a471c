-- What a run says in words, for searches; written when its input, result, error, phase or metadata change, and when
-- somebody asks, answers or writes. A row is made with a run's first event: runs of before this have none, and are found
-- by their words after `towerlog rebuild`.
CREATE TABLE run_text (
    run INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    given TEXT NOT NULL,
    produced TEXT NOT NULL,
    talk TEXT NOT NULL,
    about TEXT NOT NULL
);

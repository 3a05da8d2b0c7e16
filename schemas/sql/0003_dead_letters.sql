-- What was done about dead letters. The letters themselves stay in events.dlq, whose offsets are
-- their identity; a letter without a row here is open.

-- One run of `sluice dlq replay` or `sluice dlq discard`.
CREATE TABLE control.letter_operations (
    id text PRIMARY KEY,
    command text NOT NULL CHECK (command IN ('replay', 'discard')),
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    person text NOT NULL,
    host text NOT NULL,
    note text NOT NULL DEFAULT '',
    -- Where the partitions of events.raw ended before the batch under way was sent: what became of
    -- it after a crash is looked for from there on.
    raw_ends jsonb
);

-- 'replaying' is the intention, written before a letter is sent; it becomes 'replayed', or is
-- taken back when the letter turns out not to have been sent. 'lost': it can no longer be told.
CREATE TABLE control.letter_actions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_partition integer NOT NULL,
    letter_offset bigint NOT NULL,
    -- When the broker took the letter. A topic that was made anew counts its offsets from zero
    -- again: its letters are others.
    letter_time timestamptz NOT NULL,
    action text NOT NULL CHECK (action IN ('replaying', 'replayed', 'discarded', 'lost')),
    -- How often the bytes were tried when this try is counted.
    attempt integer,
    operation text NOT NULL REFERENCES control.letter_operations (id),
    acted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX letter_actions_of_a_letter
    ON control.letter_actions (letter_partition, letter_offset);

-- One at a time, and once for all, whatever a program does.
CREATE UNIQUE INDEX letter_actions_sent_once
    ON control.letter_actions (letter_partition, letter_offset, letter_time)
    WHERE action IN ('replaying', 'replayed');

-- What an unfinished run left; nearly always empty.
CREATE INDEX letter_actions_unfinished ON control.letter_actions (operation)
    WHERE action = 'replaying';

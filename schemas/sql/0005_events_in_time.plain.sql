-- The events on a PostgreSQL without TimescaleDB: the same names, columns and answers, without chunks
-- and compression. It is for laptops and tests, not for 50 million events a day.

-- Instead of leaving out chunks: whoever asks for a span reads only the pages that may hold it.
CREATE INDEX events_by_time ON public.events
    USING brin (occurred_at) WITH (pages_per_range = 32, autosummarize = on);

INSERT INTO control.retention (table_name, time_column, keep)
VALUES ('public.events', 'occurred_at', interval '30 days');

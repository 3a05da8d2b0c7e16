-- How long savepoints are kept where somebody has said so, and who did what to them and why.

-- null: nobody has said. Then only those that a schedule made are deleted, by the tool's own measure.
ALTER TABLE control.jobs
    ALTER COLUMN keep_count DROP NOT NULL,
    ALTER COLUMN keep_count DROP DEFAULT,
    ALTER COLUMN keep_for DROP NOT NULL,
    ALTER COLUMN keep_for DROP DEFAULT;

-- These were never chosen, but written for every job that was deployed.
UPDATE control.jobs SET keep_count = NULL, keep_for = NULL
 WHERE keep_count = 5 AND keep_for = interval '14 days';

-- What is done outside of an operation has its own person, host and reason.
ALTER TABLE control.job_events
    ADD COLUMN person text NOT NULL DEFAULT '',
    ADD COLUMN host text NOT NULL DEFAULT '',
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN savepoint bigint REFERENCES control.savepoints (number);

CREATE INDEX job_events_of_a_savepoint ON control.job_events (savepoint, number)
 WHERE savepoint IS NOT NULL;

-- What the control plane wants, what it did and what it is doing. An intention is written here
-- before anything is done, so that whoever comes after a crash can tell where it stood.

-- One run of a command that changes a job.
CREATE TABLE control.operations (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job text NOT NULL,
    kind text NOT NULL,
    -- Chosen by the command: an insert whose answer was lost is found again.
    token text NOT NULL UNIQUE,
    -- running: under way, or left by a command that was killed. The others are final.
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'refused', 'undone')),
    plan jsonb NOT NULL,
    person text NOT NULL,
    host text NOT NULL,
    reason text NOT NULL DEFAULT '',
    outcome text NOT NULL DEFAULT '',
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);

-- One at a time on one job, whatever a program does.
CREATE UNIQUE INDEX operations_one_a_job ON control.operations (job) WHERE state = 'running';
CREATE INDEX operations_of_a_job ON control.operations (job, number);

CREATE TABLE control.operation_steps (
    operation bigint NOT NULL REFERENCES control.operations (number),
    place integer NOT NULL,
    name text NOT NULL,
    state text NOT NULL CHECK (state IN ('intended', 'done', 'failed')),
    -- Written before acting: ids that make doing it twice harmless.
    intention jsonb NOT NULL,
    result jsonb,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    PRIMARY KEY (operation, place),
    UNIQUE (operation, name)
);

-- One start of one version of a job. Starting an old version again makes a new row.
CREATE TABLE control.deployments (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job text NOT NULL,
    operation bigint NOT NULL REFERENCES control.operations (number),
    -- The archive's hash: code, packages and the job's description.
    archive text NOT NULL,
    -- Of the archive and the settings together.
    version text NOT NULL,
    spec jsonb NOT NULL,
    settings jsonb NOT NULL,
    parallelism integer NOT NULL,
    -- What Flink made of it: the operators with their uids.
    graph jsonb,
    flink_job text NOT NULL UNIQUE,
    restored_from text,
    state text NOT NULL CHECK (state IN ('starting', 'live', 'ended', 'failed')),
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);

CREATE INDEX deployments_of_a_job ON control.deployments (job, number);

CREATE TABLE control.savepoints (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job text NOT NULL,
    deployment bigint REFERENCES control.deployments (number),
    operation bigint REFERENCES control.operations (number),
    flink_job text NOT NULL,
    -- What Flink knows it by while it is under way.
    trigger text UNIQUE,
    path text UNIQUE,
    origin text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'there', 'failed', 'lost', 'disposed')),
    bytes bigint,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at timestamptz,
    -- How it was proven that it can be restored, and when.
    verified text NOT NULL DEFAULT '' CHECK (verified IN ('', 'read', 'restored')),
    verified_at timestamptz,
    note text NOT NULL DEFAULT '',
    CHECK (state <> 'there' OR path IS NOT NULL)
);

CREATE INDEX savepoints_of_a_job ON control.savepoints (job, number);

-- What is wanted of a job, and what the control loop does for it.
CREATE TABLE control.jobs (
    job text PRIMARY KEY,
    desired text NOT NULL CHECK (desired IN ('running', 'stopped')),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- null: no periodic savepoints.
    savepoint_every interval CHECK (savepoint_every >= interval '10 seconds'),
    keep_count integer NOT NULL DEFAULT 5 CHECK (keep_count >= 1),
    keep_for interval NOT NULL DEFAULT interval '14 days'
);

CREATE TABLE control.job_events (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    job text NOT NULL,
    operation bigint REFERENCES control.operations (number),
    kind text NOT NULL,
    detail text NOT NULL DEFAULT ''
);

CREATE INDEX job_events_of_a_job ON control.job_events (job, number);

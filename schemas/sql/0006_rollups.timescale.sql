-- Rollups. Currency is one of the groups because sums of different currencies mean nothing; it is
-- NULL where there is no amount. Users are counted exactly, so the hour is made from events, not
-- from minutes: distinct users of minutes cannot be added.
-- Real-time: what is not refreshed yet is added from events at the moment of the question.
CREATE MATERIALIZED VIEW public.rollups_1m
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false
) AS
SELECT
    time_bucket(interval '1 minute', occurred_at) AS bucket,
    tenant_id,
    event_type,
    currency,
    count(*) AS events,
    count(*) FILTER (WHERE is_error) AS errors,
    sum(amount) AS amount_sum,
    max(amount) AS amount_max,
    count(DISTINCT user_id) AS users,
    count(duration_ms) AS duration_count,
    sum(duration_ms) AS duration_ms_sum
FROM public.events
GROUP BY 1, 2, 3, 4
WITH NO DATA;

CREATE MATERIALIZED VIEW public.rollups_1h
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false,
    -- Two years are 24 chunks; by default they were 440.
    timescaledb.chunk_interval = '30 days'
) AS
SELECT
    time_bucket(interval '1 hour', occurred_at) AS bucket,
    tenant_id,
    event_type,
    currency,
    count(*) AS events,
    count(*) FILTER (WHERE is_error) AS errors,
    sum(amount) AS amount_sum,
    max(amount) AS amount_max,
    count(DISTINCT user_id) AS users,
    count(duration_ms) AS duration_count,
    sum(duration_ms) AS duration_ms_sum
FROM public.events
GROUP BY 1, 2, 3, 4
WITH NO DATA;

CREATE INDEX rollups_1m_of_a_tenant ON public.rollups_1m (tenant_id, bucket DESC);
CREATE INDEX rollups_1h_of_a_tenant ON public.rollups_1h (tenant_id, bucket DESC);

-- A refresh recomputes a bucket from the events that are there, and would empty it once retention
-- has dropped them. So it looks back 29 days, a day less than events are kept. Only buckets
-- with new events are recomputed: a long window costs nothing, and late events are counted.
-- One batch is a chunk. The server's default is one bucket: on nine days of minutes (90 chunks) that
-- had not ended after 70 s, with a chunk a batch it takes 2 s.
SELECT add_continuous_aggregate_policy(
    'public.rollups_1m', start_offset => interval '29 days', end_offset => interval '1 minute',
    schedule_interval => interval '1 minute', buckets_per_batch => 240
);
SELECT add_continuous_aggregate_policy(
    'public.rollups_1h', start_offset => interval '29 days', end_offset => interval '1 hour',
    schedule_interval => interval '10 minutes', buckets_per_batch => 4
);
SELECT add_retention_policy('public.rollups_1m', drop_after => interval '90 days');
SELECT add_retention_policy('public.rollups_1h', drop_after => interval '2 years');

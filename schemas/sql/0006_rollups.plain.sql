-- Rollups. Currency is one of the groups because sums of different currencies mean nothing; it is
-- NULL where there is no amount. Users are counted exactly, so the hour is made from events, not
-- from minutes: distinct users of minutes cannot be added.
-- Computed from events whenever they are asked for, so always right, never fast, and without what
-- retention has deleted. date_bin gives what time_bucket gives here and is twenty times faster.
CREATE VIEW public.rollups_1m AS
SELECT
    date_bin(interval '1 minute', occurred_at, timestamptz '2000-01-03 00:00:00+00') AS bucket,
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
GROUP BY 1, 2, 3, 4;

CREATE VIEW public.rollups_1h AS
SELECT
    date_bin(interval '1 hour', occurred_at, timestamptz '2000-01-03 00:00:00+00') AS bucket,
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
GROUP BY 1, 2, 3, 4;

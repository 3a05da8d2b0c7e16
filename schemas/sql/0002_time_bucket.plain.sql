-- The names of TimescaleDB that our queries use, for a PostgreSQL without the extension.
-- The results are the same; the speed on large tables is not.

-- TimescaleDB counts from Monday, 2000-01-03, and whole months from 2000-01-01.
CREATE FUNCTION public.time_bucket(
    bucket_width interval, ts timestamp, origin timestamp DEFAULT NULL
) RETURNS timestamp
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    months integer := extract(year FROM bucket_width) * 12 + extract(month FROM bucket_width);
    rest interval := bucket_width - make_interval(months => months);
    base timestamp;
    passed integer;
BEGIN
    IF bucket_width IS NULL OR ts IS NULL THEN
        RETURN NULL;
    END IF;
    IF months = 0 THEN
        RETURN date_bin(bucket_width, ts, coalesce(origin, timestamp '2000-01-03'));
    END IF;
    IF rest <> interval '0' THEN
        RAISE EXCEPTION 'a bucket has months or days and time, not both: %', bucket_width
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    base := date_trunc('month', coalesce(origin, timestamp '2000-01-01'));
    passed := (extract(year FROM ts) - extract(year FROM base)) * 12
              + extract(month FROM ts) - extract(month FROM base);
    RETURN base + make_interval(
        months => floor(passed::numeric / months)::integer * months
    );
END
$$;

CREATE FUNCTION public.time_bucket(
    bucket_width interval, ts timestamptz, origin timestamptz DEFAULT NULL
) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT public.time_bucket(
        bucket_width, ts AT TIME ZONE 'UTC', origin AT TIME ZONE 'UTC'
    ) AT TIME ZONE 'UTC'
$$;

-- Days and weeks as a place on earth counts them, across changes of the clock.
CREATE FUNCTION public.time_bucket(bucket_width interval, ts timestamptz, timezone text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT public.time_bucket(bucket_width, ts AT TIME ZONE timezone) AT TIME ZONE timezone
$$;

CREATE FUNCTION public.time_bucket(bucket_width interval, ts date, origin date DEFAULT NULL)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT public.time_bucket(bucket_width, ts::timestamp, origin::timestamp)::date
$$;

CREATE FUNCTION public.time_bucket(bucket_width bigint, ts bigint, "offset" bigint DEFAULT 0)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT floor((ts - "offset")::numeric / bucket_width)::bigint * bucket_width + "offset"
$$;

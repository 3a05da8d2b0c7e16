-- What whoever only reads should know, and the role that may only read.
COMMENT ON VIEW public.rollups_1m IS
    'Events per minute, tenant, type and currency; the newest are counted as you ask.';
COMMENT ON VIEW public.rollups_1h IS
    'Events per hour, tenant, type and currency; the newest are counted as you ask.';
COMMENT ON COLUMN public.rollups_1m.users IS
    'exact in its row; do not add up rows, a user may be in two of them';
COMMENT ON COLUMN public.rollups_1m.duration_count IS
    'events with a duration; a mean is sum(duration_ms_sum) / sum(duration_count)';
COMMENT ON COLUMN public.rollups_1h.users IS
    'exact in its row; do not add up rows, a user may be in two of them';
COMMENT ON COLUMN public.rollups_1h.duration_count IS
    'events with a duration; a mean is sum(duration_ms_sum) / sum(duration_count)';

-- Who may read, and only read: events and rollups, not schema control. Roles are of the whole
-- cluster, so another database may have made it. A person gets it from an administrator:
--     CREATE ROLE anna LOGIN PASSWORD '...';
--     GRANT sluice_analyst TO anna;
--     ALTER ROLE anna SET statement_timeout = '60s';  -- settings are not inherited from a role
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_analyst') THEN
        CREATE ROLE sluice_analyst NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    -- Another database of the cluster migrates at this moment, too, and was faster.
    NULL;
END
$$;
GRANT USAGE ON SCHEMA public TO sluice_analyst;
GRANT SELECT ON public.events, public.rollups_1m, public.rollups_1h TO sluice_analyst;

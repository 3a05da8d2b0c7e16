-- The control plane's own tables. The tables of the migrations and leases are made by the runner,
-- which needs them before it can run this file.

-- What plain PostgreSQL has no policy for: rows older than `keep` are deleted by
-- `sluice db maintain`. With TimescaleDB this table stays empty; its policies are used there.
CREATE TABLE control.retention (
    table_name text PRIMARY KEY,
    time_column text NOT NULL,
    keep interval NOT NULL CHECK (keep > interval '0')
);

COMMENT ON SCHEMA control IS 'Sluice''s control plane: migrations, leases, deployments';

-- TimescaleDB brings time_bucket itself; 0002_time_bucket.plain.sql adds it to
-- plain PostgreSQL. This file only holds the number.
SELECT 1;

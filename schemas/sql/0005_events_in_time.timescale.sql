-- The events as a hypertable: cut into chunks, compressed, dropped.
-- The newest chunk and its indexes should fit into a quarter of the memory, or every insert waits
-- for pages of the random event_id and correlation_id. Measured: 353 bytes a row and 158 of its
-- indexes, 511 together. 100 million events a day are 51 GB, four hours of them 8.5 GB: a quarter of
-- 34 GB. On 64 GB rows may be nearly twice as long. Thirty days are 180 chunks.
SELECT create_hypertable(
    'public.events', by_range('occurred_at', interval '4 hours'), create_default_indexes => false
);

-- After two days few events still come (a late one is taken, at the price of unpacking its batch).
-- Measured on generated events: 511 bytes become 121. Of two days 102 GB lie as they came, of the
-- other 28 days 339 GB compressed. A flow is still found by a Bloom filter of each batch, what
-- was cleaned in a span by a batch's least and greatest time: TimescaleDB makes both from indexes.
ALTER TABLE public.events SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'tenant_id',
    timescaledb.compress_orderby = 'occurred_at DESC, event_id'
);
SELECT add_compression_policy('public.events', compress_after => interval '2 days');

SELECT add_retention_policy('public.events', drop_after => interval '30 days');

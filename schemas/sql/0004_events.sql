-- The events, one row each. What happens to them with time is in the next file.
CREATE TABLE public.events (
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    event_type text NOT NULL,
    domain text NOT NULL,
    schema_version integer NOT NULL,
    received_at timestamptz NOT NULL,
    cleaned_at timestamptz NOT NULL,
    tenant_id text NOT NULL,
    tenant_name text,
    tenant_tier text,
    tenant_region text,
    entity_id text NOT NULL,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    source text NOT NULL,
    trace_context text,
    user_id text,
    amount numeric(20, 4),
    currency text,
    status text,
    severity text,
    service text,
    duration_ms double precision,
    country text,
    is_error boolean NOT NULL,
    text text,
    attributes jsonb NOT NULL,
    -- TimescaleDB keeps a unique index in each chunk, so the time must be part of the key. An event
    -- never changes its time: the pair is as unique as the id.
    PRIMARY KEY (event_id, occurred_at)
);

COMMENT ON TABLE public.events IS
    'Validated, unique events of all domains, one row each. docs/queries.md shows how to ask.';
COMMENT ON COLUMN public.events.event_id IS 'unique for ever';
COMMENT ON COLUMN public.events.occurred_at IS
    'when it happened at its source; give a span of it in every query';
COMMENT ON COLUMN public.events.event_type IS 'domain.action, e.g. transaction.captured';
COMMENT ON COLUMN public.events.domain IS 'user, transaction, system, ...';
COMMENT ON COLUMN public.events.schema_version IS
    'the version in git of the schema that it was sent with; 0 if it is not in git';
COMMENT ON COLUMN public.events.received_at IS
    'when the broker took it; the difference to occurred_at is how late it came';
COMMENT ON COLUMN public.events.cleaned_at IS
    'when ingest let it pass; of two copies the later one counts';
COMMENT ON COLUMN public.events.tenant_id IS 'whose event it is';
COMMENT ON COLUMN public.events.tenant_name IS
    'from the reference data, as it was when the event passed';
COMMENT ON COLUMN public.events.tenant_tier IS
    'from the reference data, as it was when the event passed';
COMMENT ON COLUMN public.events.tenant_region IS
    'from the reference data, as it was when the event passed';
COMMENT ON COLUMN public.events.entity_id IS 'what the event is about';
COMMENT ON COLUMN public.events.correlation_id IS
    'the same for everything that belongs to one flow';
COMMENT ON COLUMN public.events.causation_id IS 'the event that made this one happen';
COMMENT ON COLUMN public.events.source IS 'the service that sent it';
COMMENT ON COLUMN public.events.trace_context IS 'W3C traceparent';
COMMENT ON COLUMN public.events.user_id IS 'who did it, where somebody did';
COMMENT ON COLUMN public.events.amount IS
    'exact, in the currency beside it; amounts of two currencies cannot be added';
COMMENT ON COLUMN public.events.currency IS 'ISO 4217';
COMMENT ON COLUMN public.events.status IS 'how a step ended';
COMMENT ON COLUMN public.events.severity IS 'how bad it is';
COMMENT ON COLUMN public.events.service IS 'the service that it is about';
COMMENT ON COLUMN public.events.duration_ms IS 'how long it took, in milliseconds';
COMMENT ON COLUMN public.events.country IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN public.events.is_error IS 'counts as an error in error rates';
COMMENT ON COLUMN public.events.text IS 'free text; search it in Elasticsearch';
COMMENT ON COLUMN public.events.attributes IS
    'every other field of the event, as text: attributes ->> ''http_status''';

-- No index but those that docs/queries.md and `sluice reconcile` use (tests/integration show the
-- plans): each one is written with every event.
-- A tenant's events in a span, the newest first.
CREATE INDEX events_of_a_tenant ON public.events (tenant_id, occurred_at DESC);
-- A flow from its beginning to its end.
CREATE INDEX events_of_a_flow ON public.events (correlation_id);
-- `sluice reconcile` reads what was cleaned in a span. Rows lie nearly in that order, so the least
-- and greatest time of each 32 pages (some 300 rows) is enough: a thousandth of a B-tree's size.
CREATE INDEX events_by_cleaning ON public.events
    USING brin (cleaned_at) WITH (pages_per_range = 32, autosummarize = on);

-- The catalog: what is in the lake and where to resume. All times are TIMESTAMP in UTC.
CREATE SCHEMA etl;

CREATE TABLE etl.lake (
    migration INTEGER NOT NULL,
    root VARCHAR NOT NULL
);
INSERT INTO etl.lake VALUES (0, '');
COMMENT ON TABLE etl.lake IS 'One row: the newest migration, and the absolute path that the views were made for';

CREATE TABLE etl.topics (
    topic VARCHAR NOT NULL,
    incarnation INTEGER NOT NULL,
    topic_id VARCHAR,
    first_seen TIMESTAMP NOT NULL,
    last_seen TIMESTAMP NOT NULL,
    PRIMARY KEY (topic, incarnation)
);
COMMENT ON TABLE etl.topics IS 'The incarnations of each topic; Lasair recreates a topic when its filter is saved';
COMMENT ON COLUMN etl.topics.topic_id IS 'The broker''s unique id of this incarnation; NULL where the broker gives none';
COMMENT ON COLUMN etl.topics.first_seen IS 'UTC';
COMMENT ON COLUMN etl.topics.last_seen IS 'UTC';

CREATE TABLE etl.offsets (
    topic VARCHAR NOT NULL,
    incarnation INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    first BIGINT NOT NULL,
    next BIGINT NOT NULL,
    last_offset BIGINT,
    last_timestamp_ms BIGINT,
    last_digest BLOB,
    PRIMARY KEY (topic, incarnation, partition)
);
COMMENT ON TABLE etl.offsets IS 'Where to resume: spans and gaps tile [first, next) of each partition';
COMMENT ON COLUMN etl.offsets.next IS 'The next offset to read';
COMMENT ON COLUMN etl.offsets.last_offset IS 'The newest message read, by which a recreated topic is recognised where the broker gives no topic id';
COMMENT ON COLUMN etl.offsets.last_digest IS 'BLAKE2b-128 of that message';

CREATE TABLE etl.runs (
    run_id VARCHAR NOT NULL PRIMARY KEY,
    state VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL,
    ended_at TIMESTAMP,
    group_id VARCHAR,
    host VARCHAR,
    pid INTEGER,
    exit_code INTEGER,
    checkpoints INTEGER NOT NULL DEFAULT 0,
    alerts BIGINT NOT NULL DEFAULT 0,
    rejects BIGINT NOT NULL DEFAULT 0,
    tombstones BIGINT NOT NULL DEFAULT 0,
    absent BIGINT NOT NULL DEFAULT 0,
    lost BIGINT NOT NULL DEFAULT 0,
    files BIGINT NOT NULL DEFAULT 0,
    bytes BIGINT NOT NULL DEFAULT 0,
    seconds DOUBLE NOT NULL DEFAULT 0,
    lag BIGINT,
    message VARCHAR
);
COMMENT ON TABLE etl.runs IS 'One row per drain';
COMMENT ON COLUMN etl.runs.state IS 'open, done or failed';
COMMENT ON COLUMN etl.runs.started_at IS 'UTC';
COMMENT ON COLUMN etl.runs.ended_at IS 'UTC';
COMMENT ON COLUMN etl.runs.lost IS 'Offsets that the broker dropped before they were read';
COMMENT ON COLUMN etl.runs.lag IS 'Messages still on the broker when the run stopped; NULL when unknown';

CREATE TABLE etl.spans (
    run_id VARCHAR NOT NULL,
    checkpoint INTEGER NOT NULL,
    topic VARCHAR NOT NULL,
    incarnation INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    start BIGINT NOT NULL,
    "end" BIGINT NOT NULL,
    alerts BIGINT NOT NULL,
    rejects BIGINT NOT NULL,
    tombstones BIGINT NOT NULL,
    absent BIGINT NOT NULL
);
COMMENT ON TABLE etl.spans IS 'What each checkpoint read: offsets [start, end), where alerts + rejects + tombstones + absent = end - start';
COMMENT ON COLUMN etl.spans.absent IS 'Offsets without a message: transaction markers, aborted or compacted records';

CREATE TABLE etl.gaps (
    run_id VARCHAR NOT NULL,
    checkpoint INTEGER NOT NULL,
    topic VARCHAR NOT NULL,
    incarnation INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    start BIGINT NOT NULL,
    "end" BIGINT NOT NULL,
    found_at TIMESTAMP NOT NULL,
    reason VARCHAR NOT NULL
);
COMMENT ON TABLE etl.gaps IS 'Offsets [start, end) that the broker dropped before they were read';
COMMENT ON COLUMN etl.gaps.found_at IS 'UTC';

CREATE TABLE etl.files (
    path VARCHAR NOT NULL,
    topic VARCHAR NOT NULL,
    night DATE NOT NULL,
    kind VARCHAR NOT NULL,
    rows BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    run_id VARCHAR NOT NULL,
    checkpoint INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    retired_at TIMESTAMP
);
COMMENT ON TABLE etl.files IS 'Every registered Parquet file; path is relative to the lake';
COMMENT ON COLUMN etl.files.kind IS 'alerts or rejects';
COMMENT ON COLUMN etl.files.retired_at IS 'UTC; when newer files replaced this one (NULL: live)';

CREATE TABLE etl.columns (
    topic VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    type VARCHAR NOT NULL,
    wide BOOLEAN NOT NULL DEFAULT false,
    in_alerts BOOLEAN NOT NULL DEFAULT true,
    PRIMARY KEY (topic, path, version)
);
COMMENT ON TABLE etl.columns IS 'The learnt schema of each topic; the newest version of a path counts';
COMMENT ON COLUMN etl.columns.path IS 'Where the field stands in an alert, for instance alert.diaSourcesList[].psfFlux';
COMMENT ON COLUMN etl.columns.version IS 'The schema version that brought this type';
COMMENT ON COLUMN etl.columns.wide IS 'Whether an absolute value above 2^53 was seen, so that the column can never become a DOUBLE';
COMMENT ON COLUMN etl.columns.in_alerts IS 'Whether the column is part of the view alerts: its types agree across topics, or widen exactly';

CREATE TABLE etl.views (
    name VARCHAR NOT NULL PRIMARY KEY,
    digest VARCHAR NOT NULL
);
COMMENT ON TABLE etl.views IS 'The digest of each view''s definition, so that only a changed one is made again';

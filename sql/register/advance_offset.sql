-- Returns no row where another writer has moved the offset.
UPDATE etl.offsets
SET next = $next,
    last_offset = coalesce($last_offset, last_offset),
    last_timestamp_ms = CASE WHEN $last_offset IS NULL THEN last_timestamp_ms ELSE $last_timestamp_ms END,
    last_digest = coalesce($last_digest, last_digest)
WHERE topic = $topic AND incarnation = $incarnation AND partition = $partition AND next = $expected
RETURNING next;

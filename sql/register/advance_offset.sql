-- Returns no row where another writer has moved the offset.
UPDATE etl.offsets
SET next = $end,
    last_offset = coalesce($offset, last_offset),
    last_timestamp_ms = CASE WHEN $offset IS NULL THEN last_timestamp_ms ELSE $timestamp_ms END,
    last_digest = coalesce($digest, last_digest)
WHERE topic = $topic AND incarnation = $incarnation AND partition = $partition AND next = $start
RETURNING next;

-- The last moment at which a drain was seen at work: what is in this file is at least as new.
SELECT greatest(
    (SELECT max(coalesce(ended_at, started_at)) FROM etl.runs), (SELECT max(last_seen) FROM etl.topics)
) AS seen_at;

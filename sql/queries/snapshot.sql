-- The last time at which a drain was at work: this file is at least as new.
SELECT greatest(
    (SELECT max(coalesce(ended_at, started_at)) FROM etl.runs), (SELECT max(last_seen) FROM etl.topics)
) AS seen_at;

-- Whose topic an incarnation is: the cluster and the address it was read from, and whether it was read last.
ALTER TABLE etl.topics ADD COLUMN cluster_id VARCHAR;
ALTER TABLE etl.topics ADD COLUMN bootstrap_servers VARCHAR;
ALTER TABLE etl.topics ADD COLUMN is_current BOOLEAN DEFAULT true;
UPDATE etl.topics SET is_current = incarnation = (SELECT max(newest.incarnation) FROM etl.topics AS newest WHERE newest.topic = topics.topic);
COMMENT ON TABLE etl.topics IS 'The incarnations of each topic: Lasair recreates a topic when its filter is saved, and another cluster has topics of its own';
COMMENT ON COLUMN etl.topics.cluster_id IS 'The cluster where this incarnation was read last; NULL where the broker gives no id, or until the next drain';
COMMENT ON COLUMN etl.topics.bootstrap_servers IS 'The setting with which it was read last';
COMMENT ON COLUMN etl.topics.is_current IS 'Whether the last drain of this topic read this incarnation: one of each topic';

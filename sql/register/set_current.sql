-- Record which incarnation of a topic was read last.
UPDATE etl.topics SET is_current = incarnation = $incarnation
WHERE topic = $topic AND is_current IS DISTINCT FROM (incarnation = $incarnation);

-- How many alerts, of how many objects, did each Lasair filter (topic) send in each night?
SELECT night, kafka_topic, count(*) AS alerts, count(DISTINCT object_id) AS objects
FROM etl.sightings
GROUP BY night, kafka_topic
ORDER BY night DESC, kafka_topic;

-- How many alerts of each topic came in each of the last nights.
PIVOT alerts ON kafka_topic USING count(*) GROUP BY night ORDER BY night DESC LIMIT 6;

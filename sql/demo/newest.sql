-- The newest objects, each at its last alert.
SELECT UTC, diaObjectId, round(ra, 4) AS ra, round(decl, 4) AS decl, nDiaSources, classification
FROM latest WHERE kafka_topic = 'lasair_demo_plain'
ORDER BY UTC DESC, diaObjectId LIMIT 5;

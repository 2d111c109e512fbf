-- The newest objects, each at its last alert.
SELECT UTC, diaObjectId, round(ra, 4) AS ra, round(decl, 4) AS decl, nDiaSources, classification
FROM lasair_demo_plain
QUALIFY row_number() OVER (PARTITION BY diaObjectId ORDER BY UTC DESC) = 1
ORDER BY UTC DESC, diaObjectId LIMIT 5;

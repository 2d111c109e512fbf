-- All measurements of one object, in order of time: detections and forced photometry of all topics.
--
--   object  Rubin's diaObjectId or ZTF's objectId, as number or text; a number with a fraction is no id
--   gives   object_id, kafka_topic, forced, midpointMjdTai [d, TAI], band, psfFlux and psfFluxErr [nJy],
--           ab_mag and ab_mag_err [mag, AB; NULL where the flux is not positive]
--
-- One row for each measurement, also where several topics carry it: the measurements at one time in one
-- band come from the topic whose alert is the newest. Not every topic has ids to compare.
CREATE OR REPLACE MACRO light_curve(object) AS TABLE
WITH found AS (
    SELECT object_id, kafka_topic, false AS forced, midpointMjdTai, band, psfFlux, psfFluxErr, kafka_timestamp
    FROM detections
    WHERE diaObjectId = TRY_CAST(regexp_extract(object::VARCHAR, '^[0-9]+$') AS BIGINT)
    UNION ALL
    SELECT object_id, kafka_topic, false, midpointMjdTai, band, psfFlux, psfFluxErr, kafka_timestamp
    FROM detections
    WHERE objectId = object::VARCHAR
        AND (diaObjectId = TRY_CAST(regexp_extract(object::VARCHAR, '^[0-9]+$') AS BIGINT)) IS NOT TRUE
    UNION ALL
    SELECT object_id, kafka_topic, true, midpointMjdTai, band, psfFlux, psfFluxErr, kafka_timestamp
    FROM forced
    WHERE diaObjectId = TRY_CAST(regexp_extract(object::VARCHAR, '^[0-9]+$') AS BIGINT)
    UNION ALL
    SELECT object_id, kafka_topic, true, midpointMjdTai, band, psfFlux, psfFluxErr, kafka_timestamp
    FROM forced
    WHERE objectId = object::VARCHAR
        AND (diaObjectId = TRY_CAST(regexp_extract(object::VARCHAR, '^[0-9]+$') AS BIGINT)) IS NOT TRUE
)
SELECT object_id, kafka_topic, forced, midpointMjdTai, band, psfFlux, psfFluxErr,
    njy_to_ab(psfFlux) AS ab_mag, njy_to_ab_err(psfFlux, psfFluxErr) AS ab_mag_err
FROM found
QUALIFY kafka_topic = first_value(kafka_topic) OVER (
    PARTITION BY forced, midpointMjdTai, band
    ORDER BY kafka_timestamp DESC NULLS LAST, kafka_topic
)
ORDER BY midpointMjdTai, forced, band;

COMMENT ON MACRO TABLE light_curve IS 'All measurements of one object (diaObjectId or objectId, number or text), by time; fluxes in nJy, AB magnitudes';

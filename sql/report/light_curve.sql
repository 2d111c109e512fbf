-- The measurements of one object that can be drawn: time (MJD, TAI), band, flux and its error (nJy).
SELECT forced, midpointMjdTai, band, psfFlux, psfFluxErr, ab_mag
FROM light_curve($object)
WHERE isfinite(midpointMjdTai) AND isfinite(psfFlux)
ORDER BY midpointMjdTai;

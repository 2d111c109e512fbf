-- AB magnitude of a flux in nanojansky: 31.4 - 2.5 log10(flux).
--
--   flux   nJy
--   gives  mag; NULL for NULL, zero and negative fluxes (common in difference imaging), NaN, infinity
--
-- Source: Oke and Gunn 1983, ApJ 266, 713: m = -2.5 log10(f / (erg/s/cm2/Hz)) - 48.60, which for nJy is
-- exactly 31.4; Rubin's and Lasair's documents use the same number.
-- Accuracy: that of DOUBLE, 1e-14 mag.
CREATE OR REPLACE MACRO njy_to_ab(flux) AS
CASE WHEN isfinite(flux::DOUBLE) AND flux::DOUBLE > 0 THEN 31.4 - 2.5 * log10(flux::DOUBLE) END;

COMMENT ON MACRO njy_to_ab IS 'AB magnitude [mag] of a flux [nJy]: 31.4 - 2.5 log10(flux); NULL where the flux is not positive';

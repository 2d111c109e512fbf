-- Error of the AB magnitude of a flux: 2.5 / ln(10) * flux_err / flux.
--
--   flux, flux_err  nJy
--   gives           mag; NULL for NULL, NaN, infinity, a flux that is not positive, a negative error
--
-- Source: first-order error propagation through njy_to_ab.
-- Accuracy: that of DOUBLE. The first order itself is good for flux / flux_err above about 5; below,
-- magnitudes have asymmetric errors, and it is better to work with fluxes.
CREATE OR REPLACE MACRO njy_to_ab_err(flux, flux_err) AS
CASE
    WHEN isfinite(flux::DOUBLE) AND flux::DOUBLE > 0
        AND isfinite(flux_err::DOUBLE) AND flux_err::DOUBLE >= 0
    THEN 2.5 / ln(10) * flux_err::DOUBLE / flux::DOUBLE
END;

COMMENT ON MACRO njy_to_ab_err IS 'Error of the AB magnitude [mag] of a flux with its error [nJy], in first order';

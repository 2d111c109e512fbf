-- The unit of every field by name, where the dictionary has it the same everywhere, and of this project's own columns.
-- x and y, places on the detector, are left out: a column of that name in a query's result may well be the band.
SELECT field, min(unit) AS unit FROM etl.dictionary
WHERE length(field) > 1
GROUP BY field HAVING count(DISTINCT coalesce(unit, '')) = 1 AND min(unit) IS NOT NULL
UNION ALL VALUES ('object_ra', 'deg'), ('object_decl', 'deg'), ('separation_arcsec', 'arcsec'), ('ab_mag', 'mag'), ('ab_mag_err', 'mag');

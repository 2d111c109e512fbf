-- Record whether the view alerts has a top-level field, for the field and all fields inside.
UPDATE etl.columns SET in_alerts = $in_alerts
WHERE topic = $topic AND in_alerts <> $in_alerts
  AND (path = $path OR starts_with(path, $path || '.') OR starts_with(path, $path || '['));

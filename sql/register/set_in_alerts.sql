-- Say of one top-level field, with all that it holds, whether the view alerts has it.
UPDATE etl.columns SET in_alerts = $in_alerts
WHERE topic = $topic AND in_alerts <> $in_alerts
  AND (path = $path OR starts_with(path, $path || '.') OR starts_with(path, $path || '['));

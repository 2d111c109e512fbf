-- Lasair's example alerts, which it puts into a topic when its filter is saved; the other views leave them out.
SELECT * FROM alerts WHERE etl_example;

"""Carry Lasair's alert streams from Kafka into a lake of Parquet files that DuckDB can query.

Data flows one way: `consume` reads batches, `decode` turns them into Arrow tables, `land`
writes Parquet files, `register` makes them visible; `drain` is the order of these stages.
"""

__version__ = "0.1.0"

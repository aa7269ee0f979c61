-- How many bids each auction had in 10 s, every 2 s.
CREATE TABLE results (window_start_ms BIGINT, auction BIGINT, bids BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${out}', 'format' = 'csv');

INSERT INTO results
SELECT
  TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', window_start) * CAST(1000 AS BIGINT),
  auction,
  COUNT(*)
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;

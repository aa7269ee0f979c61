-- A bidder's bids until it makes none for 10 s. (Spelt as a window function, SESSION(TABLE ..), it was no faster.)
CREATE TABLE results (session_start_ms BIGINT, bidder BIGINT, bids BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${out}', 'format' = 'csv');

INSERT INTO results
SELECT
  TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', SESSION_START(ts, INTERVAL '10' SECOND)) * CAST(1000 AS BIGINT)
    + EXTRACT(MILLISECOND FROM SESSION_START(ts, INTERVAL '10' SECOND)),
  bidder,
  COUNT(*)
FROM bids
GROUP BY bidder, SESSION(ts, INTERVAL '10' SECOND);

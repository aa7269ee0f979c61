-- A bidder's very high bids with each of the very low ones of the same 10 s.
CREATE TABLE results (
  window_start_ms BIGINT, bidder BIGINT, high_auction BIGINT, high_price BIGINT, low_auction BIGINT, low_price BIGINT
) WITH ('connector' = 'filesystem', 'path' = '${out}', 'format' = 'csv');

-- Filtered before they are put into windows. Flink reads the bids once for both.
CREATE VIEW highs AS SELECT bidder, auction, price, ts FROM bids WHERE price >= 90000000;
CREATE VIEW lows AS SELECT bidder, auction, price, ts FROM bids WHERE price < 120;

INSERT INTO results
SELECT
  TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', high.window_start) * CAST(1000 AS BIGINT),
  high.bidder, high.auction, high.price, low.auction, low.price
FROM TABLE(TUMBLE(TABLE highs, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS high
JOIN TABLE(TUMBLE(TABLE lows, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS low
ON high.bidder = low.bidder AND high.window_start = low.window_start AND high.window_end = low.window_end;

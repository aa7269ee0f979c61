-- Bids at 10,000 cents and more.
CREATE TABLE results (auction BIGINT, bidder BIGINT, price BIGINT, date_time BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${out}', 'format' = 'csv');

-- No window asks for the time, so nothing is spent on it.
CREATE TABLE untimed LIKE bids (EXCLUDING GENERATED EXCLUDING WATERMARKS);

INSERT INTO results
SELECT auction, bidder, price, date_time
FROM untimed
WHERE price >= 10000;

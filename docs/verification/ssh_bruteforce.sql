-- Addresses with too many failed logins within a time, once per burst, from the raw lines alone.
-- Parameters: @year, @threshold, @within in seconds.
--
-- A burst is a run of an address's failures, each at most @within after the one before. It is reported at
-- its first failure that is at least the @threshold-th within @within.
with recursive
clean as (
    select rtrim(rtrim(line, char(13)), ']') as line from lines
),
failed as (
    select
        printf('%04d-%02d-%02d %s', @year,
            (instr('JanFebMarAprMayJunJulAugSepOctNovDec', substr(line, 1, 3)) + 2) / 3,
            cast(trim(substr(line, 5, 2)) as integer), substr(line, 8, 8)) as time,
        case when line like '%]: message repeated % times: [ %'
            then cast(substr(line, instr(line, 'message repeated ') + 17) as integer) else 1 end as times,
        -- The line ends in `ADDRESS port PORT ssh2`: the last three words go.
        rtrim(rtrim(rtrim(rtrim(line, 'ssh2'), ' '), '0123456789'), ' ') as head
    from clean
    where line like '% sshd[%]: Failed password for %'
       or line like '% sshd[%]: message repeated % times: [ Failed password for %'
),
addressed as (
    select time, times, trim(substr(head, 1, length(head) - length('port'))) as head from failed
),
attempts as (
    select
        cast(strftime('%s', time) as integer) as at,
        times,
        -- What follows the last blank.
        substr(head, length(rtrim(head, replace(head, ' ', ''))) + 1) as address
    from addressed
),
moments as (
    select address, at, sum(times) as times from attempts group by address, at
),
counted as (
    select
        address, at,
        sum(times) over recent as failures,
        min(at) over recent as since,
        at - lag(at) over (partition by address order by at) > @within as after_quiet
    from moments
    window recent as (partition by address order by at range between @within preceding and current row)
),
bursts as (
    select *, sum(coalesce(after_quiet, 0)) over (partition by address order by at) as burst from counted
),
first as (
    select *, row_number() over (partition by address, burst order by at) as nth
    from bursts where failures >= @threshold
)
select printf('%s %s failed %d times since %s',
    strftime('%Y-%m-%dT%H:%M:%S', at, 'unixepoch'), address, failures,
    strftime('%Y-%m-%dT%H:%M:%S', since, 'unixepoch'))
from first
where nth = 1
order by at, address;

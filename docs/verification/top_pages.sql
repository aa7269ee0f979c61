-- The most visited pages of each sliding window, from the raw lines of the log alone.
-- Parameters: @size and @slide in seconds, @top.
with
fields as (
    select
        substr(line, instr(line, ' - - ') + 5, 19) as time,     -- DD/MM/YYYY:HH:MM:SS
        substr(line, instr(line, ' +0000 ') + 7) as request     -- METHOD PATH
    from lines
    where line glob '* - - ??/??/????:??:??:?? +0000 ?* ?*'
),
requests as materialized (
    select
        cast(strftime('%s', substr(time, 7, 4) || '-' || substr(time, 4, 2) || '-' || substr(time, 1, 2)
            || ' ' || substr(time, 12)) as integer) as at,
        substr(request, instr(request, ' ') + 1) as path
    from fields
),
windows(start) as (
    select (min(at) - @size) / @slide * @slide from requests
    union all
    select start + @slide from windows where start + @slide <= (select max(at) from requests)
),
views as (
    select start, path, count(*) as views
    from windows join requests on at >= start and at < start + @size
    group by start, path
),
ranked as (
    select *, row_number() over (partition by start order by views desc, path) as rank from views
)
select
    strftime('%Y-%m-%dT%H:%M:%SZ', start, 'unixepoch') as start,
    rank, path, views
from ranked
where rank <= @top
order by start, rank;

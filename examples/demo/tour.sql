-- The main jobs, one by one, in a person's words and with the SQL used.

\pset footer off
\set ECHO queries

\echo
\echo :bold'1. Create':plain
\echo 'Anna asks for an upgrade of openssl. Expecting version 0 says: only if nobody has'
\echo 'asked yet. The answer is the new version.'
\echo
SELECT es_append('upgrade-openssl',
    '[{"type": "requested", "data": {"by": "anna", "to": "3.0.17"}}]', 0);

\echo :bold'2. Append':plain
\echo 'Ben and Carla both open the request: it is at version 1. Carla approves it.'
\echo
SELECT es_append('upgrade-openssl',
    '[{"type": "approved", "data": {"by": "carla"}}]', 1);

\echo :bold'3. Conflict':plain
\echo 'Ben still has version 1 on his screen, and rejects the request. He decided on old facts,'
\echo 'so nothing is written, and the error says what happened.'
\echo
\set ON_ERROR_STOP off
\set VERBOSITY verbose
SELECT es_append('upgrade-openssl',
    '[{"type": "rejected", "data": {"by": "ben"}}]', 1);
\set VERBOSITY default
\set ON_ERROR_STOP on

\echo
\echo :bold'4. Read again, decide again, append again':plain
\echo 'Ben reads what he has missed. It is approved: he no longer rejects, he sets a date.'
\echo
SELECT version, type, data FROM es_read('upgrade-openssl', from_version => 2);
SELECT es_append('upgrade-openssl',
    '[{"type": "scheduled", "data": {"by": "ben", "on": "2026-12-01"}}]', 2);

\echo :bold'5. Two aggregates at once':plain
\echo 'The machine web-3 moves from the test ring to the production ring. Both histories are'
\echo 'written or neither. First the rings:'
\echo
SELECT key, status, version FROM es_append_many('[
    {"key": "ring-test", "expected_version": 0,
     "events": [{"type": "machine_joined", "data": {"machine": "web-3"}}]},
    {"key": "ring-production", "expected_version": 0,
     "events": [{"type": "machine_joined", "data": {"machine": "web-1"}}]}]');
\echo 'Now the move, with a request id, since it must not happen twice:'
\echo
SELECT key, status, version FROM es_append_many('[
    {"key": "ring-test", "expected_version": 1,
     "events": [{"type": "machine_left", "data": {"machine": "web-3"}}]},
    {"key": "ring-production", "expected_version": 1,
     "events": [{"type": "machine_joined", "data": {"machine": "web-3"}}]}]',
    request_id => 'move-4711');

\echo :bold'6. The same request again':plain
\echo 'The answer got lost on the way, so the client sends the same call once more. It gets the'
\echo 'first answer again, and nothing is written a second time.'
\echo
SELECT key, status, version FROM es_append_many('[
    {"key": "ring-test", "expected_version": 1,
     "events": [{"type": "machine_left", "data": {"machine": "web-3"}}]},
    {"key": "ring-production", "expected_version": 1,
     "events": [{"type": "machine_joined", "data": {"machine": "web-3"}}]}]',
    request_id => 'move-4711');

\set ECHO none
-- A package with a short and varied life.
SELECT key AS package FROM es_events
WHERE es_category(key) = 'package'
GROUP BY key
ORDER BY count(*) > 16, count(DISTINCT type) DESC, count(*) DESC, key LIMIT 1 \gset
\set ECHO queries

\echo :bold'7. One history':plain
\echo 'What has happened to one package of this machine, from the log loaded above.'
\echo
SELECT version, data->>'at' AS at, type, data - 'at' AS data
FROM es_read(:'package') LIMIT 16;
